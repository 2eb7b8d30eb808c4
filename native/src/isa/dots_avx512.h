// Products of AVX-512's dot products: all of a CPU with VNNI, and attention's where tiles of AMX take the linear layers.
#pragma once
#include "lanes_avx512.h"
#include "../tiles.h"
#include "../words.h"

namespace iqe {
namespace IQE_ISA {

// vpdpbusd adds four products of a u8 and an int8 to 32 bits, exactly.
struct Dots : InRegisters<Dots> {
  static constexpr int ROWS = 12, PANELS = 2;  // 24 sums, 2 codes, values: at most 32 registers

  using InRegisters::InRegisters;

  template <int R, int P>
  IQE_INLINE void sums(const uint8_t* rows, int64_t stride, const int8_t* codes, int64_t panel_bytes, const int32_t*, int inputs,
                       Ints (&sum)[R][P]) {
    __m512i total[R][P];  // of its own, so that the compiler keeps it in registers
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) total[r][p] = _mm512_setzero_si512();
    }
    for (int k = 0; k < inputs; k += 4, codes += 64) {
      __m512i b[P];
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) b[p] = _mm512_loadu_si512(codes + p * panel_bytes);
#pragma GCC unroll 12
      for (int r = 0; r < R; r++) {
        const __m512i a = _mm512_set1_epi32(four_bytes(rows + r * stride + k));
#pragma GCC unroll 2
        for (int p = 0; p < P; p++) total[r][p] = _mm512_dpbusd_epi32(total[r][p], a, b[p]);
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) sum[r][p] = {total[r][p]};
    }
  }
};

// vpdpwssd adds two products of words.
struct Weights : InWords {
  static constexpr int ROWS = 12, PANELS = 2;

  template <int R, int P>
  IQE_INLINE void sums(const int16_t* rows, int64_t stride, const int8_t* values, int64_t panel_bytes, int64_t keys, Ints (&sum)[R][P]) {
    __m512i total[R][P];
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) total[r][p] = _mm512_setzero_si512();
    }
    for (int64_t j = 0; j < keys; j += 2, values += 64) {
      __m512i b[P];
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) b[p] = _mm512_loadu_si512(values + p * panel_bytes);
#pragma GCC unroll 12
      for (int r = 0; r < R; r++) {
        const __m512i a = _mm512_set1_epi32(four_bytes(rows + r * stride + j));
#pragma GCC unroll 2
        for (int p = 0; p < P; p++) total[r][p] = _mm512_dpwssd_epi32(total[r][p], a, b[p]);
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) sum[r][p] = {total[r][p]};
    }
  }
};

}  // namespace IQE_ISA
}  // namespace iqe
