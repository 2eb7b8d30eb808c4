#include "iqe.h"

int iqe_abi_version(void) { return IQE_ABI_VERSION; }

int32_t iqe_dot(int32_t isa, const uint8_t* a, const int8_t* b, int32_t n) {
#if defined(__x86_64__)
    switch (isa) {
        case 0: return iqe_dot_scalar(a, b, n);
        case 1: return iqe_dot_avx2(a, b, n);
        case 2: return iqe_dot_avxvnni(a, b, n);
        case 3: return iqe_dot_avx512vnni(a, b, n);
        case 4: return iqe_dot_amx(a, b, n);
    }
#else
    switch (isa) {
        case 0: return iqe_dot_scalar(a, b, n);
        case 1: return iqe_dot_neon(a, b, n);
    }
#endif
    return -1;
}
