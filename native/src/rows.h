// Rows of floats: norms, and the step from floats to bytes.
#pragma once

namespace iqe {
namespace IQE_ISA {

// The scale of a row with so many steps between its least and its greatest number, 0 always among them; `inverse` is what to multiply with.
// Where they are no numbers the scale is none either, and so is all that comes of the row: nothing hides it.
IQE_INLINE RowScale scale_of(Floats low, Floats high, int levels, float& inverse) {
  const float least = least_of(low), greatest = greatest_of(high), width = greatest - least;
  if (width < 1e-30f) {  // nothing but zeros, or as good as that: levels / width would overflow
    inverse = 0.0f;
    return {0.0f, 0.0f};
  }
  if (!(width <= 3e38f)) {
    inverse = 0.0f;
    return {__builtin_nanf(""), 0.0f};
  }
  inverse = (float)levels / width;
  return {width / (float)levels, (float)-nearest(-least * inverse)};
}

// Quantizes `count` numbers in so many steps, each times its factor first, where there are factors.
IQE_INLINE RowScale quantize_row(const float* row, const float* factors, int count, int levels, uint8_t* codes) {
  Floats low = all(0.0f), high = all(0.0f);
  for (int i = 0; i < count; i += LANES) {
    const Floats x = factors ? multiply(load(row + i), load(factors + i)) : load(row + i);
    low = least(low, x);
    high = greatest(high, x);
  }
  float inverse;
  const RowScale scale = scale_of(low, high, levels, inverse);
  const Floats times = all(inverse);
  const int32_t zero = (int32_t)-scale.shift;
  for (int i = 0; i < count; i += LANES) {
    const Floats x = factors ? multiply(load(row + i), load(factors + i)) : load(row + i);
    store_bytes(codes + i, multiply(x, times), zero);
  }
  return scale;
}

// Normalization of one row of `hidden` numbers and zeros up to `stride`, in place or not: LayerNorm, or RMSNorm where it is not centred.
IQE_INLINE void normalize_row(const float* row, const Norm& norm, bool centred, float epsilon, int hidden, int stride, float* out) {
  Floats sum = all(0.0f);
  for (int i = 0; centred && i < stride; i += LANES) sum = add(sum, load(row + i));
  const Floats mean = all(sum_of(sum) / (float)hidden);
  sum = all(0.0f);
  for (int i = 0; i < stride; i += LANES) {
    Floats off = subtract(load(row + i), mean);
    if (i + LANES > hidden) off = first(hidden - i, off, all(0.0f));
    sum = fma(off, off, sum);
  }
  const Floats inverse = all(1.0f / root(sum_of(sum) / (float)hidden + epsilon));
  for (int i = 0; i < stride; i += LANES) {
    const Floats x = multiply(subtract(load(row + i), mean), inverse);
    store(out + i, fma(x, load(norm.weight + i), load(norm.bias + i)));
  }
}

// A norm without a mean of one head, in place. Up to fifteen numbers behind it are read.
IQE_INLINE void normalize_head(float* head, int size, const float* norm, float epsilon) {
  Floats sum = all(0.0f);
  for (int i = 0; i < size; i += LANES) {
    const Floats x = first(size - i, load(head + i), all(0.0f));
    sum = fma(x, x, sum);
  }
  const Floats inverse = all(1.0f / root(sum_of(sum) / (float)size + epsilon));
  for (int i = 0; i < size; i += LANES) store_first(size - i, head + i, multiply(multiply(load(head + i), inverse), load(norm + i)));
}

// One head of a query or a key, in place: a norm where there is one, and a turn of each number of its first half with the one of
// its second half, by the angles of the position's row of a table (https://arxiv.org/abs/2104.09864).
IQE_INLINE void turn_head(float* head, int size, const float* norm, float epsilon, const float* table) {
  if (norm) normalize_head(head, size, norm, epsilon);
  const int half = size / 2;
  const float* sines = table + (half + LANES - 1) / LANES * LANES;
  for (int i = 0; i < half; i += LANES) {
    const Floats a = load(head + i), b = load(head + half + i), cosine = load(table + i), sine = load(sines + i);
    store_first(half - i, head + i, subtract(multiply(a, cosine), multiply(b, sine)));
    store_first(half - i, head + half + i, fma(a, sine, multiply(b, cosine)));
  }
}

}  // namespace IQE_ISA
}  // namespace iqe
