// Attention of one text and head, in floats: softmax(Q K^T) V with Q scaled by log2(e) / sqrt(head size) beforehand, so that
// powers of two do.
#pragma once

namespace iqe {
namespace IQE_ISA {

constexpr float FAR_BELOW = -1e30f;

struct Attention {
  int64_t length;      // of the text: its keys
  int head_size, stride;  // numbers from one row of queries, keys or values to the next
  const float* queries;   // this head's part of the first row asked for
  const float* keys;      // of the text's first row
  const float* values;
  const float* bias;      // by key - query, of query 0 and key 0; null without
  int64_t first_query, queries_count;
  float* out;             // this head's part of the row of the first query
  int64_t out_stride;
};

constexpr int64_t up_to_lanes(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// Floats that one head of a text needs aside.
static inline int64_t attention_scratch(int64_t length, int head_size) {
  return up_to_lanes(length) * (2 * up_to_lanes(head_size) + FLOAT_ROWS);
}

// A few queries against all keys. `keys` lie in blocks of sixteen, [block][head size][16]; `scores` takes ROWS rows.
template <int ROWS>
IQE_INLINE void attend(const Attention& a, int64_t query, const float* keys, const float* values, float* scores) {
  const int64_t padded = up_to_lanes(a.length), width = up_to_lanes(a.head_size);
  const float* q = a.queries + query * a.stride;
  for (int64_t j = 0; j < padded; j += LANES) {
    const float* block = keys + j * width;
    Floats score[ROWS];
    for (int r = 0; r < ROWS; r++) score[r] = all(0.0f);
    for (int d = 0; d < a.head_size; d++) {
      const Floats k = load(block + d * LANES);
      for (int r = 0; r < ROWS; r++) score[r] = fma(all(q[r * a.stride + d]), k, score[r]);
    }
    for (int r = 0; r < ROWS; r++) {
      if (a.bias) score[r] = add(score[r], load(a.bias + j - (a.first_query + query + r)));
      if (j + LANES > a.length) score[r] = first((int)(a.length - j), score[r], all(FAR_BELOW));
      store(scores + r * padded + j, score[r]);
    }
  }
  float inverse[ROWS];
  for (int r = 0; r < ROWS; r++) {
    float* row = scores + r * padded;
    Floats most = load(row);
    for (int64_t j = LANES; j < padded; j += LANES) most = greatest(most, load(row + j));
    const Floats top = all(greatest_of(most));
    Floats sum = all(0.0f);
    for (int64_t j = 0; j < padded; j += LANES) {
      Floats e = exp2_of(subtract(load(row + j), top));
      if (j + LANES > a.length) e = first((int)(a.length - j), e, all(0.0f));
      sum = add(sum, e);
      store(row + j, e);
    }
    inverse[r] = 1.0f / sum_of(sum);
  }
  for (int c = 0; c < a.head_size; c += LANES) {
    Floats sum[ROWS];
    for (int r = 0; r < ROWS; r++) sum[r] = all(0.0f);
    for (int64_t j = 0; j < a.length; j++) {
      const Floats v = load(values + j * width + c);
      for (int r = 0; r < ROWS; r++) sum[r] = fma(all(scores[r * padded + j]), v, sum[r]);
    }
    for (int r = 0; r < ROWS; r++) {
      store_first(a.head_size - c, a.out + (query + r) * a.out_stride + c, multiply(sum[r], all(inverse[r])));
    }
  }
}

// Rows behind the text's last are read too, up to the next multiple of sixteen, and count for nothing.
static void attention(const Attention& a, float* scratch) {
  const int64_t padded = up_to_lanes(a.length), width = up_to_lanes(a.head_size);
  float *keys = scratch, *values = keys + padded * width, *scores = values + padded * width;
  for (int64_t j = 0; j < padded; j += LANES) {
    for (int64_t d = 0; d < width; d += LANES) transpose(a.keys + j * a.stride + d, a.stride, keys + j * width + d * LANES);
  }
  for (int64_t j = 0; j < a.length; j++) {
    for (int64_t d = 0; d < width; d += LANES) store(values + j * width + d, load(a.values + j * a.stride + d));
  }
  in_tiles<FLOAT_ROWS>(a.queries_count, [&](int64_t from, auto number) IQE_LAMBDA_INLINE {
    attend<decltype(number)::value>(a, from, keys, values, scores);
  });
}

}  // namespace IQE_ISA
}  // namespace iqe
