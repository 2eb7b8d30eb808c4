// Sixteen lanes as one AVX-512 register: Floats and Ints, and all that is computed with them elsewhere.
#pragma once
#include "lanes_x86.h"

namespace iqe {
namespace IQE_ISA {

struct Floats {
  __m512 all;
};
struct Ints {
  __m512i all;
};

constexpr int FLOAT_ROWS = 12, FLOAT_PANELS = 2;  // a tile of floats: 24 sums, 2 weights; values come with the multiplication

IQE_INLINE Floats load(const float* p) { return {_mm512_loadu_ps(p)}; }
IQE_INLINE void store(float* p, Floats x) { _mm512_storeu_ps(p, x.all); }
IQE_INLINE Floats all(float x) { return {_mm512_set1_ps(x)}; }
IQE_INLINE Floats add(Floats a, Floats b) { return {_mm512_add_ps(a.all, b.all)}; }
IQE_INLINE Floats subtract(Floats a, Floats b) { return {_mm512_sub_ps(a.all, b.all)}; }
IQE_INLINE Floats multiply(Floats a, Floats b) { return {_mm512_mul_ps(a.all, b.all)}; }
IQE_INLINE Floats divide(Floats a, Floats b) { return {_mm512_div_ps(a.all, b.all)}; }
IQE_INLINE Floats magnitude(Floats x) { return {_mm512_abs_ps(x.all)}; }
// a * b + c, rounded once.
IQE_INLINE Floats fma(Floats a, Floats b, Floats c) { return {_mm512_fmadd_ps(a.all, b.all, c.all)}; }
// a < b ? a : b, so b where one is no number; and the other way round.
IQE_INLINE Floats least(Floats a, Floats b) { return {_mm512_min_ps(a.all, b.all)}; }
IQE_INLINE Floats greatest(Floats a, Floats b) { return {_mm512_max_ps(a.all, b.all)}; }
// x * 2^n of n + 1.5 * 2^23, for whole n in [-126, 127] and results that are normal numbers.
IQE_INLINE Floats scaled(Floats x, Floats n) {
  const __m512i power = _mm512_slli_epi32(_mm512_castps_si512(n.all), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.all), power))};
}
IQE_INLINE __mmask16 first_lanes(int count) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_cmpgt_epi32_mask(_mm512_set1_epi32(count), lane);
}
// The first `count` lanes of x, the others of y.
IQE_INLINE Floats first(int count, Floats x, Floats y) { return {_mm512_mask_blend_ps(first_lanes(count), y.all, x.all)}; }
// Of y where x is below zero, else of z.
IQE_INLINE Floats where_negative(Floats x, Floats y, Floats z) {
  return {_mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(x.all)), z.all, y.all)};  // by the sign bit: -0 counts
}
// Lanes together: i with i + 8, then with i + 4, i + 2, i + 1. The same tree everywhere.
#define IQE_TOGETHER(name, ps256, ps128, ss)                                                          \
  IQE_INLINE float name(Floats x) {                                                                   \
    const __m256 eight = ps256(_mm512_castps512_ps256(x.all), _mm512_extractf32x8_ps(x.all, 1));      \
    const __m128 four = ps128(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));        \
    const __m128 two = ps128(four, _mm_movehl_ps(four, four));                                        \
    return _mm_cvtss_f32(ss(two, _mm_movehdup_ps(two)));                                              \
  }
IQE_TOGETHER(sum_of, _mm256_add_ps, _mm_add_ps, _mm_add_ss)
IQE_TOGETHER(least_of, _mm256_min_ps, _mm_min_ps, _mm_min_ss)
IQE_TOGETHER(greatest_of, _mm256_max_ps, _mm_max_ps, _mm_max_ss)
#undef IQE_TOGETHER

IQE_INLINE Ints load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
IQE_INLINE void store(int32_t* p, Ints x) { _mm512_storeu_si512(p, x.all); }
IQE_INLINE Ints add(Ints a, Ints b) { return {_mm512_add_epi32(a.all, b.all)}; }
IQE_INLINE int32_t sum_of(Ints x) {
  const __m256i eight = _mm256_add_epi32(_mm512_castsi512_si256(x.all), _mm512_extracti64x4_epi64(x.all, 1));
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
IQE_INLINE Floats to_floats(Ints x) { return {_mm512_cvtepi32_ps(x.all)}; }
// To the nearest whole number, the even one of two; anything where it has more than 31 bits or is no number.
IQE_INLINE Ints whole(Floats x) { return {_mm512_cvtps_epi32(x.all)}; }
// Lane by lane the lowest bytes of four numbers that fit a byte.
IQE_INLINE void store_fours(int8_t* p, Ints a, Ints b, Ints c, Ints d) {
  const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(a.all, b.all), _mm512_packs_epi32(c.all, d.all));
  const __m512i order = _mm512_set4_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400);
  _mm512_storeu_si512(p, _mm512_shuffle_epi8(bytes, order));
}
// Lane by lane two numbers that fit 16 bits.
IQE_INLINE void store_pairs(int16_t* p, Ints a, Ints b) {
  _mm512_storeu_si512(p, _mm512_mask_blend_epi16(0xaaaaaaaau, a.all, _mm512_slli_epi32(b.all, 16)));
}
// Sixteen numbers of 16 bits.
IQE_INLINE void store_words(int16_t* p, Ints x) { _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(x.all)); }
// Sixteen bytes with a sign.
IQE_INLINE Floats load_codes(const int8_t* p) { return to_floats({_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p))}); }
// Rounds to whole numbers, adds n and stores them as bytes, cut off at 0 and 255. |x| < 2^15.
IQE_INLINE void store_bytes(uint8_t* p, Floats x, int32_t n) {
  const __m512i moved = _mm512_add_epi32(_mm512_cvtps_epi32(x.all), _mm512_set1_epi32(n));
  _mm_storeu_si128((__m128i*)p, _mm512_cvtusepi32_epi8(_mm512_max_epi32(moved, _mm512_setzero_si512())));
}

// Sixteen rows of sixteen floats become columns.
IQE_INLINE void transpose(const float* from, int64_t stride, float* to) {
  __m512 r[16], t[16];
  for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_ps(from + i * stride);
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  // r[4i + j]: in each 128 bits, column j of four rows 4i...; one 128 bits further, column j + 4.
  for (int i = 0; i < 4; i++) {
    r[4 * i] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    r[4 * i + 1] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    r[4 * i + 2] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    r[4 * i + 3] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
  for (int j = 0; j < 4; j++) {
    const __m512 even0 = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x88), odd0 = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xdd);
    const __m512 even8 = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x88), odd8 = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xdd);
    _mm512_storeu_ps(to + j * 16, _mm512_shuffle_f32x4(even0, even8, 0x88));
    _mm512_storeu_ps(to + (j + 4) * 16, _mm512_shuffle_f32x4(odd0, odd8, 0x88));
    _mm512_storeu_ps(to + (j + 8) * 16, _mm512_shuffle_f32x4(even0, even8, 0xdd));
    _mm512_storeu_ps(to + (j + 12) * 16, _mm512_shuffle_f32x4(odd0, odd8, 0xdd));
  }
}

// The first `count` lanes only; all of them where there are more.
IQE_INLINE void store_first(int count, float* p, Floats x) { _mm512_mask_storeu_ps(p, first_lanes(count), x.all); }

}  // namespace IQE_ISA
}  // namespace iqe
