// Sixteen lanes as an array, for any CPU: what the others must agree with, bit by bit.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#define IQE_INLINE static inline __attribute__((always_inline))
#define IQE_LAMBDA_INLINE __attribute__((always_inline))

namespace iqe {
namespace IQE_ISA {

struct Floats {
  float lane[16];
};
struct Ints {
  int32_t lane[16];
};

constexpr int FLOAT_ROWS = 2, FLOAT_PANELS = 1;

#define IQE_EACH(expression)                                  \
  Floats result;                                              \
  for (int i = 0; i < 16; i++) result.lane[i] = (expression); \
  return result

IQE_INLINE Floats load(const float* p) {
  Floats y;
  memcpy(y.lane, p, sizeof y.lane);
  return y;
}
IQE_INLINE void store(float* p, Floats x) { memcpy(p, x.lane, sizeof x.lane); }
IQE_INLINE Floats all(float x) { IQE_EACH(x); }
IQE_INLINE Floats add(Floats a, Floats b) { IQE_EACH(a.lane[i] + b.lane[i]); }
IQE_INLINE Floats subtract(Floats a, Floats b) { IQE_EACH(a.lane[i] - b.lane[i]); }
IQE_INLINE Floats multiply(Floats a, Floats b) { IQE_EACH(a.lane[i] * b.lane[i]); }
IQE_INLINE Floats divide(Floats a, Floats b) { IQE_EACH(a.lane[i] / b.lane[i]); }
IQE_INLINE Floats fma(Floats a, Floats b, Floats c) { IQE_EACH(__builtin_fmaf(a.lane[i], b.lane[i], c.lane[i])); }
IQE_INLINE Floats least(Floats a, Floats b) { IQE_EACH(a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
IQE_INLINE Floats greatest(Floats a, Floats b) { IQE_EACH(a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
IQE_INLINE Floats scaled(Floats x, Floats n) {
  Floats y;
  for (int i = 0; i < 16; i++) {
    uint32_t bits, power;
    memcpy(&bits, &x.lane[i], 4);
    memcpy(&power, &n.lane[i], 4);
    bits += power << 23;
    memcpy(&y.lane[i], &bits, 4);
  }
  return y;
}
IQE_INLINE Floats first(int count, Floats x, Floats y) {
  for (int i = 0; i < 16 && i < count; i++) y.lane[i] = x.lane[i];
  return y;
}
IQE_INLINE Floats where_negative(Floats x, Floats y, Floats z) { IQE_EACH(signbit(x.lane[i]) ? y.lane[i] : z.lane[i]); }
IQE_INLINE Floats magnitude(Floats x) { IQE_EACH(__builtin_fabsf(x.lane[i])); }
#undef IQE_EACH

// Lane i with i + 8, then with i + 4, i + 2, i + 1.
#define IQE_TOGETHER(name, expression)                     \
  IQE_INLINE float name(Floats x) {                        \
    for (int half = 8; half > 0; half /= 2) {              \
      for (int i = 0; i < half; i++) {                     \
        const float a = x.lane[i], b = x.lane[i + half];   \
        x.lane[i] = (expression);                          \
      }                                                    \
    }                                                      \
    return x.lane[0];                                      \
  }
IQE_TOGETHER(sum_of, a + b)
IQE_TOGETHER(least_of, a < b ? a : b)
IQE_TOGETHER(greatest_of, a > b ? a : b)
#undef IQE_TOGETHER

IQE_INLINE Ints load(const int32_t* p) {
  Ints y;
  memcpy(y.lane, p, sizeof y.lane);
  return y;
}
IQE_INLINE void store(int32_t* p, Ints x) { memcpy(p, x.lane, sizeof x.lane); }
IQE_INLINE Floats to_floats(Ints x) {
  Floats y;
  for (int i = 0; i < 16; i++) y.lane[i] = (float)x.lane[i];
  return y;
}
// To the nearest whole number, the even one of two; anything where it has more than 31 bits or is no number.
IQE_INLINE Ints whole(Floats x) {
  Ints y;
  for (int i = 0; i < 16; i++) y.lane[i] = __builtin_fabsf(x.lane[i]) < 2147483648.0f ? (int32_t)rintf(x.lane[i]) : 0;
  return y;
}
IQE_INLINE Ints add(Ints a, Ints b) {
  for (int i = 0; i < 16; i++) a.lane[i] = (int32_t)((uint32_t)a.lane[i] + (uint32_t)b.lane[i]);
  return a;
}
IQE_INLINE int32_t sum_of(Ints x) {
  int32_t sum = 0;
  for (int i = 0; i < 16; i++) sum += x.lane[i];
  return sum;
}
// Lane by lane the lowest bytes of four numbers that fit a byte.
IQE_INLINE void store_fours(int8_t* p, Ints a, Ints b, Ints c, Ints d) {
  for (int i = 0; i < 16; i++) {
    const int8_t four[] = {(int8_t)a.lane[i], (int8_t)b.lane[i], (int8_t)c.lane[i], (int8_t)d.lane[i]};
    memcpy(p + 4 * i, four, sizeof four);
  }
}
// Lane by lane two numbers that fit 16 bits.
IQE_INLINE void store_pairs(int16_t* p, Ints a, Ints b) {
  for (int i = 0; i < 16; i++) {
    const int16_t two[] = {(int16_t)a.lane[i], (int16_t)b.lane[i]};
    memcpy(p + 2 * i, two, sizeof two);
  }
}
// Sixteen numbers of 16 bits.
IQE_INLINE void store_words(int16_t* p, Ints x) {
  int16_t words[16];
  for (int i = 0; i < 16; i++) words[i] = (int16_t)x.lane[i];
  memcpy(p, words, sizeof words);
}
IQE_INLINE Floats load_codes(const int8_t* p) {
  Floats y;
  for (int i = 0; i < 16; i++) y.lane[i] = (float)p[i];
  return y;
}
IQE_INLINE int32_t nearest(float x) { return (int32_t)rintf(x); }
IQE_INLINE void store_bytes(uint8_t* p, Floats x, int32_t n) {
  for (int i = 0; i < 16; i++) {
    // Compared as a float first: what is no number must not be converted.
    const int32_t byte = (x.lane[i] > -32768.0f && x.lane[i] < 32767.0f ? nearest(x.lane[i]) : -32768) + n;
    p[i] = (uint8_t)(byte < 0 ? 0 : byte > 255 ? 255 : byte);
  }
}
IQE_INLINE void transpose(const float* from, int64_t stride, float* to) {
  for (int r = 0; r < 16; r++) {
    for (int c = 0; c < 16; c++) to[c * 16 + r] = from[r * stride + c];
  }
}
IQE_INLINE void store_first(int count, float* p, Floats x) { memcpy(p, x.lane, (count < 16 ? count : 16) * sizeof(float)); }
IQE_INLINE float root(float x) { return sqrtf(x); }

class FloatMode {
 public:
#if defined(__x86_64__)
  FloatMode() : before_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(0x1f80); }
  ~FloatMode() { __builtin_ia32_ldmxcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  FloatMode() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
  }
  ~FloatMode() { __asm__ volatile("msr fpcr, %0" : : "r"(before_)); }

 private:
  uint64_t before_;
#endif
};

}  // namespace IQE_ISA
}  // namespace iqe
