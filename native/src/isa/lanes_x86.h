// What all vector kernels of x86-64 have in common, whatever their registers.
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define IQE_INLINE static inline __attribute__((always_inline))
#define IQE_LAMBDA_INLINE __attribute__((always_inline))

namespace iqe {
namespace IQE_ISA {

IQE_INLINE float root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
IQE_INLINE int32_t nearest(float x) { return _mm_cvtss_si32(_mm_set_ss(x)); }

// Rounding to nearest, small numbers kept and no traps, whatever other libraries have set for this thread.
class FloatMode {
 public:
  FloatMode() : before_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
  ~FloatMode() { _mm_setcsr(before_); }
  FloatMode(const FloatMode&) = delete;

 private:
  unsigned before_;
};

IQE_INLINE int32_t four_bytes(const void* p) {
  int32_t word;
  memcpy(&word, p, 4);
  return word;
}

}  // namespace IQE_ISA
}  // namespace iqe
