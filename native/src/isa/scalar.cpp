#include "../iqe.h"

int32_t iqe_dot_scalar(const uint8_t* a, const int8_t* b, int32_t n) {
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}
