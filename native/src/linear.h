// Linear layers: tiles of a few rows by sixteen or more outputs, each finished in registers.
#pragma once

namespace iqe {
namespace IQE_ISA {

// int8, of P panels from `panel`: f(row, output, sixteen results).
template <int P, class F>
IQE_INLINE void int8_panels(const Products& products, const Rows& in, const Linear& layer, int panel, const F& f) {
  products.template tiles<P>(in, layer, panel, [&](int64_t from, auto rows, int p, const auto& sum) IQE_LAMBDA_INLINE {
    const int output = (panel + p) * LANES;
    // Sums of codes are below 2^24 (inputs are at most 2^15 and codes below 2^7), so exact as floats.
    const Floats codes = to_floats(load(layer.sums + output)), scales = load(layer.scales + output), bias = load(layer.bias + output);
    for (int r = 0; r < rows; r++) {
      const RowScale row = in.scales[from + r];
      // A sum is whole and below 2^30 (a code is below 2^7, a byte below 2^8); one above 2^24 is rounded here, once.
      const Floats moved = fma(codes, all(row.shift), to_floats(sum(r)));
      f(from + r, output, fma(multiply(moved, scales), all(row.scale), bias));
    }
  });
}

// Sums of a tile of floats, each over the inputs in order, one fused multiply-add after another: P panels lie `panel_size`
// numbers apart, their rows `step`.
template <int ROWS, int P>
IQE_INLINE void tile_sums(const float* values, int64_t stride, int64_t inputs, const float* panels, int64_t panel_size, int64_t step,
                          Floats (&sum)[ROWS][P]) {
  Floats total[ROWS][P];  // of its own, so that the compiler keeps it in registers
#pragma GCC unroll 12
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
    for (int p = 0; p < P; p++) total[r][p] = all(0.0f);
  }
  for (int64_t k = 0; k < inputs; k++) {
    Floats w[P];
#pragma GCC unroll 2
    for (int p = 0; p < P; p++) w[p] = load(panels + p * panel_size + k * step);
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++) {
      const Floats value = all(values[r * stride + k]);
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) total[r][p] = fma(value, w[p], total[r][p]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
    for (int p = 0; p < P; p++) sum[r][p] = total[r][p];
  }
}

// The same as a function of its own, for what is finished in many ways: a linear layer's outputs.
template <int ROWS, int P>
static __attribute__((noinline)) void linear_sums(const float* values, int64_t stride, int64_t inputs, const float* panels, Floats* sum) {
  Floats tile[ROWS][P];
  tile_sums(values, stride, inputs, panels, inputs * LANES, LANES, tile);
  for (int r = 0; r < ROWS; r++) {
    for (int p = 0; p < P; p++) sum[r * P + p] = tile[r][p];
  }
}

// fp32, of P panels from `panel`: f(row, output, sixteen results).
template <int P, class F>
IQE_INLINE void fp32_panels(const Rows& in, const Linear& layer, int panel, const F& f) {
  const int64_t panel_size = (int64_t)layer.inputs * LANES;
  const float* weights = layer.panels + panel * panel_size;
  in_runs(in.count, FLOAT_ROWS, [&](int64_t from, int rows) IQE_LAMBDA_INLINE {
    Floats sum[FLOAT_ROWS * P];
    with_number<FLOAT_ROWS>(rows, [&](auto number) IQE_LAMBDA_INLINE {
      linear_sums<decltype(number)::value, P>(in.values + from * in.stride, in.stride, layer.inputs, weights, sum);
    });
    for (int p = 0; p < P; p++) {
      const int output = (panel + p) * LANES;
      const Floats bias = load(layer.bias + output);
      for (int r = 0; r < rows; r++) f(from + r, output, add(sum[r * P + p], bias));
    }
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
  for (; panel + FLOAT_PANELS <= to; panel += FLOAT_PANELS) fp32_panels<FLOAT_PANELS>(in, layer, panel, f);
  for (; panel < to; panel++) fp32_panels<1>(in, layer, panel, f);
}

}  // namespace IQE_ISA
}  // namespace iqe
