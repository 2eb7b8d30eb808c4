#include <immintrin.h>

#include "../iqe.h"

int32_t iqe_dot_avxvnni(const uint8_t* a, const int8_t* b, int32_t n) {
    __m256i sums = _mm256_setzero_si256();
    for (int32_t i = 0; i < n; i += 32) {
        __m256i x = _mm256_loadu_si256((const __m256i*)(a + i));
        sums = _mm256_dpbusd_avx_epi32(sums, x, _mm256_loadu_si256((const __m256i*)(b + i)));
    }
    int32_t lanes[8], sum = 0;
    _mm256_storeu_si256((__m256i*)lanes, sums);
    for (int32_t lane : lanes) sum += lane;
    return sum;
}
