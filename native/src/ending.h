// What follows the last layer, always in floats: pooling, and the steps behind it (model.h).
#pragma once

namespace iqe {
namespace IQE_ISA {

constexpr int64_t TEXTS_TOGETHER = 16;  // whose pooled rows go through the steps side by side

IQE_INLINE Floats step_activated(int activation, Floats x) {
  switch (activation) {
    case IQE_IDENTITY: return x;
    case IQE_SIGMOID: return logistic(x);
    case IQE_RELU: return add(greatest(x, all(0.0f)), subtract(x, x));  // what is no number stays none
    default: return activated<false>(activation, x);
  }
}

// Scales a row to length 1.
IQE_INLINE void unit_length(float* row, int width) {
  Floats squares = all(0.0f);
  for (int i = 0; i < width; i += LANES) squares = fma(load(row + i), load(row + i), squares);
  const float size = root(sum_of(squares));
  const Floats inverse = all(1.0f / (size < 1e-12f ? 1e-12f : size));
  for (int i = 0; i < width; i += LANES) store(row + i, multiply(load(row + i), inverse));
}

class Ending {
 public:
  // `x` has the rows of a chunk's texts, or one a text where only that is kept; `rows` and `others` have room for TEXTS_TOGETHER rows of
  // `widest` numbers and LANES more.
  Ending(const Model& model, const int64_t* offsets, Chunk chunk, bool one_row, const float* x, float* rows, float* others, float* out)
      : model_(model), config_(model.config), offsets_(offsets), chunk_(chunk), one_row_(one_row), x_(x), rows_(rows),
        others_(others), out_(out), stride_(model.stride), widest_(model.widest) {}

  void finish() const {
    FloatMode mode;
    for (int64_t first = chunk_.first; first < chunk_.last; first += TEXTS_TOGETHER) {
      finish({first, first + TEXTS_TOGETHER < chunk_.last ? first + TEXTS_TOGETHER : chunk_.last});
    }
  }

 private:
  void finish(Chunk some) const {
    const int64_t texts = some.last - some.first;
    float *rows = rows_, *others = others_;
    for (int64_t t = 0; t < texts; t++) pool(some.first + t, rows + t * widest_);
    int width = model_.poolings * config_.hidden;
    for (int s = model_.first_step; s < config_.steps; s++) {
      const Step& step = model_.steps[s];
      if (step.kind == IQE_DENSE) {
        dense(step, texts, rows, others);
        float* made = others;
        others = rows;
        rows = made;
      } else {
        for (int64_t t = 0; t < texts; t++) {
          float* row = rows + t * widest_;
          if (step.kind == IQE_UNIT_LENGTH) {
            unit_length(row, width);
          } else {
            normalize_row(row, step.norm, true, step.epsilon, width, (int)up_to_lanes(width), row);
          }
        }
      }
      width = step.width;
    }
    for (int64_t t = 0; t < texts; t++) {
      __builtin_memcpy(out_ + (some.first + t) * config_.outputs, rows + t * widest_, config_.outputs * sizeof(float));
    }
  }

  // One text's row of each pooling, one behind another, and zeros up to a whole number of lanes.
  void pool(int64_t text, float* to) const {
    const float* rows = x_ + (one_row_ ? text - chunk_.first : offsets_[text] - offsets_[chunk_.first]) * stride_;
    const int64_t count = one_row_ ? 1 : offsets_[text + 1] - offsets_[text];
    const int width = model_.poolings * config_.hidden;
    for (int p = 0; p < model_.poolings; p++) {
      float* part = to + p * config_.hidden;
      switch (model_.first_step ? model_.steps[p].what : config_.pooling) {
        case IQE_CLS: __builtin_memcpy(part, rows, stride_ * sizeof(float)); break;
        case IQE_LAST: __builtin_memcpy(part, rows + (count - 1) * stride_, stride_ * sizeof(float)); break;
        case IQE_MAX: greatest_of_rows(rows, count, part); break;
        case IQE_WEIGHTED_MEAN: weighted_mean(rows, count, part); break;
        case IQE_MEAN_SQRT_LENGTH: mean(rows, count, root((float)count), part); break;
        default: mean(rows, count, (float)count, part);
      }
    }
    __builtin_memset(to + width, 0, (up_to_lanes(width) - width) * sizeof(float));
  }

  void mean(const float* rows, int64_t count, float size, float* to) const {
    for (int i = 0; i < stride_; i += LANES) {
      Floats sum = load(rows + i);
      for (int64_t r = 1; r < count; r++) sum = add(sum, load(rows + r * stride_ + i));
      store(to + i, count > 1 ? divide(sum, all(size)) : sum);
    }
  }

  // The r-th row counts r + 1 times.
  void weighted_mean(const float* rows, int64_t count, float* to) const {
    const Floats size = all(0.5f * (float)(count * (count + 1)));
    for (int i = 0; i < stride_; i += LANES) {
      Floats sum = load(rows + i);
      for (int64_t r = 1; r < count; r++) sum = fma(load(rows + r * stride_ + i), all((float)(r + 1)), sum);
      store(to + i, divide(sum, size));
    }
  }

  void greatest_of_rows(const float* rows, int64_t count, float* to) const {
    for (int i = 0; i < stride_; i += LANES) {
      Floats most = load(rows + i), none = subtract(most, most);  // 0, or no number where a row has one: it must not get lost
      for (int64_t r = 1; r < count; r++) {
        const Floats x = load(rows + r * stride_ + i);
        most = greatest(most, x);
        none = add(none, subtract(x, x));
      }
      store(to + i, add(most, none));
    }
  }

  void dense(const Step& step, int64_t texts, const float* rows, float* to) const {
    const int activation = step.what, width = step.width, widest = widest_;
    linear<false>({texts, widest, rows, nullptr, nullptr}, step.dense, 0, step.dense.outputs / LANES, [=](int64_t r, int n, Floats y) IQE_LAMBDA_INLINE {
      const Floats x = step_activated(activation, y);
      // What pads a row stays 0, whatever the activation makes of it.
      store(to + r * widest + n, n + LANES > width ? first(width - n, x, all(0.0f)) : x);
    });
  }

  const Model& model_;
  const iqe_config& config_;
  const int64_t* offsets_;
  const Chunk chunk_;
  const bool one_row_;
  const float* x_;
  float *rows_, *others_, *out_;
  const int stride_, widest_;
};

}  // namespace IQE_ISA
}  // namespace iqe
