// Sixteen lanes as two AVX2 registers: Floats and Ints, and all that is computed with them elsewhere.
#pragma once
#include "lanes_x86.h"

namespace iqe {
namespace IQE_ISA {

struct Floats {
  __m256 low, high;
};
struct Ints {
  __m256i low, high;
};

constexpr int FLOAT_ROWS = 6, FLOAT_PANELS = 1;  // a tile of floats: 12 sums, 2 weights, 1 value in 16 registers

IQE_INLINE Floats load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
IQE_INLINE void store(float* p, Floats x) {
  _mm256_storeu_ps(p, x.low);
  _mm256_storeu_ps(p + 8, x.high);
}
IQE_INLINE Floats all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
IQE_INLINE Floats add(Floats a, Floats b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
IQE_INLINE Floats subtract(Floats a, Floats b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
IQE_INLINE Floats multiply(Floats a, Floats b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
IQE_INLINE Floats divide(Floats a, Floats b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
IQE_INLINE Floats magnitude(Floats x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.low), _mm256_andnot_ps(sign, x.high)};
}
// a * b + c, rounded once.
IQE_INLINE Floats fma(Floats a, Floats b, Floats c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
// a < b ? a : b, so b where one is no number; and the other way round.
IQE_INLINE Floats least(Floats a, Floats b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
IQE_INLINE Floats greatest(Floats a, Floats b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
// x * 2^n of n + 1.5 * 2^23, for whole n in [-126, 127] and results that are normal numbers.
IQE_INLINE Floats scaled(Floats x, Floats n) {
  const __m256i low = _mm256_slli_epi32(_mm256_castps_si256(n.low), 23), high = _mm256_slli_epi32(_mm256_castps_si256(n.high), 23);
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x.low), low)),
          _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x.high), high))};
}
// The first `count` lanes of x, the others of y.
IQE_INLINE Floats first(int count, Floats x, Floats y) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256 low = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane));
  const __m256 high = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(count - 8), lane));
  return {_mm256_blendv_ps(y.low, x.low, low), _mm256_blendv_ps(y.high, x.high, high)};
}
// Of y where x is below zero, else of z.
IQE_INLINE Floats where_negative(Floats x, Floats y, Floats z) {
  return {_mm256_blendv_ps(z.low, y.low, x.low), _mm256_blendv_ps(z.high, y.high, x.high)};  // by the sign bit: -0 counts
}
// Lanes together: i with i + 8, then with i + 4, i + 2, i + 1. The same tree everywhere.
#define IQE_TOGETHER(name, ps256, ps128, ss)                                                        \
  IQE_INLINE float name(Floats x) {                                                                 \
    const __m256 eight = ps256(x.low, x.high);                                                      \
    const __m128 four = ps128(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));      \
    const __m128 two = ps128(four, _mm_movehl_ps(four, four));                                      \
    return _mm_cvtss_f32(ss(two, _mm_movehdup_ps(two)));                                            \
  }
IQE_TOGETHER(sum_of, _mm256_add_ps, _mm_add_ps, _mm_add_ss)
IQE_TOGETHER(least_of, _mm256_min_ps, _mm_min_ps, _mm_min_ss)
IQE_TOGETHER(greatest_of, _mm256_max_ps, _mm_max_ps, _mm_max_ss)
#undef IQE_TOGETHER

IQE_INLINE Ints load(const int32_t* p) {
  return {_mm256_loadu_si256((const __m256i*)p), _mm256_loadu_si256((const __m256i*)(p + 8))};
}
IQE_INLINE void store(int32_t* p, Ints x) {
  _mm256_storeu_si256((__m256i*)p, x.low);
  _mm256_storeu_si256((__m256i*)(p + 8), x.high);
}
IQE_INLINE Ints add(Ints a, Ints b) { return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)}; }
IQE_INLINE int32_t sum_of(Ints x) {
  const __m256i eight = _mm256_add_epi32(x.low, x.high);
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
IQE_INLINE Floats to_floats(Ints x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }
// To the nearest whole number, the even one of two; anything where it has more than 31 bits or is no number.
IQE_INLINE Ints whole(Floats x) { return {_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high)}; }
// Lane by lane the lowest bytes of four numbers that fit a byte.
IQE_INLINE void store_fours(int8_t* p, Ints a, Ints b, Ints c, Ints d) {
  const __m256i order = _mm256_broadcastsi128_si256(_mm_setr_epi32(0x0c080400, 0x0d090501, 0x0e0a0602, 0x0f0b0703));
  const __m256i low = _mm256_packs_epi16(_mm256_packs_epi32(a.low, b.low), _mm256_packs_epi32(c.low, d.low));
  const __m256i high = _mm256_packs_epi16(_mm256_packs_epi32(a.high, b.high), _mm256_packs_epi32(c.high, d.high));
  _mm256_storeu_si256((__m256i*)p, _mm256_shuffle_epi8(low, order));
  _mm256_storeu_si256((__m256i*)(p + 32), _mm256_shuffle_epi8(high, order));
}
// Lane by lane two numbers that fit 16 bits.
IQE_INLINE void store_pairs(int16_t* p, Ints a, Ints b) {
  _mm256_storeu_si256((__m256i*)p, _mm256_blend_epi16(a.low, _mm256_slli_epi32(b.low, 16), 0xaa));
  _mm256_storeu_si256((__m256i*)(p + 16), _mm256_blend_epi16(a.high, _mm256_slli_epi32(b.high, 16), 0xaa));
}
// Sixteen numbers of 16 bits.
IQE_INLINE void store_words(int16_t* p, Ints x) {
  _mm256_storeu_si256((__m256i*)p, _mm256_permute4x64_epi64(_mm256_packs_epi32(x.low, x.high), 0xd8));
}
// Sixteen bytes with a sign.
IQE_INLINE Floats load_codes(const int8_t* p) {
  const __m128i codes = _mm_loadu_si128((const __m128i*)p);
  return to_floats({_mm256_cvtepi8_epi32(codes), _mm256_cvtepi8_epi32(_mm_srli_si128(codes, 8))});
}
// Rounds to whole numbers, adds n and stores them as bytes, cut off at 0 and 255. |x| < 2^15.
IQE_INLINE void store_bytes(uint8_t* p, Floats x, int32_t n) {
  const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high));
  const __m256i moved = _mm256_adds_epi16(_mm256_permute4x64_epi64(words, 0xd8), _mm256_set1_epi16((int16_t)n));
  _mm_storeu_si128((__m128i*)p, _mm_packus_epi16(_mm256_castsi256_si128(moved), _mm256_extracti128_si256(moved, 1)));
}

// Sixteen rows of sixteen floats become columns.
IQE_INLINE void transpose_8x8(const float* from, int64_t stride, float* to) {
  __m256 r[8], t[8];
  for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(from + i * stride);
  for (int i = 0; i < 4; i++) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 2; i++) {
    r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(to + i * 16, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * 16, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}
IQE_INLINE void transpose(const float* from, int64_t stride, float* to) {
  transpose_8x8(from, stride, to);
  transpose_8x8(from + 8, stride, to + 8 * 16);
  transpose_8x8(from + 8 * stride, stride, to + 8);
  transpose_8x8(from + 8 * stride + 8, stride, to + 8 * 16 + 8);
}

// The first `count` lanes only; all of them where there are more.
IQE_INLINE void store_first(int count, float* p, Floats x) {
  if (count >= 16) return store(p, x);
  float lanes[16];
  store(lanes, x);
  memcpy(p, lanes, count * sizeof(float));
}

}  // namespace IQE_ISA
}  // namespace iqe
