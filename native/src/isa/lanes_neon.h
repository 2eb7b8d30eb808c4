// Sixteen lanes as four NEON registers: Floats and Ints, and all that is computed with them elsewhere.
#pragma once
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define IQE_INLINE static inline __attribute__((always_inline))
#define IQE_LAMBDA_INLINE __attribute__((always_inline))

namespace iqe {
namespace IQE_ISA {

struct Floats {
  float32x4_t part[4];
};
struct Ints {
  int32x4_t part[4];
};

constexpr int FLOAT_ROWS = 6, FLOAT_PANELS = 1;  // a tile of floats: 24 sums, 4 weights, values in 32 registers

#define IQE_EACH(Type, expression)                           \
  Type result;                                               \
  for (int i = 0; i < 4; i++) result.part[i] = (expression); \
  return result

IQE_INLINE Floats load(const float* p) { IQE_EACH(Floats, vld1q_f32(p + 4 * i)); }
IQE_INLINE void store(float* p, Floats x) {
  for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, x.part[i]);
}
IQE_INLINE Floats all(float x) { IQE_EACH(Floats, vdupq_n_f32(x)); }
IQE_INLINE Floats add(Floats a, Floats b) { IQE_EACH(Floats, vaddq_f32(a.part[i], b.part[i])); }
IQE_INLINE Floats subtract(Floats a, Floats b) { IQE_EACH(Floats, vsubq_f32(a.part[i], b.part[i])); }
IQE_INLINE Floats multiply(Floats a, Floats b) { IQE_EACH(Floats, vmulq_f32(a.part[i], b.part[i])); }
IQE_INLINE Floats divide(Floats a, Floats b) { IQE_EACH(Floats, vdivq_f32(a.part[i], b.part[i])); }
// a * b + c, rounded once.
IQE_INLINE Floats fma(Floats a, Floats b, Floats c) { IQE_EACH(Floats, vfmaq_f32(c.part[i], a.part[i], b.part[i])); }
// a < b ? a : b, so b where one is no number, which fmin would not give; and the other way round.
IQE_INLINE float32x4_t least(float32x4_t a, float32x4_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
IQE_INLINE float32x4_t greatest(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
IQE_INLINE Floats least(Floats a, Floats b) { IQE_EACH(Floats, least(a.part[i], b.part[i])); }
IQE_INLINE Floats greatest(Floats a, Floats b) { IQE_EACH(Floats, greatest(a.part[i], b.part[i])); }
// x * 2^n of n + 1.5 * 2^23, for whole n in [-126, 127] and results that are normal numbers.
IQE_INLINE Floats scaled(Floats x, Floats n) {
  IQE_EACH(Floats, vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x.part[i]), vshlq_n_s32(vreinterpretq_s32_f32(n.part[i]), 23))));
}
// The first `count` lanes of x, the others of y.
IQE_INLINE Floats first(int count, Floats x, Floats y) {
  const int32_t lanes[] = {0, 1, 2, 3};
  const int32x4_t lane = vld1q_s32(lanes);
  IQE_EACH(Floats, vbslq_f32(vcgtq_s32(vdupq_n_s32(count - 4 * i), lane), x.part[i], y.part[i]));
}
// Of y where x is below zero, else of z.
IQE_INLINE Floats where_negative(Floats x, Floats y, Floats z) {
  IQE_EACH(Floats, vbslq_f32(vcltzq_s32(vreinterpretq_s32_f32(x.part[i])), y.part[i], z.part[i]));  // by the sign bit: -0 counts
}
// Lanes together: i with i + 8, then with i + 4, i + 2, i + 1. The same tree everywhere.
#define IQE_TOGETHER(name, together, expression)                                                            \
  IQE_INLINE float name(Floats x) {                                                                         \
    const float32x4_t four = together(together(x.part[0], x.part[2]), together(x.part[1], x.part[3]));      \
    const float32x4_t two = together(four, vextq_f32(four, four, 2));                                       \
    const float a = vgetq_lane_f32(two, 0), b = vgetq_lane_f32(two, 1);                                     \
    return (expression);                                                                                    \
  }
IQE_TOGETHER(sum_of, vaddq_f32, a + b)
IQE_TOGETHER(least_of, least, a < b ? a : b)
IQE_TOGETHER(greatest_of, greatest, a > b ? a : b)
#undef IQE_TOGETHER

IQE_INLINE Ints load(const int32_t* p) { IQE_EACH(Ints, vld1q_s32(p + 4 * i)); }
IQE_INLINE void store(int32_t* p, Ints x) {
  for (int i = 0; i < 4; i++) vst1q_s32(p + 4 * i, x.part[i]);
}
IQE_INLINE Floats to_floats(Ints x) { IQE_EACH(Floats, vcvtq_f32_s32(x.part[i])); }
// To the nearest whole number, the even one of two; anything where it has more than 31 bits or is no number.
IQE_INLINE Ints whole(Floats x) { IQE_EACH(Ints, vcvtnq_s32_f32(x.part[i])); }
IQE_INLINE Ints add(Ints a, Ints b) { IQE_EACH(Ints, vaddq_s32(a.part[i], b.part[i])); }
IQE_INLINE Floats magnitude(Floats x) { IQE_EACH(Floats, vabsq_f32(x.part[i])); }
#undef IQE_EACH
IQE_INLINE int32_t sum_of(Ints x) {
  return vaddvq_s32(vaddq_s32(vaddq_s32(x.part[0], x.part[1]), vaddq_s32(x.part[2], x.part[3])));
}
// Lane by lane the lowest bytes of four numbers that fit a byte.
IQE_INLINE void store_fours(int8_t* p, Ints a, Ints b, Ints c, Ints d) {
  const auto bytes = [](Ints x) IQE_LAMBDA_INLINE {
    const int16x8_t low = vcombine_s16(vmovn_s32(x.part[0]), vmovn_s32(x.part[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(x.part[2]), vmovn_s32(x.part[3]));
    return vcombine_s8(vmovn_s16(low), vmovn_s16(high));
  };
  const int8x16x4_t four = {{bytes(a), bytes(b), bytes(c), bytes(d)}};
  vst4q_s8(p, four);
}
// Sixteen bytes with a sign.
IQE_INLINE Floats load_codes(const int8_t* p) {
  const int8x16_t codes = vld1q_s8(p);
  const int16x8_t low = vmovl_s8(vget_low_s8(codes)), high = vmovl_high_s8(codes);
  return to_floats({{vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)}});
}
// Rounds to whole numbers, adds n and stores them as bytes, cut off at 0 and 255. |x| < 2^15.
IQE_INLINE void store_bytes(uint8_t* p, Floats x, int32_t n) {
  int16x4_t moved[4];
  for (int i = 0; i < 4; i++) moved[i] = vqmovn_s32(vaddq_s32(vcvtnq_s32_f32(x.part[i]), vdupq_n_s32(n)));
  vst1_u8(p, vqmovun_s16(vcombine_s16(moved[0], moved[1])));
  vst1_u8(p + 8, vqmovun_s16(vcombine_s16(moved[2], moved[3])));
}

// Sixteen rows of sixteen floats become columns.
IQE_INLINE void transpose_4x4(const float* from, int64_t stride, float* to) {
  const float32x4_t r0 = vld1q_f32(from), r1 = vld1q_f32(from + stride);
  const float32x4_t r2 = vld1q_f32(from + 2 * stride), r3 = vld1q_f32(from + 3 * stride);
  const float64x2_t even01 = vreinterpretq_f64_f32(vtrn1q_f32(r0, r1)), odd01 = vreinterpretq_f64_f32(vtrn2q_f32(r0, r1));
  const float64x2_t even23 = vreinterpretq_f64_f32(vtrn1q_f32(r2, r3)), odd23 = vreinterpretq_f64_f32(vtrn2q_f32(r2, r3));
  vst1q_f32(to, vreinterpretq_f32_f64(vtrn1q_f64(even01, even23)));
  vst1q_f32(to + 16, vreinterpretq_f32_f64(vtrn1q_f64(odd01, odd23)));
  vst1q_f32(to + 32, vreinterpretq_f32_f64(vtrn2q_f64(even01, even23)));
  vst1q_f32(to + 48, vreinterpretq_f32_f64(vtrn2q_f64(odd01, odd23)));
}
IQE_INLINE void transpose(const float* from, int64_t stride, float* to) {
  for (int r = 0; r < 16; r += 4) {
    for (int c = 0; c < 16; c += 4) transpose_4x4(from + r * stride + c, stride, to + c * 16 + r);
  }
}

// The first `count` lanes only; all of them where there are more.
IQE_INLINE void store_first(int count, float* p, Floats x) {
  if (count >= 16) return store(p, x);
  float lanes[16];
  store(lanes, x);
  memcpy(p, lanes, count * sizeof(float));
}

IQE_INLINE float root(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }
IQE_INLINE int32_t nearest(float x) { return vcvtns_s32_f32(x); }

// Rounding to nearest, small numbers kept and no traps, whatever other libraries have set for this thread.
class FloatMode {
 public:
  FloatMode() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
  }
  ~FloatMode() { __asm__ volatile("msr fpcr, %0" : : "r"(before_)); }
  FloatMode(const FloatMode&) = delete;

 private:
  uint64_t before_;
};

}  // namespace IQE_ISA
}  // namespace iqe
