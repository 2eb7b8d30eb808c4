// How rows are cut into tiles whose sums are made at once.
#pragma once
#include "model.h"

namespace iqe {
namespace IQE_ISA {

// A row of bytes stands for scale * (byte + shift).
struct RowScale {
  float scale;
  float shift;
};

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
  constexpr operator int() const { return N; }
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

// Calls f(first, rows) for runs of at most `most` rows, as even as they can be; the last is never the shorter one.
template <class F>
IQE_INLINE void in_runs(int64_t rows, int most, const F& f) {
  const int64_t runs = (rows + most - 1) / most;
  if (runs == 0) return;
  const int64_t size = rows / runs, larger = rows % runs;  // so many runs, the last ones, have a row more
  int64_t from = 0;
  for (int64_t i = 0; i < runs; i++) {
    const int count = (int)(size + (i >= runs - larger));
    f(from, count);
    from += count;
  }
}

// The same with f(first, Number<rows>).
template <int MOST, class F>
IQE_INLINE void in_tiles(int64_t rows, const F& f) {
  in_runs(rows, MOST, [&](int64_t from, int count) IQE_LAMBDA_INLINE {
    with_number<MOST>(count, [&](auto number) IQE_LAMBDA_INLINE { f(from, number); });
  });
}

// Products of a kernel that keeps a tile's sums in registers: it has ROWS, PANELS and
// sums<R, P>(rows, stride, codes, bytes of a panel, sums of the codes, inputs, sum), which fills sum[R][P].
template <class Kernel>
struct InRegisters {
  InRegisters(int64_t, int) {}  // rows and inputs of what it is made for

  // All sums of P panels from `panel`: f(first row, rows, which panel, sum), where sum(r) is that of a row.
  template <int P, class F>
  IQE_INLINE void tiles(const Rows& in, const Linear& layer, int panel, const F& f) {
    const int64_t panel_bytes = (int64_t)layer.inputs * LANES;
    const int8_t* codes = layer.codes + panel * panel_bytes;
    in_tiles<Kernel::ROWS>(in.count, [&](int64_t from, auto number) IQE_LAMBDA_INLINE {
      Ints sum[decltype(number)::value][P];
      Kernel::template sums<decltype(number)::value, P>(in.codes + from * in.stride, in.stride, codes, panel_bytes,
                                                        layer.sums + panel * LANES, layer.inputs, sum);
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) f(from, number, p, [&](int r) IQE_LAMBDA_INLINE { return sum[r][p]; });
    });
  }
};

}  // namespace IQE_ISA
}  // namespace iqe
