#include <immintrin.h>

#include "../iqe.h"

int32_t iqe_dot_avx2(const uint8_t* a, const int8_t* b, int32_t n) {
    __m256i sums = _mm256_setzero_si256();
    for (int32_t i = 0; i < n; i += 16) {
        __m256i x = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)(a + i)));
        __m256i y = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(b + i)));
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(x, y));
    }
    int32_t lanes[8], sum = 0;
    _mm256_storeu_si256((__m256i*)lanes, sums);
    for (int32_t lane : lanes) sum += lane;
    return sum;
}
