// Attention of one text and head, in floats: softmax(Q K^T) V over the keys that each query sees, with Q scaled beforehand, by
// log2(e) among others, so that powers of two do.
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
  int64_t before, after;  // so many keys before and behind its own place a query sees
  float* out;             // this head's part of the row of the first query
  int64_t out_stride;
};

constexpr int64_t up_to_lanes(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// Keys from `from` up to `to`.
struct Span {
  int64_t from, to;
};

// The keys that the query at a place sees.
IQE_INLINE Span seen(const Attention& a, int64_t place) {
  const int64_t from = place - a.before, to = place + a.after + 1;
  return {from > 0 ? from : 0, to < a.length ? to : a.length};
}

// Blocks of sixteen keys that some of the queries from `query` on see, in numbers of keys.
IQE_INLINE Span blocks_seen(const Attention& a, int64_t query, int64_t count) {
  const Span first = seen(a, a.first_query + query), last = seen(a, a.first_query + query + count - 1);
  return {first.from / LANES * LANES, up_to_lanes(last.to)};
}

// Sixteen numbers of keys from the j-th on, others where a key is not seen.
IQE_INLINE Floats where_seen(Span keys, int64_t j, Floats numbers, Floats others) {
  if (j + LANES > keys.to) numbers = keys.to > j ? first((int)(keys.to - j), numbers, others) : others;
  if (j < keys.from) numbers = keys.from < j + LANES ? first((int)(keys.from - j), others, numbers) : others;
  return numbers;
}

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
      store(scores + r * padded + at, where_seen(seen(a, a.first_query + query + r), at, one, all(FAR_BELOW)));
    }
  }
}

// P times sixteen numbers, from the c-th on, of the weighted means of the values of some keys. Weights of 0 change no sum, so
// that it does not matter which queries are computed together.
template <int ROWS, int P>
IQE_INLINE void weigh(const Attention& a, int64_t query, Span keys, const float* values, int c, const float* weights, const float* inverse) {
  const int64_t padded = up_to_lanes(a.length), width = up_to_lanes(a.head_size);
  const int64_t end = keys.to < a.length ? keys.to : a.length;
  Floats sum[ROWS][P];
  tile_sums(weights + keys.from, padded, end - keys.from, values + keys.from * width + c, LANES, width, sum);
  for (int r = 0; r < ROWS; r++) {
    float* out = a.out + (query + r) * a.out_stride + c;
    for (int p = 0; p < P; p++) {
      store_first(a.head_size - c - p * LANES, out + p * LANES, multiply(sum[r][p], all(inverse[r])));
    }
  }
}

// A few queries against the keys that they see. `keys` lie in blocks of sixteen, [block][head size][16]; `scores` takes ROWS rows.
template <int ROWS>
IQE_INLINE void attend(const Attention& a, int64_t query, const float* keys, const float* values, float* scores) {
  const int64_t padded = up_to_lanes(a.length), width = up_to_lanes(a.head_size);
  const Span blocks = blocks_seen(a, query, ROWS);
  constexpr int64_t SEVERAL = FLOAT_PANELS * LANES;
  int64_t j = blocks.from;
  for (; j + SEVERAL <= blocks.to; j += SEVERAL) score<ROWS, FLOAT_PANELS>(a, query, keys, j, scores);
  for (; j < blocks.to; j += LANES) score<ROWS, 1>(a, query, keys, j, scores);
  float inverse[ROWS];
  for (int r = 0; r < ROWS; r++) {
    float* row = scores + r * padded;
    const Span own = seen(a, a.first_query + query + r);
    Floats most = load(row + blocks.from);
    for (int64_t j = blocks.from + LANES; j < blocks.to; j += LANES) most = greatest(most, load(row + j));
    const Floats top = all(greatest_of(most));
    Floats sum = all(0.0f);
    for (int64_t j = blocks.from; j < blocks.to; j += LANES) {
      const Floats e = where_seen(own, j, exp2_of(subtract(load(row + j), top)), all(0.0f));
      sum = add(sum, e);
      store(row + j, e);
    }
    inverse[r] = 1.0f / sum_of(sum);
  }
  int c = 0;
  for (; c + SEVERAL <= width; c += SEVERAL) weigh<ROWS, FLOAT_PANELS>(a, query, blocks, values, c, scores, inverse);
  for (; c < width; c += LANES) weigh<ROWS, 1>(a, query, blocks, values, c, scores, inverse);
}

// Rows behind the text's last are read too, up to the next multiple of sixteen, and count for nothing.
static void attention(const Attention& a, float* scratch) {
  const int64_t padded = up_to_lanes(a.length), width = up_to_lanes(a.head_size);
  float *keys = scratch, *values = keys + padded * width, *scores = values + padded * width;
  const Span blocks = blocks_seen(a, 0, a.queries_count);
  for (int64_t j = blocks.from; j < blocks.to; j += LANES) {
    for (int64_t d = 0; d < width; d += LANES) transpose(a.keys + j * a.stride + d, a.stride, keys + j * width + d * LANES);
  }
  for (int64_t j = blocks.from; j < blocks.to && j < a.length; j++) {
    for (int64_t d = 0; d < width; d += LANES) store(values + j * width + d, load(a.values + j * a.stride + d));
  }
  in_tiles<FLOAT_ROWS>(a.queries_count, [&](int64_t from, auto number) IQE_LAMBDA_INLINE {
    attend<decltype(number)::value>(a, from, keys, values, scores);
  });
}

}  // namespace IQE_ISA
}  // namespace iqe
