// AVX-512 for the floats, tiles for the products.
#define IQE_ISA amx
#include "dots_avx512.h"

namespace iqe {
namespace IQE_ISA {

// tdpbusd multiplies a tile of up to 16 rows of 64 u8 with one of codes, which lies in memory as it must: of 64 inputs, 16
// rows of four inputs of sixteen outputs. Sums are exact in 32 bits.
//
// Tiles 0 to 3 hold the sums of up to four panels, so that one product need not wait for the one before; 4 holds the rows, 5 to
// 7 codes. While they are multiplied the sums before them are finished: two tables of sums take turns.
class Products {
 public:
  static constexpr int PANELS = 4;

  // A thread must not keep tiles for longer than it needs them: each switch to another thread would save 8 KiB.
  Products(int64_t count, int) {
    const int64_t runs = (count + ROWS - 1) / ROWS;
    // in_runs gives `tile` rows or one less, the last time `tile`: in the other case the row behind is there to be read.
    const int64_t tile = runs > 0 ? (count + runs - 1) / runs : 1;
    Configuration to;
    for (int i = 0; i < 5; i++) to.set(i, tile);
    for (int i = 5; i < 8; i++) to.set(i, ROWS);
    _tile_loadconfig(&to);
  }
  ~Products() { _tile_release(); }
  Products(const Products&) = delete;

  // See InRegisters.
  template <int P, class F>
  IQE_INLINE void tiles(const Rows& in, const Linear& layer, int panel, const F& f) {
    alignas(64) int32_t sums[2][P][ROWS][LANES];
    const int steps = layer.inputs / STEP;
    const int64_t panel_bytes = (int64_t)layer.inputs * LANES;
    const int8_t* first = layer.codes + panel * panel_bytes;
    int64_t before = 0;  // the first row of the sums that are to be finished, and how many rows they have
    int waiting = 0, turn = 0;
    const auto finish = [&](int from, int to) IQE_LAMBDA_INLINE {
      if (from == to) return;
#pragma GCC unroll 1
      for (int p = 0; p < P; p++) {
        f(before + from, to - from, p, [&](int r) IQE_LAMBDA_INLINE { return load(sums[1 - turn][p][from + r]); });
      }
    };
    in_runs(in.count, ROWS, [&](int64_t from, int count) IQE_LAMBDA_INLINE {
      const uint8_t* rows = in.codes + from * in.stride;
      clear<P>();
      for (int s = 0; s < steps; s++) {
        add_step<P>(rows + s * STEP, in.stride, first + s * STEP * LANES, panel_bytes);
        finish(waiting * s / steps, waiting * (s + 1) / steps);
      }
      if (steps == 0) finish(0, waiting);
      keep<P>(sums[turn]);
      if (steps * STEP < layer.inputs) add_rest<P>(rows, in.stride, count, first, panel_bytes, steps * STEP, layer.inputs, sums[turn]);
      before = from;
      waiting = count;
      turn = 1 - turn;
    });
    finish(0, waiting);
  }

 private:
  static constexpr int ROWS = 16, LANES = 16, STEP = 64;  // STEP: inputs that a tile takes, which are bytes of its rows

  template <int P>
  IQE_INLINE void clear() {
    _tile_zero(0);
    if constexpr (P == 4) {
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
  }

  // 64 inputs of all rows.
  template <int P>
  IQE_INLINE void add_step(const uint8_t* rows, int64_t stride, const int8_t* codes, int64_t panel_bytes) {
    static_assert(P == 1 || P == 4);
    _tile_loadd(4, rows, stride);
    _tile_loadd(5, codes, STEP);
    _tile_dpbusd(0, 4, 5);
    if constexpr (P == 4) {
      _tile_loadd(6, codes + panel_bytes, STEP);
      _tile_dpbusd(1, 4, 6);
      _tile_loadd(7, codes + 2 * panel_bytes, STEP);
      _tile_dpbusd(2, 4, 7);
      _tile_loadd(5, codes + 3 * panel_bytes, STEP);
      _tile_dpbusd(3, 4, 5);
    }
  }

  template <int P>
  IQE_INLINE void keep(int32_t (&sums)[P][ROWS][LANES]) {
    _tile_stored(0, sums[0], STEP);
    if constexpr (P == 4) {
      _tile_stored(1, sums[1], STEP);
      _tile_stored(2, sums[2], STEP);
      _tile_stored(3, sums[3], STEP);
    }
  }

  // The inputs behind the last whole 64, of few models.
  template <int P>
  IQE_INLINE void add_rest(const uint8_t* rows, int64_t stride, int count, const int8_t* codes, int64_t panel_bytes, int from, int inputs,
                           int32_t (&sums)[P][ROWS][LANES]) {
    for (int p = 0; p < P; p++) {
      for (int r = 0; r < count; r++) {
        __m512i sum = _mm512_load_si512(sums[p][r]);
        for (int k = from; k < inputs; k += 4) {
          const __m512i four = _mm512_set1_epi32(four_bytes(rows + r * stride + k));
          sum = _mm512_dpbusd_epi32(sum, four, _mm512_loadu_si512(codes + p * panel_bytes + k * LANES));
        }
        _mm512_store_si512(sums[p][r], sum);
      }
    }
  }

  // What ldtilecfg reads.
  struct alignas(64) Configuration {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};

    void set(int tile, int64_t rows_of) {
      rows[tile] = (uint8_t)rows_of;
      bytes[tile] = STEP;
    }
  };
};

// A head is too small for tiles.
using Scores = Dots;

}  // namespace IQE_ISA
}  // namespace iqe

#include "../forward.h"
