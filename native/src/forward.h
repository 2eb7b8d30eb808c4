// A chunk of texts through the whole encoder: what is included last by every file of isa/, whose lanes and products it uses.
//
// Rows of all texts lie one after another without padding; nothing that is computed for a text depends on the texts beside it.
//
// Half a layer at a time, so that its weights stay in the cache: attention in blocks of whole texts, then the feed-forward
// layer in parts of any rows.
#pragma once
#include "model.h"
#include "pool.h"

#include "math.h"
#include "tiles.h"
#include "rows.h"
#include "linear.h"
#include "attention.h"
#include "attention_int.h"
#include "ending.h"
#include "token_ending.h"

namespace iqe {
namespace IQE_ISA {

constexpr int64_t BLOCK_ROWS = 96;   // of queries, keys and values at a time, longer texts aside
constexpr int64_t PART_ROWS = 48;    // of the feed-forward layer, whose rows are four times as wide

// Hands out pieces of memory, each at a multiple of 64 bytes; with null memory it only counts.
struct Arena {
  char* memory;
  int64_t used = 0;

  template <class T>
  T* take(int64_t count) {
    T* piece = (T*)(memory + used);
    used += (count * (int64_t)sizeof(T) + 63) / 64 * 64;
    return piece;
  }
};

struct Buffers {
  float *x, *embedded, *origin, *normed, *branch, *qkv, *context, *inner, *recalled, *scratch, *pooled, *steps;
  uint8_t *codes, *context_codes, *inner_codes, *step_codes;
  RowScale *scales, *context_scales, *inner_scales, *step_scales;
  int64_t scratch_each;

  // For chunks of so many rows and texts of at most so many, attention on `shares` threads.
  Buffers(Arena& arena, const Model& model, int64_t rows, int64_t longest, int shares) {
    const int64_t stride = model.stride, query_width = model.query_width;
    // A third half's bytes are those of embeddings first, then what its gate lets through.
    const int64_t third = model.recalled == 0 ? 0 : model.recalled_stride > stride ? model.recalled_stride : stride;
    const int64_t inner_width = model.config.inner > third ? model.config.inner : third;
    const int64_t block = rows < BLOCK_ROWS ? rows : (longest > BLOCK_ROWS ? longest : BLOCK_ROWS);
    const int64_t behind = LANES;  // rows that attention reads behind a text's last
    const int64_t part = rows < PART_ROWS ? rows : PART_ROWS;
    x = arena.take<float>(rows * stride);
    embedded = model.embedding_projection.panels ? arena.take<float>(block * model.embedded_stride) : x;
    origin = model.recalled ? arena.take<float>(rows * stride) : nullptr;
    normed = model.config.norms_aside ? arena.take<float>(rows * stride) : x;
    branch = model.config.branch_norms ? arena.take<float>((block > part ? block : part) * stride) : nullptr;
    qkv = arena.take<float>((block + behind) * model.qkv_width + LANES);
    context = arena.take<float>(block * query_width);
    inner = arena.take<float>(part * inner_width);
    recalled = arena.take<float>(part * model.recalled_stride);
    codes = arena.take<uint8_t>(rows * stride);
    scales = arena.take<RowScale>(rows);
    context_codes = arena.take<uint8_t>(block * query_width);
    context_scales = arena.take<RowScale>(block);
    inner_codes = arena.take<uint8_t>(part * inner_width);
    inner_scales = arena.take<RowScale>(part);
    const int64_t floats = attention_scratch(longest, model.head_size);
    const int64_t ints = model.config.precision == IQE_INT8 ? attention_int_scratch(longest, model.head_size) : 0;
    scratch_each = up_to_lanes(floats > ints ? floats : ints);
    scratch = arena.take<float>(scratch_each * shares);
    const int64_t together = by_token(model.config) ? TOKENS_TOGETHER : TEXTS_TOGETHER;
    pooled = arena.take<float>(together * model.widest + LANES);
    steps = arena.take<float>(together * model.widest + LANES);
    step_codes = has_vocabulary(model.config) ? arena.take<uint8_t>(together * model.widest) : nullptr;
    step_scales = has_vocabulary(model.config) ? arena.take<RowScale>(together) : nullptr;
  }
};

// What a linear layer gives, kept as it is.
struct Keep {
  float* to;
  int64_t stride;
  IQE_LAMBDA_INLINE void operator()(int64_t r, int n, Floats y) const { store(to + r * stride + n, y); }
};

template <bool INT8>
class Forward {
 public:
  Forward(const Model& model, const int32_t* ids, const int64_t* offsets, Chunk chunk, Team* team, int shares, Buffers& buffers,
          const int32_t* stop, float* out)
      : model_(model), config_(model.config), ids_(ids), offsets_(offsets), chunk_(chunk), team_(team), shares_(shares),
        b_(buffers), stop_(stop), out_(out), stride_(model.stride) {}

  // Sums the squares of what every linear layer reads, input by input, as iqe_observe says; on one thread only.
  void observe(float* squares) { squares_ = squares; }

  void run() {
    for (int l = 0; l < config_.layers; l++) {
      int64_t rows = 0;  // that the feed-forward layer is for
      for (Chunk block = next(chunk_.first); block.first < chunk_.last; block = next(block.last)) {
        if (stopped()) return;
        if (l == 0) embed(block);
        rows += attention_half(l, block, rows);
      }
      const int64_t parts = (rows + PART_ROWS - 1) / PART_ROWS;
      for (int64_t p = 0; p < parts; p++) {
        if (stopped()) return;
        feed_forward_half(l, rows * p / parts, rows * (p + 1) / parts);
        if (model_.recalled) recall_half(l, rows * p / parts, rows * (p + 1) / parts);
      }
    }
    if (by_token(config_)) {
      // What is observed are the layers.
      if (squares_ == nullptr) TokenEnding<INT8, Forward>(*this, model_, offsets_, chunk_, b_, out_).finish();
      return;
    }
    Ending(model_, offsets_, chunk_, one_row(config_.layers - 1), b_.x, b_.pooled, b_.steps, out_).finish();
  }

  bool stopped() const { return __atomic_load_n(stop_, __ATOMIC_RELAXED); }
  // f(share, shares) for each share of a phase.
  template <class F>
  void share(int64_t pieces, const F& f) const {
    const int shares = (int)(pieces < shares_ ? pieces : shares_);
    if (team_ == nullptr || shares <= 1) {
      FloatMode mode;
      f(0, 1);
    } else {
      team_->run(shares, [&](int i) {
        FloatMode mode;
        f(i, shares);
      });
    }
  }
  template <class F>
  void each_row(int64_t rows, const F& f) const {
    share((rows + 7) / 8, [&](int i, int n) {
      for (int64_t r = rows * i / n; r < rows * (i + 1) / n; r++) f(r);
    });
  }
  template <class F>
  void linear_part(const Rows& in, const Linear& layer, int from, int to, const F& f) const {
    // In units of as many panels as a tile has, so that none is cut, and of two: pairs of a gate and what it is for are not parted.
    constexpr int UNIT = Products::PANELS > 2 ? Products::PANELS : 2;
    const int units = (to - from + UNIT - 1) / UNIT;
    share(units, [&](int i, int n) {
      const int first = from + units * i / n * UNIT, end = from + units * (i + 1) / n * UNIT;
      // Copies of what the stores in f could otherwise change, for all the compiler knows.
      const Rows rows = in;
      const Linear part = layer;
      const F finish = f;
      linear<INT8>(rows, part, first, end < to ? end : to, finish);
    });
  }
  template <class F>
  void whole_linear(const Rows& in, const Linear& layer, const F& f) const {
    linear_part(in, layer, 0, layer.outputs / LANES, f);
  }

 private:
  // Whole texts that make a block of BLOCK_ROWS, or one that is longer.
  Chunk next(int64_t from) const {
    int64_t to = from;
    while (to < chunk_.last && (to == from || offsets_[to + 1] - offsets_[from] <= BLOCK_ROWS)) to++;
    return {from, to};
  }
  int64_t start(int64_t text) const { return offsets_[text] - offsets_[chunk_.first]; }  // its first row
  int64_t length(int64_t text) const { return offsets_[text + 1] - offsets_[text]; }
  // With CLS or last-token pooling one row a text is enough of the last layer.
  bool one_row(int l) const { return l == config_.layers - 1 && (config_.pooling == IQE_CLS || config_.pooling == IQE_LAST); }
  int64_t kept_row(int64_t text) const { return config_.pooling == IQE_CLS ? 0 : length(text) - 1; }

  // f(row in the block, text, place in the text) for each row of a block.
  template <class F>
  void each_place(Chunk block, const F& f) {
    const int64_t first_row = start(block.first), rows = start(block.last) - first_row;
    share((rows + 7) / 8, [&](int i, int n) {
      const int64_t from = rows * i / n, to = rows * (i + 1) / n;
      for (int64_t text = block.first; text < block.last; text++) {
        const int64_t at = start(text) - first_row, end = at + length(text);
        for (int64_t r = at > from ? at : from; r < end && r < to; r++) f(r, text, r - at);
      }
    });
  }
  Rows input(int64_t row, int64_t count) const {
    return {count, stride_, b_.normed + row * stride_, b_.codes + row * stride_, b_.scales + row};
  }

  // Adds to the sums of what a linear layer reads.
  void note(const Linear& reader, const Rows& in) {
    if (squares_ == nullptr) return;
    float* sums = squares_ + reader.observed;
    for (int64_t r = 0; r < in.count; r++) {
      const float* row = in.values + r * in.stride;
      for (int i = 0; i < in.stride; i += LANES) store(sums + i, fma(load(row + i), load(row + i), load(sums + i)));
    }
  }

  void normalize(const float* row, const Norm& norm, float* to) {
    normalize_row(row, norm, config_.centred, config_.epsilon, config_.hidden, stride_, to);
  }

  // A norm of the r-th row, where there is one, for the linear layer that reads it next, and the bytes; without a reader it
  // takes the row's place. With norms that are not aside it does so in any case: then `normed` is x.
  void prepare(int64_t r, const Norm& norm, const Linear* reader) {
    const float* x = b_.x + r * stride_;
    float* to = (reader ? b_.normed : b_.x) + r * stride_;
    if (norm.weight) {
      normalize(x, norm, to);
    } else if (to != x) {
      __builtin_memcpy(to, x, stride_ * sizeof(float));
    }
    if (INT8 && reader) b_.scales[r] = quantize_row(to, reader->factors, stride_, reader->levels, b_.codes + r * stride_);
  }

  // A row of x as the layers begin with it.
  void begin(int64_t r) {
    if (b_.origin) __builtin_memcpy(b_.origin + r * stride_, b_.x + r * stride_, stride_ * sizeof(float));
    prepare(r, model_.first_norm, &model_.layers[0].qkv);
  }

  // Adds what a linear layer makes of `in` to rows of x from the `row`-th on, through a norm where there is one, behind which sums are
  // multiplied with a factor, and prepares them.
  void add_half(const Rows& in, const Linear& layer, const Norm& branch_norm, int64_t row, const Norm& norm, const Linear* reader,
                float factor = 1.0f) {
    const int64_t stride = stride_;
    float *x = b_.x + row * stride, *branch = b_.branch;
    if (branch) {
      whole_linear(in, layer, Keep{branch, stride});
      each_row(in.count, [&](int64_t r) {
        float *part = branch + r * stride, *at = x + r * stride;
        normalize(part, branch_norm, part);
        for (int i = 0; i < stride; i += LANES) store(at + i, multiply(add(load(part + i), load(at + i)), all(factor)));
      });
    } else {
      whole_linear(in, layer, [=](int64_t r, int n, Floats y) IQE_LAMBDA_INLINE {
        float* at = x + r * stride + n;
        store(at, add(y, load(at)));
      });
    }
    each_row(in.count, [&](int64_t r) { prepare(row + r, norm, reader); });
  }

  void embed(Chunk block) {
    const int64_t first_row = start(block.first);
    const int64_t rows = start(block.last) - first_row, width = model_.embedded_stride;
    const bool projected = b_.embedded != b_.x;
    share((rows + 7) / 8, [&](int i, int n) {
      const int64_t from = rows * i / n, to = rows * (i + 1) / n;
      for (int64_t text = block.first; text < block.last; text++) {
        const int64_t at = start(text) - first_row, end = at + length(text);
        int64_t position = 0;
        for (int64_t r = at; r < end && r < to; r++) {
          const int64_t id = ids_[offsets_[text] + r - at];
          const bool pads = id == config_.padding;
          if (r >= from) {
            const float* place = pads ? model_.padding : model_.positions + position * model_.place_stride;
            embed_row(b_.embedded + (projected ? r : first_row + r) * width, id, place);
            if (!projected) begin(first_row + r);
          }
          position += !pads;
        }
      }
    });
    if (projected) project(first_row, rows);
  }
  void embed_row(float* x, int64_t id, const float* place) {
    const bool second = id >= config_.vocabulary;
    const int width = model_.embedded_stride;
    const int64_t word = second ? id - config_.vocabulary : id, at = word * width;
    const Floats scale = all(INT8 ? model_.word_scales[word] : 1.0f);
    for (int i = 0; i < width; i += LANES) {
      // int8: code * scale + place, rounded once.
      Floats sum = INT8 ? fma(load_codes(model_.word_codes + at + i), scale, load(place + i)) : add(load(model_.words + at + i), load(place + i));
      if (second) sum = add(sum, load(model_.second_text + i));
      store(x + i, sum);
    }
    if (config_.embedding_norm) normalize_row(x, model_.embedding_norm, config_.centred, config_.epsilon, model_.embedded, width, x);
  }
  // A block's embeddings become rows of x.
  void project(int64_t first_row, int64_t rows) {
    const Rows embedded{rows, model_.embedded_stride, b_.embedded, nullptr, nullptr};
    whole_linear(embedded, model_.embedding_projection, Keep{b_.x + first_row * stride_, stride_});
    each_row(rows, [&](int64_t r) { begin(first_row + r); });
  }

  // Attention of a block's texts. What the feed-forward layer takes is left in the `to`-th row and those behind; returns how many.
  int64_t attention_half(int l, Chunk block, int64_t to) {
    const Layer& layer = model_.layers[l];
    const int64_t first_row = start(block.first), texts = block.last - block.first;
    int64_t rows = start(block.last) - first_row;
    const int panels = layer.qkv.outputs / LANES, query_panels = layer.query_width / LANES;
    const Keep keep{b_.qkv, layer.qkv.outputs};
    note(layer.qkv, input(first_row, rows));
    if (one_row(l)) {
      linear_part(input(first_row, rows), layer.qkv, query_panels, panels, keep);
      gather(block, to);
      linear_part(input(to, texts), layer.qkv, 0, query_panels, keep);
    } else {
      linear_part(input(first_row, rows), layer.qkv, 0, panels, keep);
    }
    if (config_.rotary) turn_all(l, block);
    attend_all(l, block);
    if (one_row(l)) rows = texts;

    if (INT8) {
      each_row(rows, [&](int64_t r) {
        const Linear& reader = layer.attention_output;
        b_.context_scales[r] = quantize_row(b_.context + r * reader.inputs, reader.factors, reader.inputs, reader.levels,
                                            b_.context_codes + r * reader.inputs);
      });
    }
    const Rows context{rows, layer.query_width, b_.context, b_.context_codes, b_.context_scales};
    note(layer.attention_output, context);
    add_half(context, layer.attention_output, layer.attention_branch_norm, to, layer.attention_norm, &layer.intermediate);
    return rows;
  }

  // The one row of each text that is needed, to the `place`-th and behind. None overtakes another: a text has at least one.
  void gather(Chunk block, int64_t place) {
    for (int64_t t = block.first; t < block.last; t++) {
      const int64_t from = start(t) + kept_row(t), to = place + (t - block.first);
      if (from == to) continue;
      __builtin_memcpy(b_.x + to * stride_, b_.x + from * stride_, stride_ * sizeof(float));
      if (b_.normed != b_.x) __builtin_memcpy(b_.normed + to * stride_, b_.normed + from * stride_, stride_ * sizeof(float));
      if (b_.origin) __builtin_memcpy(b_.origin + to * stride_, b_.origin + from * stride_, stride_ * sizeof(float));
      if (INT8) {
        __builtin_memcpy(b_.codes + to * stride_, b_.codes + from * stride_, stride_);
        b_.scales[to] = b_.scales[from];
      }
    }
  }

  // Turns queries and keys by where they stand; values have a norm alone, if any.
  void turn_all(int l, Chunk block) {
    const Layer& layer = model_.layers[l];
    const int size = layer.head_size, width = layer.qkv.outputs, table_width = 2 * (int)up_to_lanes(size / 2);
    each_place(block, [&](int64_t r, int64_t text, int64_t place) {
      float* row = b_.qkv + r * width;
      const float* angles = layer.rotary + place * table_width;
      float *keys = row + layer.query_width, *values = keys + layer.key_width;
      for (int h = 0; h < layer.key_heads; h++) turn_head(keys + h * size, size, layer.key_norm, config_.epsilon, angles);
      for (int h = 0; h < layer.key_heads && layer.value_norm; h++) normalize_head(values + h * size, size, layer.value_norm, config_.epsilon);
      if (one_row(l)) {
        if (place != kept_row(text)) return;
        row = b_.qkv + (text - block.first) * width;
      }
      for (int h = 0; h < config_.heads; h++) turn_head(row + h * size, size, layer.query_norm, config_.epsilon, angles);
    });
  }

  void attend_all(int l, Chunk block) {
    const Layer& layer = model_.layers[l];
    const int64_t first_row = start(block.first), heads = config_.heads, pieces = (block.last - block.first) * heads;
    const int64_t reach = config_.positions, queries_each_key = heads / layer.key_heads;
    const int head_size = layer.head_size, width = layer.qkv.outputs, query_width = layer.query_width;
    // Of a layer that was left in floats queries and keys are meant to be more exact than bytes. What models with rotary
    // positions, most of them decoders, would lose has not been measured.
    const bool in_ints = INT8 && layer.qkv.codes != nullptr && !config_.rotary && queries_each_key == 1;
    share(pieces, [&](int i, int n) {
      for (int64_t piece = pieces * i / n; piece < pieces * (i + 1) / n; piece++) {
        const int64_t t = piece / heads, h = piece % heads, text = block.first + t;
        const int64_t at = start(text) - first_row, query_row = one_row(l) ? t : at;
        Attention a;
        a.length = length(text);
        a.head_size = head_size;
        a.stride = width;
        a.queries = b_.qkv + query_row * width + h * head_size;
        a.keys = b_.qkv + at * width + query_width + h / queries_each_key * head_size;
        a.values = a.keys + layer.key_width;
        a.bias = config_.relative ? model_.relative + h * (2 * reach - 1) + reach - 1 : nullptr;
        a.first_query = one_row(l) ? kept_row(text) : 0;
        a.queries_count = one_row(l) ? 1 : a.length;
        a.before = layer.before;
        a.after = layer.after;
        a.out = b_.context + query_row * query_width + h * head_size;
        a.out_stride = query_width;
        if (in_ints && suits_ints(a)) {
          attention_in_ints(a, b_.scratch + i * b_.scratch_each);
        } else {
          attention(a, b_.scratch + i * b_.scratch_each);
        }
      }
    });
    const int used = config_.heads * head_size;
    if (used < query_width) {  // what pads a row
      const int64_t rows = one_row(l) ? block.last - block.first : start(block.last) - first_row;
      for (int64_t r = 0; r < rows; r++) __builtin_memset(b_.context + r * query_width + used, 0, (query_width - used) * sizeof(float));
    }
  }

  void feed_forward_half(int l, int64_t from, int64_t to) {
    const Layer& layer = model_.layers[l];
    const int64_t rows = to - from, width = config_.inner;
    float* inner = b_.inner;
    const int activation = config_.activation;
    const Rows in = input(from, rows);
    note(layer.intermediate, in);
    if (config_.gated) {
      // Panels of gates and of what they are for take turns, and one share computes both: first the gate, for all its rows.
      whole_linear(in, layer.intermediate, [=](int64_t r, int n, Floats y) IQE_LAMBDA_INLINE {
        float* at = inner + r * width + n / (2 * LANES) * LANES;
        store(at, n / LANES % 2 ? multiply(load(at), y) : activated<INT8>(activation, y));
      });
    } else if (activation == IQE_GELU) {
      whole_linear(in, layer.intermediate, [=](int64_t r, int n, Floats y) IQE_LAMBDA_INLINE { store(inner + r * width + n, gelu<INT8>(y)); });
    } else {
      whole_linear(in, layer.intermediate,
                   [=](int64_t r, int n, Floats y) IQE_LAMBDA_INLINE { store(inner + r * width + n, activated<INT8>(activation, y)); });
    }
    if (INT8) {
      each_row(rows, [&](int64_t r) {
        const Linear& reader = layer.output;
        b_.inner_scales[r] = quantize_row(inner + r * width, reader.factors, (int)width, reader.levels, b_.inner_codes + r * width);
      });
    }
    const Rows activated_rows{rows, width, inner, b_.inner_codes, b_.inner_scales};
    note(layer.output, activated_rows);
    if (model_.recalled) {
      add_half(activated_rows, layer.output, layer.output_branch_norm, from, {}, &layer.recall_gate);
    } else {
      add_half(activated_rows, layer.output, layer.output_branch_norm, from, layer.output_norm, next_reader(l));
    }
  }
  // What reads a layer's rows: the next one, if there is one.
  const Linear* next_reader(int l) const { return l == config_.layers - 1 ? nullptr : &model_.layers[l + 1].qkv; }

  void recall_half(int l, int64_t from, int64_t to) {
    const Layer& layer = model_.layers[l];
    const int64_t rows = to - from, stride = stride_, width = model_.recalled_stride;
    float *inner = b_.inner, *recalled = b_.recalled;
    const float* origin = b_.origin + from * stride;
    const auto in_bytes = [&](const float* values, const Linear& reader) {
      if (!INT8) return;
      const int64_t inputs = reader.inputs;
      each_row(rows, [&](int64_t r) {
        b_.inner_scales[r] = quantize_row(values + r * inputs, reader.factors, (int)inputs, reader.levels, b_.inner_codes + r * inputs);
      });
    };
    in_bytes(origin, layer.recall_inputs);
    const Rows embedded{rows, stride, origin, b_.inner_codes, b_.inner_scales};
    note(layer.recall_inputs, embedded);
    whole_linear(embedded, layer.recall_inputs, Keep{recalled, width});
    each_row(rows, [&](int64_t r) {
      float* row = recalled + r * width;
      normalize_row(row, layer.recall_input_norm, config_.centred, config_.epsilon, model_.recalled, (int)width, row);
    });
    const int activation = config_.activation;
    const Rows in = input(from, rows);
    note(layer.recall_gate, in);
    whole_linear(in, layer.recall_gate, [=](int64_t r, int n, Floats y) IQE_LAMBDA_INLINE {
      store(inner + r * width + n, multiply(activated<INT8>(activation, y), load(recalled + r * width + n)));
    });
    in_bytes(inner, layer.recall_output);
    const Rows through{rows, width, inner, b_.inner_codes, b_.inner_scales};
    note(layer.recall_output, through);
    add_half(through, layer.recall_output, layer.recall_norm, from, layer.output_norm, next_reader(l), layer.recall_factor);
  }

  const Model& model_;
  const iqe_config& config_;
  const int32_t* ids_;
  const int64_t* offsets_;
  const Chunk chunk_;
  Team* team_;
  const int shares_;
  Buffers& b_;
  const int32_t* stop_;
  float* out_;
  float* squares_ = nullptr;
  const int stride_;  // of a row of x
};

static int64_t workspace_bytes(const Model& model, int64_t rows, int64_t longest, int shares) {
  Arena arena{nullptr};
  Buffers buffers(arena, model, rows, longest, shares);
  return arena.used;
}

static void encode(const Model& model, const int32_t* ids, const int64_t* offsets, Chunk chunk, int64_t longest, int threads, int shares,
                   char* memory, const int32_t* stop, float* out, float* squares) {
  Arena arena{memory};
  Buffers buffers(arena, model, offsets[chunk.last] - offsets[chunk.first], longest, shares);
  const auto with = [&](Team* team) {
    if (model.config.precision == IQE_INT8) {
      Forward<true>(model, ids, offsets, chunk, team, shares, buffers, stop, out).run();
    } else {
      Forward<false> forward(model, ids, offsets, chunk, team, shares, buffers, stop, out);
      forward.observe(squares);
      forward.run();
    }
  };
  if (threads > 1) {
    Team team(threads);
    with(&team);
  } else {
    with(nullptr);
  }
}

template <int P>
IQE_INLINE void store_products(const Products& products, const Rows& in, const Linear& layer, int panel, int32_t* sums) {
  products.template tiles<P>(in, layer, panel, [&](int64_t from, auto rows, int p, const auto& sum) IQE_LAMBDA_INLINE {
    for (int r = 0; r < rows; r++) store(sums + (from + r) * layer.outputs + (panel + p) * LANES, sum(r));
  });
}

static void products(const uint8_t* rows, int64_t count, const Linear& layer, int32_t* sums) {
  const Rows in{count, layer.inputs, nullptr, rows, nullptr};
  const Products made(count, layer.inputs);
  const int panels = layer.outputs / LANES;
  int panel = 0;
  for (; panel + Products::PANELS <= panels; panel += Products::PANELS) store_products<Products::PANELS>(made, in, layer, panel, sums);
  for (; panel < panels; panel++) store_products<1>(made, in, layer, panel, sums);
}

}  // namespace IQE_ISA

#define IQE_STRING_(x) #x
#define IQE_STRING(x) IQE_STRING_(x)
#define IQE_JOINED_(a, b) a##b
#define IQE_JOINED(a, b) IQE_JOINED_(a, b)
extern const Kernels IQE_JOINED(kernels_, IQE_ISA);
const Kernels IQE_JOINED(kernels_, IQE_ISA) = {IQE_STRING(IQE_ISA), IQE_ISA::workspace_bytes, IQE_ISA::encode, IQE_ISA::products};

}  // namespace iqe
