#include <immintrin.h>
#include <string.h>

#include "../iqe.h"

// A row of 64 products, as one tile of 1 x 64 by one of 16 x 4.
int32_t iqe_dot_amx(const uint8_t* a, const int8_t* b, int32_t n) {
    alignas(64) uint8_t config[64] = {1};
    const uint16_t column_bytes[3] = {4, 64, 4};
    const uint8_t rows[3] = {1, 1, 16};
    memcpy(config + 16, column_bytes, sizeof column_bytes);
    memcpy(config + 48, rows, sizeof rows);
    _tile_loadconfig(config);
    _tile_zero(0);
    for (int32_t i = 0; i < n; i += 64) {
        _tile_loadd(1, a + i, 64);
        _tile_loadd(2, b + i, 4);
        _tile_dpbusd(0, 1, 2);
    }
    int32_t sum;
    _tile_stored(0, &sum, 4);
    _tile_release();
    return sum;
}
