// No instructions beyond the oldest.
#define IQE_ISA scalar
#include "lanes_scalar.h"
#include "../tiles.h"
#include "../words.h"

namespace iqe {
namespace IQE_ISA {

struct Products : InRegisters<Products> {
  static constexpr int ROWS = 2, PANELS = 1;

  using InRegisters::InRegisters;

  template <int R, int P>
  IQE_INLINE void sums(const uint8_t* rows, int64_t stride, const int8_t* codes, int64_t, const int32_t*, int inputs,
                       Ints (&sum)[R][P]) {
    static_assert(P == 1);
    for (int r = 0; r < R; r++) {
      memset(&sum[r][0], 0, sizeof sum[r][0]);
      for (int k = 0; k < inputs; k += 4) {
        for (int n = 0; n < 16; n++) {
          for (int i = 0; i < 4; i++) sum[r][0].lane[n] += (int32_t)rows[r * stride + k + i] * codes[k * 16 + n * 4 + i];
        }
      }
    }
  }
};

using Scores = Products;

struct Weights : InWords {
  static constexpr int ROWS = 2, PANELS = 1;

  template <int R, int P>
  IQE_INLINE void sums(const int16_t* rows, int64_t stride, const int8_t* values, int64_t, int64_t keys, Ints (&sum)[R][P]) {
    static_assert(P == 1);
    for (int r = 0; r < R; r++) {
      memset(&sum[r][0], 0, sizeof sum[r][0]);
      for (int64_t j = 0; j < keys; j += 2) {
        for (int n = 0; n < 16; n++) {
          const int16_t* two = (const int16_t*)values + j * 16 + n * 2;
          sum[r][0].lane[n] += (int32_t)rows[r * stride + j] * two[0] + (int32_t)rows[r * stride + j + 1] * two[1];
        }
      }
    }
  }
};

}  // namespace IQE_ISA
}  // namespace iqe

#include "../forward.h"
