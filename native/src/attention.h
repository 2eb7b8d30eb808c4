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

// Scores of a few queries and P blocks of keys from the j-th on.
template <int ROWS, int P>
IQE_INLINE void score(const Attention& a, int64_t query, const float* keys, int64_t j, float* scores) {
  const int64_t padded = up_to_lanes(a.length), block = LANES * up_to_lanes(a.head_size);
  const float* q = a.queries + query * a.stride;
  const float* from = keys + j / LANES * block;
  Floats sum[ROWS][P];
  tile_sums(q, a.stride, a.head_size, from, block, LANES, sum);
  for (int r = 0; r < ROWS; r++) {
    for (int p = 0; p < P; p++) {
      const int64_t at = j + p * LANES;
      Floats one = sum[r][p];
      if (a.bias) one = add(one, load(a.bias + at - (a.first_query + query + r)));
      if (at + LANES > a.length) one = first((int)(a.length - at), one, all(FAR_BELOW));
      store(scores + r * padded + at, one);
    }
  }
}

// P times sixteen numbers, from the c-th on, of the weighted means of the values.
template <int ROWS, int P>
IQE_INLINE void weigh(const Attention& a, int64_t query, const float* values, int c, const float* weights, const float* inverse) {
  const int64_t padded = up_to_lanes(a.length), width = up_to_lanes(a.head_size);
  Floats sum[ROWS][P];
  tile_sums(weights, padded, a.length, values + c, LANES, width, sum);
  for (int r = 0; r < ROWS; r++) {
    float* out = a.out + (query + r) * a.out_stride + c;
    for (int p = 0; p < P; p++) {
      store_first(a.head_size - c - p * LANES, out + p * LANES, multiply(sum[r][p], all(inverse[r])));
    }
  }
}

// A few queries against all keys. `keys` lie in blocks of sixteen, [block][head size][16]; `scores` takes ROWS rows.
template <int ROWS>
IQE_INLINE void attend(const Attention& a, int64_t query, const float* keys, const float* values, float* scores) {
  const int64_t padded = up_to_lanes(a.length), width = up_to_lanes(a.head_size);
  constexpr int64_t SEVERAL = FLOAT_PANELS * LANES;
  int64_t j = 0;
  for (; j + SEVERAL <= padded; j += SEVERAL) score<ROWS, FLOAT_PANELS>(a, query, keys, j, scores);
  for (; j < padded; j += LANES) score<ROWS, 1>(a, query, keys, j, scores);
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
  int c = 0;
  for (; c + SEVERAL <= width; c += SEVERAL) weigh<ROWS, FLOAT_PANELS>(a, query, values, c, scores, inverse);
  for (; c < width; c += LANES) weigh<ROWS, 1>(a, query, values, c, scores, inverse);
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
