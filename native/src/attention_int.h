// Attention of one text and head in whole numbers, for models of int8: bytes for the scores, and weights of thirteen bits times
// bytes for the means of values. What is added up is exact, so every instruction set gives the same bits.
//
// A query and a key have a scale each, a column of values has one for the text. See attention.h for the rest.
#pragma once

namespace iqe {
namespace IQE_ISA {

// Weights are whole numbers from 0 to WHOLE. With bytes of at most 127 and texts of at most MOST_KEYS tokens their sums stay
// below 2^31 (4096 * 4096 * 127), and those of the weights alone are exact as floats (2^24).
constexpr float WHOLE = 4096.0f;
constexpr int64_t MOST_KEYS = 4096;
// Below so many queries less is gained than it costs to make bytes of keys and values.
constexpr int64_t LEAST_QUERIES = 24;

// The middle of a query's bytes, and the most that a byte lies beside it.
constexpr int MIDDLE = 127;
// A key's codes: of four that share a 16-bit lane the sizes add up to at most FOUR_KEYS before rounding, to 129 behind it, and
// 254 * 129 = 32,766 (isa/avx2.cpp). One alone is at most 127.
constexpr float FOUR_KEYS = 127.0f;

// The score of a key that is not seen: with the least scale of a query, 1e-30, it leaves no weight.
constexpr float UNSEEN = -1e38f;

// Queries whose scores are kept at a time.
constexpr int GROUP = 12;

static inline bool suits_ints(const Attention& a) { return a.queries_count >= LEAST_QUERIES && a.length <= MOST_KEYS; }

// What one head of a text needs aside, in the order in which it lies in memory.
struct IntAttention {
  float* value_scales;   // [head size]
  float* columns;        // [head size][16]: sixteen keys
  float* key_scales;     // [keys]
  float* key_shifts;     // [keys]: what a score has too little since bytes of queries have their middle at MIDDLE
  int32_t* key_sums;     // [keys]: of a key's codes
  float* scores;         // [GROUP][keys], and in their place weights
  float* query_scales;   // [queries]
  int8_t* keys;          // [keys/16][head size/4][16][4]
  int8_t* values;        // [head size/16], of each what Weights makes of the keys
  uint8_t* queries;      // [queries][head size]
  int64_t bytes;

  IntAttention(void* memory, int64_t length, int head_size) {
    const int64_t padded = up_to_lanes(length), width = up_to_lanes(head_size);
    char* next = (char*)memory;
    const auto take = [&](int64_t bytes) {
      char* piece = next;
      next += bytes;
      return piece;
    };
    value_scales = (float*)take(width * sizeof(float));
    columns = (float*)take(width * LANES * sizeof(float));
    key_scales = (float*)take(padded * sizeof(float));
    key_shifts = (float*)take(padded * sizeof(float));
    key_sums = (int32_t*)take(padded * sizeof(int32_t));
    scores = (float*)take(GROUP * padded * sizeof(float));
    query_scales = (float*)take(padded * sizeof(float));
    keys = (int8_t*)take(padded * width);
    values = (int8_t*)take(padded * width * Weights::VALUE_BYTES);
    queries = (uint8_t*)take(padded * width);
    bytes = next - (char*)memory;
  }
};

// Floats that one head of a text needs aside.
static inline int64_t attention_int_scratch(int64_t length, int head_size) {
  return IntAttention(nullptr, length, head_size).bytes / (int64_t)sizeof(float);
}

// Codes of sixteen keys from the j-th on.
IQE_INLINE void quantize_keys(const Attention& a, const IntAttention& b, int64_t j) {
  const int width = (int)up_to_lanes(a.head_size);
  float* columns = b.columns;
  for (int d = 0; d < width; d += LANES) transpose(a.keys + j * a.stride + d, a.stride, columns + d * LANES);
  for (int d = a.head_size; d < width; d++) store(columns + d * LANES, all(0.0f));  // what is there belongs to others
  Floats most = all(0.0f);
  for (int d = 0; d < width; d += 8) {
    const auto size = [&](int i) IQE_LAMBDA_INLINE { return magnitude(load(columns + (d + i) * LANES)); };
    // Here and below: of what is no number nothing hides, since the second argument is taken where one is none.
    most = greatest(most, add(add(size(0), size(1)), add(size(4), size(5))));
    most = greatest(most, add(add(size(2), size(3)), add(size(6), size(7))));
  }
  const Floats scale = greatest(all(1e-30f), multiply(most, all(1.0f / FOUR_KEYS))), inverse = divide(all(1.0f), scale);
  Ints sum = whole(all(0.0f));
  int8_t* codes = b.keys + j * width;
  for (int d = 0; d < width; d += 4) {
    const auto code = [&](int i) IQE_LAMBDA_INLINE { return whole(multiply(load(columns + (d + i) * LANES), inverse)); };
    const Ints c0 = code(0), c1 = code(1), c2 = code(2), c3 = code(3);
    sum = add(sum, add(add(c0, c1), add(c2, c3)));
    store_fours(codes + d * LANES, c0, c1, c2, c3);
  }
  // Infinite numbers have no code: such a key counts as no number, on every CPU alike.
  store(b.key_scales + j, add(scale, subtract(scale, scale)));
  store(b.key_shifts + j, multiply(multiply(to_floats(sum), all(-(float)MIDDLE)), scale));
  store(b.key_sums + j, sum);
}

// Codes of sixteen columns of values, from the c-th on, of some keys; those behind the text's last are zeros.
IQE_INLINE void quantize_values(const Attention& a, const IntAttention& b, int c, Span keys) {
  const int64_t padded = up_to_lanes(a.length), end = keys.to < a.length ? keys.to : a.length;
  const float* from = a.values + c;
  Floats most = all(0.0f), sum = all(0.0f);
  for (int64_t j = keys.from; j < end; j++) {
    const Floats x = load(from + j * a.stride);
    most = greatest(most, magnitude(x));
    sum = add(sum, x);
  }
  // What is no number is none in the sum, where `most` may have lost it.
  const Floats none = subtract(sum, sum);
  const Floats scale = greatest(all(1e-30f), multiply(most, all(1.0f / 127.0f))), inverse = divide(all(1.0f), scale);
  store(b.value_scales + c, add(scale, none));
  int8_t* codes = b.values + padded * c * Weights::VALUE_BYTES;
  const Ints zero = whole(all(0.0f));
  int64_t j = keys.from;
  for (; j + 4 <= end; j += 4) {
    const auto code = [&](int i) IQE_LAMBDA_INLINE { return whole(multiply(load(from + (j + i) * a.stride), inverse)); };
    Weights::store_values(codes + j * LANES * Weights::VALUE_BYTES, code(0), code(1), code(2), code(3));
  }
  for (; j < keys.to; j += 4) {
    const auto code = [&](int i) IQE_LAMBDA_INLINE {
      return j + i < end ? whole(multiply(load(from + (j + i) * a.stride), inverse)) : zero;
    };
    Weights::store_values(codes + j * LANES * Weights::VALUE_BYTES, code(0), code(1), code(2), code(3));
  }
}

IQE_INLINE void quantize_query(const Attention& a, const IntAttention& b, int64_t query) {
  const int width = (int)up_to_lanes(a.head_size);
  const float* from = a.queries + query * a.stride;
  Floats most = all(0.0f);
  for (int d = 0; d < width; d += LANES) {
    Floats x = magnitude(load(from + d));
    if (d + LANES > a.head_size) x = first(a.head_size - d, x, all(0.0f));
    most = greatest(most, x);
  }
  const float size = greatest_of(most) * (1.0f / MIDDLE), scale = size > 1e-30f ? size : 1e-30f;
  const Floats inverse = all(1.0f / scale);
  // Bytes behind the head's last meet zeros.
  for (int d = 0; d < width; d += LANES) store_bytes(b.queries + query * width + d, multiply(load(from + d), inverse), MIDDLE);
  b.query_scales[query] = scale + (size - size);
}

// Scores of a few queries and P blocks of keys from the j-th on, in units of the query's scale, and for biases in their own.
template <int ROWS, int P>
IQE_INLINE void score_ints(const Attention& a, const IntAttention& b, int64_t query, int64_t j, bool all_seen, float* scores) {
  const int64_t padded = up_to_lanes(a.length);
  const int width = (int)up_to_lanes(a.head_size);
  Ints sum[ROWS][P];
  Scores::template sums<ROWS, P>(b.queries + query * width, width, b.keys + j * width, LANES * width, b.key_sums + j, width, sum);
  for (int p = 0; p < P; p++) {
    const int64_t at = j + p * LANES;
    const Floats shifts = load(b.key_shifts + at), scales = load(b.key_scales + at);
    for (int r = 0; r < ROWS; r++) {
      // Sums are exact as floats in heads of up to 2,048 numbers (254 * 129 / 4 for each), else rounded once.
      Floats one = fma(to_floats(sum[r][p]), scales, shifts);
      const int64_t place = a.first_query + query + r;
      if (a.bias) one = fma(one, all(b.query_scales[query + r]), load(a.bias + at - place));
      if (!all_seen) one = where_seen(seen(a, place), at, one, all(UNSEEN));
      store(scores + r * padded + at, one);
    }
  }
}

// WHOLE times 2^x for x <= 0, to the nearest whole number; relative error before rounding below 1.1e-4, and none at 0.
IQE_INLINE Ints weights_of(Floats x) {
  x = greatest(x, all(-30.0f));
  const Floats big = all(12582912.0f), with_whole = add(x, big), part = subtract(x, subtract(with_whole, big));
  Floats p = all(225.31659f);
  p = fma(p, part, all(992.0961f));
  p = fma(p, part, all(2839.6868f));
  p = fma(p, part, all(WHOLE));
  return whole(scaled(p, with_whole));
}

// Scores of some queries become weights, in their place; `inverse` gets one by the sum of each one's. One step for all of them
// before the next: what follows in one query has to wait for what was before.
IQE_INLINE void weigh_scores(const Attention& a, const IntAttention& b, int64_t query, int count, Span blocks, float (&inverse)[GROUP]) {
  const int64_t padded = up_to_lanes(a.length);
  float tops[GROUP];
  for (int r = 0; r < count; r++) {
    const float* row = b.scores + r * padded;
    Floats most = load(row + blocks.from);
    for (int64_t j = blocks.from + LANES; j < blocks.to; j += LANES) most = greatest(most, load(row + j));
    tops[r] = greatest_of(most);
  }
  int32_t sums[GROUP][LANES];
  for (int r = 0; r < count; r++) {
    float* row = b.scores + r * padded;
    const Floats top = all(tops[r]), scale = all(a.bias ? 1.0f : b.query_scales[query + r]);
    Ints sum = whole(all(0.0f));
    for (int64_t j = blocks.from; j < blocks.to; j += LANES) {
      // Half of sixteen floats' room is that of their weights, which overtake none that is to be read.
      const Ints weights = weights_of(multiply(subtract(load(row + j), top), scale));
      sum = add(sum, weights);
      Weights::store((int16_t*)row + j, weights);
    }
    store(sums[r], sum);
  }
  for (int r = 0; r < count; r++) {
    const float scale = b.query_scales[query + r];
    inverse[r] = 1.0f / (float)sum_of(load(sums[r])) + (scale - scale);
  }
}

// P times sixteen numbers, from the c-th on, of the weighted means of the values of some keys.
template <int ROWS, int P>
IQE_INLINE void mean_of_values(const Attention& a, const IntAttention& b, int64_t query, Span blocks, int c, const float* weights,
                               const float* inverse) {
  const int64_t padded = up_to_lanes(a.length), panel = padded * LANES * Weights::VALUE_BYTES;
  const int8_t* values = b.values + c / LANES * panel + blocks.from * LANES * Weights::VALUE_BYTES;
  Ints sum[ROWS][P];
  Weights::sums<ROWS, P>((const int16_t*)weights + blocks.from, 2 * padded, values, panel, blocks.to - blocks.from, sum);
  for (int p = 0; p < P; p++) {
    const int at = c + p * LANES;
    const Floats scales = load(b.value_scales + at);
    for (int r = 0; r < ROWS; r++) {
      const Floats mean = multiply(multiply(to_floats(sum[r][p]), scales), all(inverse[r]));
      store_first(a.head_size - at, a.out + (query + r) * a.out_stride + at, mean);
    }
  }
}

// A few queries against the keys that they see.
static void attend_ints(const Attention& a, const IntAttention& b, int64_t query, int count) {
  const int64_t padded = up_to_lanes(a.length), width = up_to_lanes(a.head_size);
  const Span blocks = blocks_seen(a, query, count);
  in_tiles<Scores::ROWS>(count, [&](int64_t from, auto number) IQE_LAMBDA_INLINE {
    constexpr int ROWS = decltype(number)::value, P = Scores::PANELS;
    float* scores = b.scores + from * padded;
    // What each of them sees.
    const int64_t first = seen(a, a.first_query + query + from + ROWS - 1).from, end = seen(a, a.first_query + query + from).to;
    int64_t j = blocks.from;
    for (; j + P * LANES <= blocks.to; j += P * LANES) score_ints<ROWS, P>(a, b, query + from, j, first <= j && j + P * LANES <= end, scores);
    for (; j < blocks.to; j += LANES) score_ints<ROWS, 1>(a, b, query + from, j, first <= j && j + LANES <= end, scores);
  });
  float inverse[GROUP];
  weigh_scores(a, b, query, count, blocks, inverse);
  in_tiles<Weights::ROWS>(count, [&](int64_t from, auto number) IQE_LAMBDA_INLINE {
    constexpr int ROWS = decltype(number)::value, P = Weights::PANELS;
    int c = 0;
    for (; c + P * LANES <= width; c += P * LANES) {
      mean_of_values<ROWS, P>(a, b, query + from, blocks, c, b.scores + from * padded, inverse + from);
    }
    for (; c < width; c += LANES) mean_of_values<ROWS, 1>(a, b, query + from, blocks, c, b.scores + from * padded, inverse + from);
  });
}

// As `attention` does it.
static void attention_in_ints(const Attention& a, float* scratch) {
  const IntAttention b(scratch, a.length, a.head_size);
  const int width = (int)up_to_lanes(a.head_size);
  const Span blocks = blocks_seen(a, 0, a.queries_count);
  for (int64_t j = blocks.from; j < blocks.to; j += LANES) quantize_keys(a, b, j);
  for (int c = 0; c < width; c += LANES) quantize_values(a, b, c, blocks);
  for (int64_t q = 0; q < a.queries_count; q++) quantize_query(a, b, q);
  in_runs(a.queries_count, GROUP, [&](int64_t from, int count) IQE_LAMBDA_INLINE { attend_ints(a, b, from, count); });
}

}  // namespace IQE_ISA
}  // namespace iqe
