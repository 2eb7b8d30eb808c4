// AVX-512, VNNI and AMX for any machine with AVX2: found in front of the compiler's own immintrin.h, so that the files of
// native/src/isa compile as they are. Most comes from SIMDe; what that lacks follows, by the text of Intel's reference, lane
// by lane.
#pragma once
#include_next <immintrin.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIMDE_NO_INLINE  // or compilers take many minutes
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

namespace emulated {

// What lies in a register, as so many numbers.
template <class T, int N>
struct Lanes {
  T lane[N];

  template <class Register>
  static Lanes of(Register x) {
    static_assert(sizeof(Register) == sizeof(Lanes));
    Lanes y;
    memcpy(&y, &x, sizeof y);
    return y;
  }
  template <class Register>
  Register as() const {
    static_assert(sizeof(Register) == sizeof(Lanes));
    Register x;
    memcpy(&x, this, sizeof x);
    return x;
  }
};
using Floats = Lanes<float, 16>;
using Ints = Lanes<int32_t, 16>;

static inline __m512 cvtepi32_ps(__m512i x) {
  const Ints from = Ints::of(x);
  Floats to;
  for (int i = 0; i < 16; i++) to.lane[i] = (float)from.lane[i];
  return to.as<__m512>();
}

static inline __m512i cvtepi8_epi32(__m128i x) {
  const Lanes<int8_t, 16> from = Lanes<int8_t, 16>::of(x);
  Ints to;
  for (int i = 0; i < 16; i++) to.lane[i] = from.lane[i];
  return to.as<__m512i>();
}

static inline __m512i cvtps_epi32(__m512 x) {
  const Floats from = Floats::of(x);
  Ints to;
  for (int i = 0; i < 16; i++) to.lane[i] = _mm_cvtss_si32(_mm_set_ss(from.lane[i]));
  return to.as<__m512i>();
}

// The lower halves of numbers.
static inline __m256i cvtepi32_epi16(__m512i x) {
  const Ints from = Ints::of(x);
  Lanes<int16_t, 16> to;
  for (int i = 0; i < 16; i++) to.lane[i] = (int16_t)from.lane[i];
  return to.as<__m256i>();
}

// Numbers without a sign, cut off at 255.
static inline __m128i cvtusepi32_epi8(__m512i x) {
  const Lanes<uint32_t, 16> from = Lanes<uint32_t, 16>::of(x);
  Lanes<uint8_t, 16> to;
  for (int i = 0; i < 16; i++) to.lane[i] = (uint8_t)(from.lane[i] > 255 ? 255 : from.lane[i]);
  return to.as<__m128i>();
}

static inline __m256 extractf32x8_ps(__m512 x, int half) {
  const Floats from = Floats::of(x);
  Lanes<float, 8> to;
  for (int i = 0; i < 8; i++) to.lane[i] = from.lane[half * 8 + i];
  return to.as<__m256>();
}

static inline void mask_storeu_ps(void* p, __mmask16 mask, __m512 x) {
  const Floats from = Floats::of(x);
  for (int i = 0; i < 16; i++) {
    if (mask >> i & 1) memcpy((float*)p + i, &from.lane[i], sizeof(float));
  }
}

// Two of a's four 128 bits, then two of b's.
static inline __m512 shuffle_f32x4(__m512 a, __m512 b, int choice) {
  const Floats from[2] = {Floats::of(a), Floats::of(b)};
  Floats to;
  for (int part = 0; part < 4; part++) {
    for (int i = 0; i < 4; i++) to.lane[part * 4 + i] = from[part / 2].lane[(choice >> (2 * part) & 3) * 4 + i];
  }
  return to.as<__m512>();
}

// Eight tiles of at most 16 rows of 64 bytes, and what this thread has configured. An instruction that the CPU would refuse
// ends the program.
class Tiles {
 public:
  void configure(const void* from) {
    struct {
      uint8_t palette, start_row, reserved[14];
      uint16_t bytes[16];
      uint8_t rows[16];
    } to;
    static_assert(sizeof to == 64);
    memcpy(&to, from, sizeof to);
    require(!configured_, "tiles configured over others that are not released");
    require(to.palette == 1 && to.start_row == 0, "palette");
    for (const uint8_t byte : to.reserved) require(byte == 0, "reserved bytes");
    for (int i = 0; i < 16; i++) {
      require(i < 8 ? to.rows[i] <= 16 && to.bytes[i] <= 64 : to.rows[i] == 0 && to.bytes[i] == 0, "size of a tile");
      require((to.rows[i] == 0) == (to.bytes[i] == 0), "size of a tile");
      if (i < 8) tiles_[i] = {to.rows[i], to.bytes[i], {}};
    }
    configured_ = true;
  }
  void release() { configured_ = false; }
  void zero(int at) { memset(tile(at).data, 0, sizeof tile(at).data); }
  void load(int at, const void* p, int64_t stride) {
    zero(at);
    for (int r = 0; r < tile(at).rows; r++) memcpy(tile(at).data[r], (const char*)p + r * stride, tile(at).bytes);
  }
  void store(int at, void* p, int64_t stride) {
    for (int r = 0; r < tile(at).rows; r++) memcpy((char*)p + r * stride, tile(at).data[r], tile(at).bytes);
  }
  // Adds the products of four u8 of a and four int8 of b to each int32 of c.
  void dpbusd(int c, int a, int b) {
    require(c != a && c != b && a != b, "three different tiles");
    require(tile(a).rows == tile(c).rows && tile(b).bytes == tile(c).bytes && tile(a).bytes == 4 * tile(b).rows, "sizes together");
    for (int m = 0; m < tile(c).rows; m++) {
      for (int k = 0; k < tile(a).bytes / 4; k++) {
        for (int n = 0; n < tile(c).bytes / 4; n++) {
          int32_t sum;
          memcpy(&sum, tile(c).data[m] + 4 * n, 4);
          for (int i = 0; i < 4; i++) sum += (int32_t)tile(a).data[m][4 * k + i] * (int8_t)tile(b).data[k][4 * n + i];
          memcpy(tile(c).data[m] + 4 * n, &sum, 4);
        }
      }
    }
  }
  ~Tiles() { require(!configured_, "tiles released by the end of a thread"); }

 private:
  struct Tile {
    int rows, bytes;
    uint8_t data[16][64];
  };

  static void require(bool right, const char* what) {
    if (right) return;
    fprintf(stderr, "AMX: wrong use of tiles: %s\n", what);
    abort();
  }
  Tile& tile(int at) {
    require(configured_ && tiles_[at].rows > 0, "a tile that is configured");
    return tiles_[at];
  }

  bool configured_ = false;
  Tile tiles_[8];
};
static thread_local Tiles tiles;

}  // namespace emulated

#undef _mm256_dpbusd_avx_epi32
#undef _mm256_dpwssd_avx_epi32
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtepi32_epi16
#undef _mm512_cvtepi8_epi32
#undef _mm512_cvtps_epi32
#undef _mm512_cvtusepi32_epi8
#undef _mm512_extractf32x8_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_shuffle_f32x4
#define _mm256_dpbusd_avx_epi32(sum, a, b) simde_mm256_dpbusd_epi32(sum, a, b)
#define _mm256_dpwssd_avx_epi32(sum, a, b) simde_mm256_dpwssd_epi32(sum, a, b)
#define _mm512_cvtepi32_ps(x) emulated::cvtepi32_ps(x)
#define _mm512_cvtepi32_epi16(x) emulated::cvtepi32_epi16(x)
#define _mm512_cvtepi8_epi32(x) emulated::cvtepi8_epi32(x)
#define _mm512_cvtps_epi32(x) emulated::cvtps_epi32(x)
#define _mm512_cvtusepi32_epi8(x) emulated::cvtusepi32_epi8(x)
#define _mm512_extractf32x8_ps(x, half) emulated::extractf32x8_ps(x, half)
#define _mm512_mask_storeu_ps(p, mask, x) emulated::mask_storeu_ps(p, mask, x)
#define _mm512_shuffle_f32x4(a, b, choice) emulated::shuffle_f32x4(a, b, choice)

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbusd
#define _tile_loadconfig(from) emulated::tiles.configure(from)
#define _tile_release() emulated::tiles.release()
#define _tile_zero(tile) emulated::tiles.zero(tile)
#define _tile_loadd(tile, p, stride) emulated::tiles.load(tile, p, stride)
#define _tile_stored(tile, p, stride) emulated::tiles.store(tile, p, stride)
#define _tile_dpbusd(c, a, b) emulated::tiles.dpbusd(c, a, b)
