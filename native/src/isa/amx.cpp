// AVX-512 for the floats, tiles for the products.
#define IQE_ISA amx
#include "lanes_avx512.h"

namespace iqe {
namespace IQE_ISA {

// tdpbusd multiplies a tile of up to 16 rows of 64 u8 with one of codes, which lies in memory as it must: of 64 inputs, 16
// rows of four inputs of sixteen outputs. Sums are exact in 32 bits.
//
// Tiles 0 and 1 hold the sums of two panels, 2 the rows, 3 and 4 the codes; where inputs are no multiple of 64, 5, 6 and 7
// rows and codes of what is left.
class Products {
 public:
  static constexpr int ROWS = 16, PANELS = 2;

  // A thread must not keep tiles for longer than it needs them: each switch to another thread would save 8 KiB.
  Products(int64_t count, int inputs) {
    const int64_t runs = (count + ROWS - 1) / ROWS;
    // in_tiles gives `tile` rows or one less, the last time `tile`: in the other case the row behind is there to be read.
    const int64_t tile = runs > 0 ? (count + runs - 1) / runs : 1;
    const int rest = inputs % STEP;
    Configuration to;
    for (int i = 0; i < 3; i++) to.set(i, tile, STEP);
    for (int i = 3; i < 5; i++) to.set(i, STEP / 4, STEP);
    if (rest > 0) {
      to.set(5, tile, rest);
      for (int i = 6; i < 8; i++) to.set(i, rest / 4, STEP);
    }
    _tile_loadconfig(&to);
  }
  ~Products() { _tile_release(); }
  Products(const Products&) = delete;

  // `rows` may be one more than R.
  template <int R, int P>
  IQE_INLINE void sums(const uint8_t* rows, int64_t stride, const int8_t* codes, int64_t panel_bytes, const int32_t*, int inputs,
                       Ints (&sum)[R][P]) {
    _tile_zero(0);
    if (P > 1) _tile_zero(1);
    int k = 0;
    for (; k + STEP <= inputs; k += STEP, codes += STEP * LANES) {
      _tile_loadd(2, rows + k, stride);
      _tile_loadd(3, codes, STEP);
      _tile_dpbusd(0, 2, 3);
      if (P > 1) {
        _tile_loadd(4, codes + panel_bytes, STEP);
        _tile_dpbusd(1, 2, 4);
      }
    }
    if (k < inputs) {
      _tile_loadd(5, rows + k, stride);
      _tile_loadd(6, codes, STEP);
      _tile_dpbusd(0, 5, 6);
      if (P > 1) {
        _tile_loadd(7, codes + panel_bytes, STEP);
        _tile_dpbusd(1, 5, 7);
      }
    }
    alignas(64) int32_t whole[P][ROWS][LANES];
    _tile_stored(0, whole[0], sizeof whole[0][0]);
    if (P > 1) _tile_stored(1, whole[P - 1], sizeof whole[0][0]);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) sum[r][p] = load(whole[p][r]);
    }
  }

 private:
  static constexpr int LANES = 16, STEP = 64;  // inputs that a tile takes, which are bytes of its rows

  // What ldtilecfg reads.
  struct alignas(64) Configuration {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};

    void set(int tile, int64_t rows_of, int bytes_of) {
      rows[tile] = (uint8_t)rows_of;
      bytes[tile] = (uint16_t)bytes_of;
    }
  };
};

}  // namespace IQE_ISA
}  // namespace iqe

#include "../forward.h"
