// NEON with dot products of bytes, of Armv8.2 and later.
#define IQE_ISA neon
#include "lanes_neon.h"
#include "../tiles.h"

namespace iqe {
namespace IQE_ISA {

// sdot adds four products of int8 to 32 bits, exactly. Bytes of rows are taken as byte - 128, which lacks 128 times the sum of
// the codes: that is what sums begin with.
struct Products : InRegisters<Products> {
  static constexpr int ROWS = 6, PANELS = 1;  // 24 sums, 6 values, 1 code, 1 in between: 32 registers

  using InRegisters::InRegisters;

  template <int R, int P>
  IQE_INLINE void sums(const uint8_t* rows, int64_t stride, const int8_t* codes, int64_t, const int32_t* code_sums, int inputs,
                       Ints (&sum)[R][P]) {
    static_assert(P == 1);
    int32x4_t total[R][4];  // of its own, so that the compiler keeps it in registers
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) total[r][i] = vshlq_n_s32(vld1q_s32(code_sums + 4 * i), 7);
    }
    for (int k = 0; k < inputs; k += 16, codes += 256) {
      int8x16_t a[R];
#pragma GCC unroll 6
      for (int r = 0; r < R; r++) a[r] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(rows + r * stride + k), vdupq_n_u8(128)));
      four_inputs<0>(a, codes, total);
      four_inputs<1>(a, codes, total);
      four_inputs<2>(a, codes, total);
      four_inputs<3>(a, codes, total);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) sum[r][0].part[i] = total[r][i];
    }
  }

 private:
  template <int I, int R>
  IQE_INLINE void four_inputs(const int8x16_t (&a)[R], const int8_t* codes, int32x4_t (&total)[R][4]) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const int8x16_t b = vld1q_s8(codes + 64 * I + 16 * i);
#pragma GCC unroll 6
      for (int r = 0; r < R; r++) total[r][i] = vdotq_laneq_s32(total[r][i], b, a[r], I);
    }
  }
};

using Scores = Products;

// A weight in two bytes of seven bits, the upper ones in front, for sdot: all sums of the upper ones, times 128, and then those
// of the lower ones. A panel is [keys/4][16][4].
struct Weights {
  static constexpr int ROWS = 6, PANELS = 1, VALUE_BYTES = 1;

  IQE_INLINE void store(int16_t* p, Ints weights) {
    const auto bytes = [](int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d) IQE_LAMBDA_INLINE {
      return vcombine_s8(vmovn_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b))), vmovn_s16(vcombine_s16(vmovn_s32(c), vmovn_s32(d))));
    };
    const int32x4_t *x = weights.part, seven = vdupq_n_s32(127);
    vst1q_s8((int8_t*)p, bytes(vshrq_n_s32(x[0], 7), vshrq_n_s32(x[1], 7), vshrq_n_s32(x[2], 7), vshrq_n_s32(x[3], 7)));
    vst1q_s8((int8_t*)p + 16, bytes(vandq_s32(x[0], seven), vandq_s32(x[1], seven), vandq_s32(x[2], seven), vandq_s32(x[3], seven)));
  }
  IQE_INLINE void store_values(int8_t* p, Ints a, Ints b, Ints c, Ints d) { store_fours(p, a, b, c, d); }

  template <int R, int P>
  IQE_INLINE void sums(const int16_t* rows, int64_t stride, const int8_t* values, int64_t, int64_t keys, Ints (&sum)[R][P]) {
    static_assert(P == 1);
    int32x4_t total[R][4];  // of its own, so that the compiler keeps it in registers
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) total[r][i] = vdupq_n_s32(0);
    }
    for (int half = 0; half < 2; half++) {
      const int8_t* from = values;
      for (int64_t j = 0; j < keys; j += 16, from += 256) {
        int8x16_t a[R];
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) a[r] = vld1q_s8((const int8_t*)(rows + r * stride + j) + 16 * half);
        four_keys<0>(a, from, total);
        four_keys<1>(a, from, total);
        four_keys<2>(a, from, total);
        four_keys<3>(a, from, total);
      }
      if (half == 1) break;
#pragma GCC unroll 6
      for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) total[r][i] = vshlq_n_s32(total[r][i], 7);
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) sum[r][0].part[i] = total[r][i];
    }
  }

 private:
  template <int I, int R>
  IQE_INLINE void four_keys(const int8x16_t (&a)[R], const int8_t* values, int32x4_t (&total)[R][4]) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const int8x16_t b = vld1q_s8(values + 64 * I + 16 * i);
#pragma GCC unroll 6
      for (int r = 0; r < R; r++) total[r][i] = vdotq_laneq_s32(total[r][i], b, a[r], I);
    }
  }
};

}  // namespace IQE_ISA
}  // namespace iqe

#include "../forward.h"
