// What follows the last layer: pooling, unit length, a cross-encoder's head.
#pragma once

namespace iqe {
namespace IQE_ISA {

class Ending {
 public:
  // `x` has the rows of a chunk's texts, or one a text where only that is kept; `pooled` and `dense` have room for a row a text.
  Ending(const Model& model, const int64_t* offsets, Chunk chunk, bool one_row, const float* x, float* pooled, float* dense, float* out)
      : model_(model), config_(model.config), offsets_(offsets), chunk_(chunk), one_row_(one_row), x_(x), pooled_(pooled),
        dense_(dense), out_(out), stride_(model.stride) {}

  // Pooling, and what follows it.
  void finish(Chunk block) const {
    FloatMode mode;
    const int64_t texts = block.last - block.first;
    for (int64_t t = 0; t < texts; t++) {
      const int64_t text = block.first + t;
      const float* rows = x_ + (one_row_ ? text - chunk_.first : offsets_[text] - offsets_[chunk_.first]) * stride_;
      const int64_t count = one_row_ ? 1 : offsets_[text + 1] - offsets_[text];
      float* pooled = pooled_ + t * stride_;
      Floats squares = all(0.0f);
      for (int i = 0; i < stride_; i += LANES) {
        Floats sum = load(rows + i);
        for (int64_t r = 1; r < count; r++) sum = add(sum, load(rows + r * stride_ + i));
        if (count > 1) sum = divide(sum, all((float)count));
        squares = fma(sum, sum, squares);
        store(pooled + i, sum);
      }
      if (config_.normalize) {
        const float size = root(sum_of(squares));
        const Floats inverse = all(1.0f / (size < 1e-12f ? 1e-12f : size));
        for (int i = 0; i < stride_; i += LANES) store(pooled + i, multiply(load(pooled + i), inverse));
      }
      if (config_.head < 0) __builtin_memcpy(out_ + text * config_.hidden, pooled, config_.hidden * sizeof(float));
    }
    if (config_.head >= 0) score(block, texts);
  }

 private:
  // A cross-encoder's head, always in floats: a dense layer and one output.
  void score(Chunk block, int64_t texts) const {
    float* dense = dense_;
    const int activation = config_.head;
    linear<false>({texts, stride_, pooled_, nullptr, nullptr}, model_.head_dense, 0, stride_ / LANES,
                  [&](int64_t r, int n, Floats y) IQE_LAMBDA_INLINE { store(dense + r * stride_ + n, activated<false>(activation, y)); });
    linear<false>({texts, stride_, dense, nullptr, nullptr}, model_.head_output, 0, 1,
                  [&](int64_t r, int, Floats y) IQE_LAMBDA_INLINE { store_first(1, out_ + block.first + r, y); });
  }

  const Model& model_;
  const iqe_config& config_;
  const int64_t* offsets_;
  const Chunk chunk_;
  const bool one_row_;
  const float* x_;
  float *pooled_, *dense_, *out_;
  const int stride_;
};

}  // namespace IQE_ISA
}  // namespace iqe
