// AVX2 with dot products of bytes: small cores and client CPUs without AVX-512.
#define IQE_ISA avxvnni
#include "lanes_avx2.h"
#include "../tiles.h"
#include "../words.h"

namespace iqe {
namespace IQE_ISA {

// vpdpbusd adds four products of a u8 and an int8 to 32 bits, exactly.
struct Products : InRegisters<Products> {
  static constexpr int ROWS = 6, PANELS = 1;  // 12 sums, 2 codes, 1 value: 15 of 16 registers

  using InRegisters::InRegisters;

  template <int R, int P>
  IQE_INLINE void sums(const uint8_t* rows, int64_t stride, const int8_t* codes, int64_t panel_bytes, const int32_t*, int inputs,
                       Ints (&sum)[R][P]) {
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) sum[r][p] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    }
    for (int k = 0; k < inputs; k += 4, codes += 64) {
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) {
        const __m256i low = _mm256_loadu_si256((const __m256i*)(codes + p * panel_bytes));
        const __m256i high = _mm256_loadu_si256((const __m256i*)(codes + p * panel_bytes + 32));
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) {
          const __m256i a = _mm256_set1_epi32(four_bytes(rows + r * stride + k));
          sum[r][p].low = _mm256_dpbusd_avx_epi32(sum[r][p].low, a, low);
          sum[r][p].high = _mm256_dpbusd_avx_epi32(sum[r][p].high, a, high);
        }
      }
    }
  }
};

using Scores = Products;

// vpdpwssd adds two products of words.
struct Weights : InWords {
  static constexpr int ROWS = 6, PANELS = 1;

  template <int R, int P>
  IQE_INLINE void sums(const int16_t* rows, int64_t stride, const int8_t* values, int64_t, int64_t keys, Ints (&sum)[R][P]) {
    static_assert(P == 1);
    __m256i low[R], high[R];  // of its own, so that the compiler keeps it in registers
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) low[r] = high[r] = _mm256_setzero_si256();
    for (int64_t j = 0; j < keys; j += 2, values += 64) {
      const __m256i b0 = _mm256_loadu_si256((const __m256i*)values), b1 = _mm256_loadu_si256((const __m256i*)(values + 32));
#pragma GCC unroll 6
      for (int r = 0; r < R; r++) {
        const __m256i a = _mm256_set1_epi32(four_bytes(rows + r * stride + j));
        low[r] = _mm256_dpwssd_avx_epi32(low[r], a, b0);
        high[r] = _mm256_dpwssd_avx_epi32(high[r], a, b1);
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) sum[r][0] = {low[r], high[r]};
  }
};

}  // namespace IQE_ISA
}  // namespace iqe

#include "../forward.h"
