#include <immintrin.h>

#include "../iqe.h"

int32_t iqe_dot_avx512vnni(const uint8_t* a, const int8_t* b, int32_t n) {
    __m512i sums = _mm512_setzero_si512();
    for (int32_t i = 0; i < n; i += 64) {
        sums = _mm512_dpbusd_epi32(sums, _mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));
    }
    return _mm512_reduce_add_epi32(sums);
}
