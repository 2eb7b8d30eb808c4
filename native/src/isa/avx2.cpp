// AVX2 without dot products of bytes.
#define IQE_ISA avx2
#include "lanes_avx2.h"
#include "../tiles.h"
#include "../words.h"

namespace iqe {
namespace IQE_ISA {

// Sums of u8 rows and int8 codes, exact by the way codes are chosen (quantize.cpp): of the four that share a 16-bit lane
// below - inputs 8i, 8i+1, 8i+4, 8i+5, and 8i+2, 8i+3, 8i+6, 8i+7 - the positive ones times the largest byte of a row stay
// below 2^15, and so do the negative ones (255 * 128 = 32,640). Two vpmaddubsw are added in 16 bits before one vpmaddwd
// widens them.
struct Products : InRegisters<Products> {
  static constexpr int ROWS = 3, PANELS = 1;  // 6 sums, 4 codes, 2 values, ones and 2 in between: 15 of 16 registers

  using InRegisters::InRegisters;

  template <int R, int P>
  IQE_INLINE void sums(const uint8_t* rows, int64_t stride, const int8_t* codes, int64_t, const int32_t*, int inputs,
                       Ints (&sum)[R][P]) {
    static_assert(P == 1);
    const __m256i ones = _mm256_set1_epi16(1);
    for (int r = 0; r < R; r++) sum[r][0] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
#pragma GCC unroll 2
    for (int k = 0; k < inputs; k += 8, codes += 128) {
      const __m256i a0 = _mm256_loadu_si256((const __m256i*)codes), a1 = _mm256_loadu_si256((const __m256i*)(codes + 32));
      const __m256i b0 = _mm256_loadu_si256((const __m256i*)(codes + 64)), b1 = _mm256_loadu_si256((const __m256i*)(codes + 96));
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        const __m256i a = _mm256_set1_epi32(four_bytes(rows + r * stride + k));
        const __m256i b = _mm256_set1_epi32(four_bytes(rows + r * stride + k + 4));
        const __m256i low = _mm256_add_epi16(_mm256_maddubs_epi16(a, a0), _mm256_maddubs_epi16(b, b0));
        const __m256i high = _mm256_add_epi16(_mm256_maddubs_epi16(a, a1), _mm256_maddubs_epi16(b, b1));
        sum[r][0].low = _mm256_add_epi32(sum[r][0].low, _mm256_madd_epi16(low, ones));
        sum[r][0].high = _mm256_add_epi32(sum[r][0].high, _mm256_madd_epi16(high, ones));
      }
    }
  }
};

using Scores = Products;

// vpmaddwd adds two products of words.  6 rows: 12 sums, 2 values, 1 weight, 1 in between: 16 registers.
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
        low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(a, b0));
        high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(a, b1));
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) sum[r][0] = {low[r], high[r]};
  }
};

}  // namespace IQE_ISA
}  // namespace iqe

#include "../forward.h"
