// The weights and values of attention_int.h as words of 16 bits, for what multiplies pairs of them.
#pragma once

namespace iqe {
namespace IQE_ISA {

// A panel is [keys/2][16][2].
struct InWords {
  static constexpr int VALUE_BYTES = 2;

  // Of sixteen weights.
  IQE_INLINE void store(int16_t* p, Ints weights) { store_words(p, weights); }
  // Of four keys, sixteen values each.
  IQE_INLINE void store_values(int8_t* p, Ints a, Ints b, Ints c, Ints d) {
    store_pairs((int16_t*)p, a, b);
    store_pairs((int16_t*)p + 2 * LANES, c, d);
  }
};

}  // namespace IQE_ISA
}  // namespace iqe
