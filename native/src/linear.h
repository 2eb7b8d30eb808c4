// Linear layers: tiles of a few rows by sixteen or more outputs, each finished in registers.
#pragma once

namespace iqe {
namespace IQE_ISA {

// What a linear layer reads.
struct Rows {
  int64_t count;
  int64_t stride;
  const float* values;      // fp32
  const uint8_t* codes;     // int8, and what they stand for
  const RowScale* scales;
};

template <int N>
struct Number {
  static constexpr int value = N;
};

// Calls f(Number<rows>) for 1 <= rows <= MOST, so that the loops in it have fixed lengths.
template <int MOST, class F>
IQE_INLINE void with_number(int rows, const F& f) {
  if constexpr (MOST > 1) {
    if (rows < MOST) {
      with_number<MOST - 1>(rows, f);
      return;
    }
  }
  f(Number<MOST>{});
}

// Calls f(first, Number<rows>) for runs of at most MOST rows, as even as they can be; the last is never the shorter one.
template <int MOST, class F>
IQE_INLINE void in_tiles(int64_t rows, const F& f) {
  const int64_t tiles = (rows + MOST - 1) / MOST;
  if (tiles == 0) return;
  const int64_t size = rows / tiles, larger = rows % tiles;  // so many tiles, the last ones, have a row more
  int64_t from = 0;
  for (int64_t i = 0; i < tiles; i++) {
    const int count = (int)(size + (i >= tiles - larger));
    with_number<MOST>(count, [&](auto n) IQE_LAMBDA_INLINE { f(from, n); });
    from += count;
  }
}

// int8: sums of whole numbers, of a few panels from `panel`: f(first row, Number<rows>, [rows][PANELS] sums).
template <int PANELS, class F>
IQE_INLINE void int8_tiles(const Products& products, const Rows& in, const Linear& layer, int panel, const F& f) {
  const int64_t panel_bytes = (int64_t)layer.inputs * LANES;
  const int8_t* codes = layer.codes + panel * panel_bytes;
  in_tiles<Products::ROWS>(in.count, [&](int64_t from, auto number) IQE_LAMBDA_INLINE {
    Ints sum[decltype(number)::value][PANELS];
    products.sums(in.codes + from * in.stride, in.stride, codes, panel_bytes, layer.sums + panel * LANES, layer.inputs, sum);
    f(from, number, sum);
  });
}

// The same, then f(row, output, sixteen results).
template <int PANELS, class F>
IQE_INLINE void int8_panels(const Products& products, const Rows& in, const Linear& layer, int panel, const F& f) {
  int8_tiles<PANELS>(products, in, layer, panel, [&](int64_t from, auto number, const auto& sum) IQE_LAMBDA_INLINE {
    for (int p = 0; p < PANELS; p++) {
      const int output = (panel + p) * LANES;
      const Ints sums = load(layer.sums + output);
      const Floats scales = load(layer.scales + output), bias = load(layer.bias + output);
      for (int r = 0; r < decltype(number)::value; r++) {
        const RowScale row = in.scales[from + r];
        // Whole up to here: |sum - zero * sums| < 2^31, as a code is below 2^7, a byte below 2^8, and inputs at most 2^15.
        const Floats exact = to_floats(less(sum[r][p], sums, row.zero));
        f(from + r, output, fma(multiply(exact, scales), all(row.scale), bias));
      }
    }
  });
}

// fp32: every sum goes through the inputs in order, one fused multiply-add after another.
template <class F>
IQE_INLINE void fp32_panel(const Rows& in, const Linear& layer, int panel, const F& f) {
  const float* weights = layer.panels + (int64_t)panel * layer.inputs * LANES;
  const int output = panel * LANES;
  const Floats bias = load(layer.bias + output);
  in_tiles<FLOAT_ROWS>(in.count, [&](int64_t from, auto number) IQE_LAMBDA_INLINE {
    constexpr int rows = decltype(number)::value;
    Floats sum[rows];
    for (int r = 0; r < rows; r++) sum[r] = all(0.0f);
    const float* values = in.values + from * in.stride;
    for (int k = 0; k < layer.inputs; k++) {
      const Floats w = load(weights + k * LANES);
      for (int r = 0; r < rows; r++) sum[r] = fma(all(values[r * in.stride + k]), w, sum[r]);
    }
    for (int r = 0; r < rows; r++) f(from + r, output, add(sum[r], bias));
  });
}

// Panels [from, to) of a layer: f(row, output, sixteen results) once for each row and panel, in any order. In a model of
// int8 a layer may have been left in floats.
template <bool INT8, class F>
IQE_INLINE void linear(const Rows& in, const Linear& layer, int from, int to, const F& f) {
  int panel = from;
  if constexpr (INT8) {
    if (layer.codes != nullptr) {
      const Products products(in.count, layer.inputs);
      for (; panel + Products::PANELS <= to; panel += Products::PANELS) int8_panels<Products::PANELS>(products, in, layer, panel, f);
      for (; panel < to; panel++) int8_panels<1>(products, in, layer, panel, f);
      return;
    }
  }
  for (; panel < to; panel++) fp32_panel(in, layer, panel, f);
}

}  // namespace IQE_ISA
}  // namespace iqe
