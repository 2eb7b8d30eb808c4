// What follows the last layer where every token's row takes the steps. Either they are what comes out, a row a token; or the last is
// a linear layer with an output for each token of a vocabulary, and the greatest or the sum of each over a text's tokens comes
// out, as of SPLADE (https://arxiv.org/abs/2109.10086). The matrix of tokens by vocabulary is never there: each result of
// that layer goes into its text's row as it comes.
#pragma once

namespace iqe {
namespace IQE_ISA {

constexpr int64_t TOKENS_TOGETHER = 96;  // whose rows the vocabulary's weights are read once for

// max(x, 0); what is no number, or infinite, becomes none.
IQE_INLINE Floats positive(Floats x) { return add(greatest(x, all(0.0f)), subtract(x, x)); }

// log(1 + x) for x >= 0, to about 1e-7 of itself. 1 + x = 2^n m with m from sqrt(1/2) to sqrt(2), and log m = 2 artanh((m - 1) / (m + 1))
// by its series; what 1 + x was rounded by is divided by it and added.
IQE_INLINE Floats log1p_of(Floats x) {
  const Floats y = add(x, all(1.0f));
  const Floats rounded = divide(subtract(x, subtract(y, all(1.0f))), y);
  Floats m = y, n = all(0.0f);
  // Halvings, of which each is exact.
  constexpr float powers[] = {0x1p64f, 0x1p32f, 0x1p16f, 0x1p8f, 0x1p4f, 0x1p2f, 0x1p1f};
  constexpr float inverses[] = {0x1p-64f, 0x1p-32f, 0x1p-16f, 0x1p-8f, 0x1p-4f, 0x1p-2f, 0x1p-1f};
  constexpr float steps[] = {64, 32, 16, 8, 4, 2, 1};
#pragma GCC unroll 7
  for (int i = 0; i < 7; i++) {
    const Floats under = subtract(m, all(powers[i]));
    n = where_negative(under, n, add(n, all(steps[i])));
    m = where_negative(under, m, multiply(m, all(inverses[i])));
  }
  const Floats under = subtract(m, all(1.41421356f));
  n = where_negative(under, n, add(n, all(1.0f)));
  m = where_negative(under, m, multiply(m, all(0.5f)));
  const Floats part = divide(subtract(m, all(1.0f)), add(m, all(1.0f))), square = multiply(part, part);
  Floats p = all(1.0f / 11);
  p = fma(p, square, all(1.0f / 9));
  p = fma(p, square, all(1.0f / 7));
  p = fma(p, square, all(1.0f / 5));
  p = fma(p, square, all(1.0f / 3));
  p = fma(p, square, all(1.0f));
  const Floats of_m = fma(multiply(part, all(2.0f)), p, rounded);
  return add(fma(n, all(0.693147181f), of_m), subtract(x, x));
}

IQE_INLINE Floats in_logarithms(int activation, Floats x) {
  if (activation == IQE_RELU) return x;
  const Floats once = log1p_of(x);
  return activation == IQE_LOG1P_TWICE ? log1p_of(once) : once;
}

// `Phases` is the Forward that made the rows: it runs a phase on its threads.
template <bool INT8, class Phases>
class TokenEnding {
 public:
  template <class Buffers>
  TokenEnding(const Phases& phases, const Model& model, const int64_t* offsets, Chunk chunk, const Buffers& b, float* out)
      : phases_(phases), model_(model), config_(model.config), offsets_(offsets), chunk_(chunk), x_(b.x), rows_(b.pooled),
        others_(b.steps), codes_(b.step_codes), scales_(b.step_scales), out_(out), widest_(model.widest) {}

  void finish() {
    FloatMode mode;
    const int64_t texts = chunk_.last - chunk_.first, outputs = config_.outputs, first_token = offsets_[chunk_.first];
    const int64_t total = offsets_[chunk_.last] - first_token;
    if (!has_vocabulary(config_)) {
      for (int64_t from = 0; from < total && !phases_.stopped(); from += TOKENS_TOGETHER) {
        const Rows made = stepped(from, total - from < TOKENS_TOGETHER ? total - from : TOKENS_TOGETHER, config_.steps);
        float* to = out_ + (first_token + from) * outputs;
        for (int64_t r = 0; r < made.count; r++) __builtin_memcpy(to + r * outputs, made.values + r * made.stride, outputs * sizeof(float));
      }
      return;
    }
    __builtin_memset(out_ + chunk_.first * outputs, 0, texts * outputs * sizeof(float));
    int64_t text = chunk_.first;
    float* targets[TOKENS_TOGETHER];
    for (int64_t from = 0; from < total; from += TOKENS_TOGETHER) {
      if (phases_.stopped()) return;
      const int64_t count = total - from < TOKENS_TOGETHER ? total - from : TOKENS_TOGETHER;
      for (int64_t r = 0; r < count; r++) {
        while (offsets_[text + 1] - first_token <= from + r) text++;
        targets[r] = out_ + text * outputs;
      }
      pool(in_bytes(stepped(from, count, config_.steps - 1)), targets);
    }
    // The logarithm of the greatest is the greatest logarithm: one for a text instead of one for a token.
    if (config_.pooling != IQE_VOCABULARY_MAX || last().what == IQE_RELU) return;
    const int activation = last().what;
    phases_.share(texts * outputs / LANES, [&](int i, int n) {
      const int64_t pieces = texts * outputs / LANES;
      for (int64_t p = pieces * i / n; p < pieces * (i + 1) / n; p++) {
        float* at = out_ + chunk_.first * outputs + p * LANES;
        store(at, in_logarithms(activation, load(at)));
      }
    });
  }

 private:
  const Step& last() const { return model_.steps[config_.steps - 1]; }

  // Rows of `count` tokens from the chunk's `from`-th, behind so many steps.
  Rows stepped(int64_t from, int64_t count, int steps) {
    const int64_t stride = model_.stride, widest = widest_;
    float *rows = rows_, *others = others_;
    for (int64_t r = 0; r < count; r++) __builtin_memcpy(rows + r * widest, x_ + (from + r) * stride, stride * sizeof(float));
    int width = config_.hidden;
    for (int s = model_.first_step; s < steps; s++) {
      const Step& step = model_.steps[s];
      if (step.kind == IQE_DENSE) {
        const int activation = step.what, made = step.width;
        float* to = others;
        phases_.whole_linear({count, widest, rows, nullptr, nullptr}, step.dense, [=](int64_t r, int n, Floats y) IQE_LAMBDA_INLINE {
          const Floats x = step_activated(activation, y);
          store(to + r * widest + n, n + LANES > made ? first(made - n, x, all(0.0f)) : x);
        });
        others = rows;
        rows = to;
      } else {
        phases_.each_row(count, [&](int64_t r) {
          float* row = rows + r * widest;
          if (step.kind == IQE_UNIT_LENGTH) {
            unit_length(row, width);
          } else {
            normalize_row(row, step.norm, true, step.epsilon, width, (int)up_to_lanes(width), row);
          }
        });
      }
      width = step.width;
    }
    return {count, widest, rows, codes_, scales_};
  }

  // The same rows with the bytes that the last step reads.
  Rows in_bytes(const Rows& in) {
    const Linear& reader = last().dense;
    if (INT8 && reader.codes != nullptr) {
      phases_.each_row(in.count, [&](int64_t r) {
        scales_[r] = quantize_row(in.values + r * in.stride, reader.factors, reader.inputs, reader.levels, codes_ + r * in.stride);
      });
    }
    return in;
  }

  // The last step, each of whose results goes into its text's row. Tokens come in their order, output by output.
  void pool(const Rows& in, float* const* targets) const {
    const int activation = last().what;
    if (config_.pooling == IQE_VOCABULARY_MAX) {
      phases_.whole_linear(in, last().dense, [=](int64_t r, int n, Floats y) IQE_LAMBDA_INLINE {
        float* at = targets[r] + n;
        // From zeros on, so the greatest is never negative. Of the two `greatest` gives the second where one is no number.
        store(at, add(greatest(y, load(at)), subtract(y, y)));
      });
    } else {
      phases_.whole_linear(in, last().dense, [=](int64_t r, int n, Floats y) IQE_LAMBDA_INLINE {
        float* at = targets[r] + n;
        store(at, add(load(at), in_logarithms(activation, positive(y))));
      });
    }
  }

  const Phases& phases_;
  const Model& model_;
  const iqe_config& config_;
  const int64_t* offsets_;
  const Chunk chunk_;
  const float* x_;
  float *rows_, *others_;
  uint8_t* codes_;
  RowScale* scales_;
  float* out_;
  const int widest_;
};

}  // namespace IQE_ISA
}  // namespace iqe
