#include <arm_neon.h>

#include "../iqe.h"

// A product of unsigned by signed bytes, as that of a - 128 with b, and 128 sums of b.
int32_t iqe_dot_neon(const uint8_t* a, const int8_t* b, int32_t n) {
    int32x4_t products = vdupq_n_s32(0), sums = vdupq_n_s32(0);
    for (int32_t i = 0; i < n; i += 16) {
        int8x16_t x = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(a + i), vdupq_n_u8(128)));
        int8x16_t y = vld1q_s8(b + i);
        products = vdotq_s32(products, x, y);
        sums = vdotq_s32(sums, vdupq_n_s8(1), y);
    }
    return vaddvq_s32(products) + 128 * vaddvq_s32(sums);
}
