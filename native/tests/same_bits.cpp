// Whether every instruction set gives the same bits: same_bits FILE compares them with those that FILE says; without a file it
// prints what belongs there, by the scalar kernels. By the C interface alone, and without a C++ library.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../src/iqe.h"

namespace {

int failures = 0;

#define CHECK(right, ...)              \
  do {                                 \
    if (!(right)) {                    \
      failures++;                      \
      printf("FAILED: " __VA_ARGS__);  \
      printf("\n");                    \
    }                                  \
  } while (0)

void require(bool right, const char* what) {
  if (right) return;
  printf("FAILED: %s\n", what);
  exit(1);
}

// Zeros that end where a page begins that must not be touched: a kernel that reads or writes beyond them ends the program.
class Piece {
 public:
  void* take(int64_t bytes) {
    const int64_t page = sysconf(_SC_PAGESIZE), used = (bytes + page - 1) / page * page;
    whole_ = used + page;
    memory_ = (char*)mmap(nullptr, (size_t)whole_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(memory_ != MAP_FAILED && mprotect(memory_ + used, (size_t)page, PROT_NONE) == 0, "memory");
    return memory_ + used - bytes;
  }
  void give_back() { munmap(memory_, (size_t)whole_); }

 private:
  char* memory_ = nullptr;
  int64_t whole_ = 0;
};

template <class T>
class Array {
 public:
  explicit Array(int64_t count) : size(count), data_((T*)piece_.take(count * (int64_t)sizeof(T))) {}
  ~Array() { piece_.give_back(); }
  Array(const Array&) = delete;
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }
  T* get() { return data_; }
  const T* get() const { return data_; }
  int64_t bytes() const { return size * (int64_t)sizeof(T); }

  const int64_t size;

 private:
  Piece piece_;
  T* data_;
};

// Knuth's linear congruential generator; whole numbers become floats without rounding.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint32_t next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state_ >> 33);
  }
  int below(int n) { return (int)(next() % (uint32_t)n); }
  float within(float most) { return most * ((float)(next() >> 7) / 8388608.0f - 1.0f); }

 private:
  uint64_t state_;
};

uint64_t hash_of(const float* numbers, int64_t count) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, &numbers[i], 4);
    if (numbers[i] != numbers[i]) bits = 0x7fc00000;  // CPUs differ in the bits of what is no number
    for (int byte = 0; byte < 4; byte++) hash = (hash ^ (bits >> (8 * byte) & 255)) * 1099511628211u;
  }
  return hash;
}

bool same(const float* a, const float* b, int64_t count) { return memcmp(a, b, (size_t)count * sizeof(float)) == 0; }

// The tensors of one model, which it keeps alive.
class Tensors {
 public:
  ~Tensors() {
    for (int i = 0; i < count; i++) {
      pieces_[i].give_back();
      free((void*)all[i].name);
    }
  }

  template <class T>
  T* add(int64_t numbers, const char* prefix, const char* name) {
    require(count < MOST, "room for tensors");
    char* full = (char*)calloc(1, 128);
    require(full != nullptr, "memory");
    T* data = (T*)pieces_[count].take(numbers * (int64_t)sizeof(T));
    snprintf(full, 128, "%s%s", prefix, name);
    all[count++] = {full, data, numbers * (int64_t)sizeof(T)};
    return data;
  }

  static constexpr int MOST = 160;
  iqe_tensor all[MOST];
  int count = 0;

 private:
  Piece pieces_[MOST];
};

int padded(int n) { return (n + 15) / 16 * 16; }

// One kind of model: the shape, and everything that takes another way through the kernels.
struct Case {
  const char* name;
  int hidden, heads, inner;
  int precision, pooling, activation;
  bool normalize, relative, head, factors, broken;
  bool chain = false;
  // What came after BERT: norms in front of each half (1), and behind too (2), without a mean; gates; positions that turn, windows,
  // heads of keys that several heads of queries share, and their norms. (3): as (2), the last layer's heads twice as wide and of one
  // head of keys, norms of values, and third halves.
  int modern = 0;
};

constexpr int VOCABULARY = 50, POSITIONS = 70, LAYERS = 2, PADDING = 3;
constexpr int RECALLED = 40;  // numbers that a third half makes of an embedding
constexpr int LEVELS[] = {200, 128, 160, 255};  // of the parts of a layer

// A linear layer of outputs in `blocks` equal parts; each part and the inputs are padded with zeros.
void add_linear(Tensors& tensors, Random& random, const Case& c, int precision, int blocks, int part, int inputs, const char* prefix,
                const char* name, int levels = 255) {
  const int stride = padded(part), width = padded(inputs), outputs = blocks * stride;
  Array<float> weights((int64_t)outputs * width);
  char full[64];
  snprintf(full, sizeof full, "%s%s.", prefix, name);
  float* bias = tensors.add<float>(outputs, full, "bias");
  for (int b = 0; b < blocks; b++) {
    for (int n = 0; n < part; n++) {
      bias[b * stride + n] = random.within(0.2f);
      for (int k = 0; k < inputs; k++) weights[(int64_t)(b * stride + n) * width + k] = random.within(random.below(20) ? 0.25f : 1.0f);
    }
  }
  if (precision == IQE_FP32) {
    float* panels = tensors.add<float>((int64_t)outputs * width, full, "panels");
    require(iqe_pack(weights.get(), outputs, width, panels) == IQE_OK, "iqe_pack");
    return;
  }
  float* factors = nullptr;
  if (c.factors) {
    factors = tensors.add<float>(width, full, "factors");
    for (int k = 0; k < width; k++) factors[k] = (float)(1 << random.below(3)) / 2.0f;
  }
  int8_t* codes = tensors.add<int8_t>((int64_t)outputs * width, full, "codes");
  float* scales = tensors.add<float>(outputs, full, "scales");
  int32_t* sums = tensors.add<int32_t>(outputs, full, "sums");
  require(iqe_quantize(weights.get(), factors, outputs, width, levels, codes, scales, sums) == IQE_OK, "iqe_quantize");
}

void add_norm(Tensors& tensors, Random& random, int hidden, const char* prefix, const char* name) {
  char full[64];
  snprintf(full, sizeof full, "%s%s.", prefix, name);
  float* weight = tensors.add<float>(padded(hidden), full, "weight");
  float* bias = tensors.add<float>(padded(hidden), full, "bias");
  for (int i = 0; i < hidden; i++) {
    weight[i] = 1.0f + random.within(0.3f);
    bias[i] = random.within(0.2f);
  }
}

float* add_rows(Tensors& tensors, Random& random, int rows, int hidden, const char* name) {
  float* data = tensors.add<float>((int64_t)rows * padded(hidden), "", name);
  for (int r = 0; r < rows; r++) {
    for (int i = 0; i < hidden; i++) data[r * padded(hidden) + i] = random.within(1.0f);
  }
  return data;
}

void add_vector(Tensors& tensors, Random& random, int width, const char* prefix, const char* name) {
  float* data = tensors.add<float>(padded(width), prefix, name);
  for (int i = 0; i < width; i++) data[i] = 1.0f + random.within(0.3f);
}

struct Heads {
  int size, keys;
};

Heads heads_of(const Case& c, int layer) {
  if (c.modern == 3 && layer == LAYERS - 1) return {2 * c.hidden / c.heads, 1};
  return {c.hidden / c.heads, c.modern ? c.heads / 2 : c.heads};
}

// A window in the first layer, a causal second one, and a table of turns for each.
void add_places(Tensors& tensors, const Case& c) {
  int32_t* reaches = tensors.add<int32_t>(2 * LAYERS, "", "layers.reaches");
  int32_t* which = tensors.add<int32_t>(LAYERS, "", "layers.rotary");
  int32_t* heads = c.modern == 3 ? tensors.add<int32_t>(2 * LAYERS, "", "layers.heads") : nullptr;
  for (int l = 0; l < LAYERS; l++) {
    const int half = heads_of(c, l).size / 2, width = padded(half);
    if (heads) {
      heads[2 * l] = heads_of(c, l).size;
      heads[2 * l + 1] = heads_of(c, l).keys;
    }
    reaches[2 * l] = l ? POSITIONS : 5;
    reaches[2 * l + 1] = l ? 0 : 9;
    which[l] = l;
    char name[32];
    snprintf(name, sizeof name, "rotary.%d", l);
    float* table = tensors.add<float>((int64_t)POSITIONS * 2 * width, "", name);
    for (int p = 0; p < POSITIONS; p++) {
      // Turns by 3/5 and 4/5, or by the fraction's opposite: exact enough to be the same on every machine.
      for (int i = 0; i < half; i++) {
        const float sign = (p + i + l) % 2 ? -1.0f : 1.0f;
        table[p * 2 * width + i] = 0.6f * sign;
        table[p * 2 * width + width + i] = (p * i) % 3 ? 0.8f : -0.8f;
      }
    }
  }
}

void add_recall(Tensors& tensors, Random& random, const Case& c, const char* prefix) {
  add_linear(tensors, random, c, c.precision, 1, RECALLED, c.hidden, prefix, "recall_inputs", IQE_RECALL_LEVELS);
  add_linear(tensors, random, c, c.precision, 1, RECALLED, c.hidden, prefix, "recall_gate", IQE_RECALL_LEVELS);
  add_linear(tensors, random, c, c.precision, 1, c.hidden, RECALLED, prefix, "recall_output", IQE_RECALL_LEVELS);
  add_norm(tensors, random, RECALLED, prefix, "recall_input_norm");
  add_norm(tensors, random, c.hidden, prefix, "recall_norm");
  *tensors.add<float>(1, prefix, "recall_factor") = 0.75f + random.within(0.25f);
}

void add_words(Tensors& tensors, Random& random, const Case& c) {
  const int stride = padded(c.hidden);
  int8_t* codes = tensors.add<int8_t>(VOCABULARY * stride, "", "words.codes");
  float* scales = tensors.add<float>(VOCABULARY, "", "words.scales");
  for (int r = 0; r < VOCABULARY; r++) {
    for (int i = 0; i < c.hidden; i++) codes[r * stride + i] = (int8_t)(random.below(255) - 127);
    scales[r] = 0.008f + random.within(0.004f);
  }
  if (c.broken) scales[3] = nanf("");
}

void add_model(Tensors& tensors, Random& random, const Case& c) {
  const int hidden = c.hidden;
  if (c.precision == IQE_INT8) {
    add_words(tensors, random, c);
  } else {
    float* words = add_rows(tensors, random, VOCABULARY, hidden, "words");
    if (c.broken) words[3 * padded(hidden) + 5] = nanf("");
  }
  add_rows(tensors, random, c.modern ? 1 : POSITIONS, hidden, "positions");
  if (c.modern) add_places(tensors, c);
  if (c.head) add_rows(tensors, random, 1, hidden, "second_text");
  if (c.relative) add_rows(tensors, random, 1, hidden, "padding");
  if (c.relative) {
    float* relative = tensors.add<float>(c.heads * (2 * POSITIONS - 1) + 32, "", "relative");
    for (int i = 0; i < c.heads * (2 * POSITIONS - 1); i++) relative[i] = random.within(2.0f);
  }
  add_norm(tensors, random, hidden, "", c.modern >= 2 ? "first_norm" : "embedding_norm");
  if (c.modern == 3) *tensors.add<int32_t>(1, "", "recall.inputs") = RECALLED;
  for (int l = 0; l < LAYERS; l++) {
    char prefix[32];
    snprintf(prefix, sizeof prefix, "layers.%d.", l);
    const Heads heads = heads_of(c, l);
    // Queries, and keys and values of fewer heads: blocks of one width.
    add_linear(tensors, random, c, c.precision, c.heads / heads.keys + 2, heads.keys * heads.size, hidden, prefix, "qkv", LEVELS[0]);
    add_linear(tensors, random, c, c.precision, 1, hidden, c.heads * heads.size, prefix, "attention_output", LEVELS[1]);
    add_linear(tensors, random, c, c.precision, c.modern ? 2 : 1, c.inner, hidden, prefix, "intermediate", LEVELS[2]);
    if (c.modern) {
      add_vector(tensors, random, heads.size, prefix, "query_norm");
      add_vector(tensors, random, heads.size, prefix, "key_norm");
    }
    if (c.modern == 3) {
      add_vector(tensors, random, heads.size, prefix, "value_norm");
      add_recall(tensors, random, c, prefix);
    }
    if (c.modern >= 2) {
      add_norm(tensors, random, hidden, prefix, "attention_branch_norm");
      add_norm(tensors, random, hidden, prefix, "output_branch_norm");
    }
    add_linear(tensors, random, c, c.precision, 1, hidden, c.inner, prefix, "output", LEVELS[3]);
    add_norm(tensors, random, hidden, prefix, "attention_norm");
    add_norm(tensors, random, hidden, prefix, "output_norm");
  }
}

bool has_vocabulary(const Case& c) { return c.pooling == IQE_VOCABULARY_MAX || c.pooling == IQE_VOCABULARY_SUM; }

// The steps behind pooling, as many as `steps` has rows; returns how many numbers come out.
int add_steps(Tensors& tensors, Random& random, const Case& c, int count, const int32_t (*steps)[3]) {
  if (count) memcpy(tensors.add<int32_t>(3 * count, "", "steps"), steps, count * sizeof *steps);
  int width = c.hidden;
  for (int i = 0; i < count; i++) {
    char name[32];
    snprintf(name, sizeof name, "steps.%d", i);
    const bool vocabulary = has_vocabulary(c) && i == count - 1;
    if (vocabulary) add_linear(tensors, random, c, c.precision, 1, steps[i][2], width, "", name, IQE_VOCABULARY_LEVELS);
    if (steps[i][0] == IQE_DENSE && !vocabulary) add_linear(tensors, random, c, IQE_FP32, 1, steps[i][2], width, "", name);
    if (steps[i][0] == IQE_LAYER_NORM) {
      add_norm(tensors, random, width, "", name);
      *tensors.add<float>(1, name, ".epsilon") = 1e-5f;
    }
    width = steps[i][2];
  }
  return width;
}

int add_steps(Tensors& tensors, Random& random, const Case& c, int32_t* count) {
  const int h = c.hidden;
  const int32_t unit[][3] = {{IQE_UNIT_LENGTH, 0, h}};
  const int32_t head[][3] = {{IQE_DENSE, IQE_TANH, h}, {IQE_DENSE, IQE_IDENTITY, 1}};
  const int32_t chain[][3] = {{IQE_POOL, IQE_MAX, h},      {IQE_POOL, IQE_WEIGHTED_MEAN, 2 * h}, {IQE_POOL, IQE_LAST, 3 * h},
                              {IQE_POOL, IQE_MEAN_SQRT_LENGTH, 4 * h}, {IQE_POOL, IQE_CLS, 5 * h}, {IQE_DENSE, IQE_GELU, 70},
                              {IQE_LAYER_NORM, 0, 70}, {IQE_DENSE, IQE_SIGMOID, 37}, {IQE_UNIT_LENGTH, 0, 37}, {IQE_DENSE, IQE_RELU, 33}};
  if (has_vocabulary(c)) {
    const int32_t logarithms = c.pooling == IQE_VOCABULARY_MAX ? IQE_LOG1P : IQE_LOG1P_TWICE;
    const int32_t masked[][3] = {{IQE_DENSE, IQE_GELU, h}, {IQE_LAYER_NORM, 0, h}, {IQE_DENSE, logarithms, padded(VOCABULARY)}};
    *count = 3;
    return add_steps(tensors, random, c, *count, masked);
  }
  const int32_t weight[][3] = {{IQE_DENSE, IQE_RELU, 3}};
  if (c.pooling == IQE_TOKENS) return add_steps(tensors, random, c, *count = 1, weight);
  const int32_t(*steps)[3] = c.chain ? chain : c.head ? head : unit;
  *count = c.chain ? 10 : c.head ? 2 : c.normalize;
  return add_steps(tensors, random, c, *count, steps);
}

constexpr int TEXTS = 12;
constexpr int LENGTHS[TEXTS] = {1, 70, 2, 16, 17, 33, 5, 48, 15, 64, 8, 31};

// Hash of the vectors of all texts; checks that company and threads change nothing.
uint64_t encode_case(const Case& c, const char* instruction_set) {
  Random random(42);
  Tensors tensors;
  add_model(tensors, random, c);
  iqe_config config = {};
  config.hidden = c.hidden;
  config.layers = LAYERS;
  config.heads = c.heads;
  config.head_size = c.hidden / c.heads;
  config.inner = padded(c.inner);
  config.vocabulary = VOCABULARY;
  config.positions = POSITIONS;
  config.activation = c.activation;
  config.pooling = c.pooling;
  config.precision = c.precision;
  config.second_text = c.head;
  config.padding = c.relative ? PADDING : -1;
  config.relative = c.relative;
  config.qkv_levels = LEVELS[0];
  config.attention_output_levels = LEVELS[1];
  config.intermediate_levels = LEVELS[2];
  config.output_levels = LEVELS[3];
  config.key_heads = c.modern ? c.heads / 2 : c.heads;
  config.norms_aside = c.modern > 0;
  config.branch_norms = c.modern >= 2;
  config.first_norm = c.modern >= 2;
  config.embedding_norm = c.modern < 2;
  config.centred = c.modern == 0;
  config.head_norms = config.rotary = config.gated = c.modern > 0;
  config.outputs = add_steps(tensors, random, c, &config.steps);
  config.epsilon = 1e-12f;
  char error[256] = "";
  iqe_model* model;
  if (iqe_new(&config, tensors.all, tensors.count, instruction_set, &model, error, sizeof error) != IQE_OK) {
    printf("%s, %s: %s\n", instruction_set, c.name, error);
    require(false, "iqe_new");
  }

  int64_t offsets[TEXTS + 1] = {};
  for (int t = 0; t < TEXTS; t++) offsets[t + 1] = offsets[t] + LENGTHS[t];
  Array<int32_t> ids(offsets[TEXTS]);
  for (int t = 0; t < TEXTS; t++) {
    for (int64_t i = offsets[t]; i < offsets[t + 1]; i++) {
      ids[i] = random.below(VOCABULARY);
      if (c.broken && ids[i] == 3) ids[i] = 4;
      if (c.head && i - offsets[t] > LENGTHS[t] / 2) ids[i] += VOCABULARY;
    }
  }
  constexpr int BROKEN = 5;  // the text with the word that is no number: long enough for attention in whole numbers
  if (c.broken) ids[offsets[BROKEN] + 7] = 3;

  const int width = config.outputs;
  const int32_t stop = 0;
  // Of each text its one row, or those of its tokens.
  const auto first = [&](int64_t t) { return (c.pooling == IQE_TOKENS ? offsets[t] : t) * width; };
  Array<float> rows(first(TEXTS)), again(first(TEXTS));
  const auto encode = [&](int64_t from, int64_t texts, int threads, float* to) {
    int64_t starts[TEXTS + 1];
    for (int64_t t = 0; t <= texts; t++) starts[t] = offsets[from + t] - offsets[from];
    require(iqe_encode(model, ids.get() + offsets[from], starts, texts, threads, &stop, to, error, sizeof error) == IQE_OK, "iqe_encode");
  };
  encode(0, TEXTS, 1, rows.get());
  encode(0, TEXTS, 3, again.get());
  for (int t = 0; t < TEXTS; t++) {
    const bool broken = c.broken && t == BROKEN;
    const int64_t from = first(t), numbers = first(t + 1) - from;
    for (int64_t i = 0; i < numbers; i++) {
      const float x = rows[from + i];
      CHECK(broken ? x != x : x - x == 0, "%s, %s: number %d of text %d is %g", instruction_set, c.name, (int)i, t, x);
    }
    if (broken) continue;
    CHECK(same(rows.get() + from, again.get() + from, numbers), "%s, %s: text %d differs with three threads", instruction_set, c.name, t);
    if (t % 3) continue;
    encode(t, 1, 1 + t % 2, again.get());
    CHECK(same(rows.get() + from, again.get(), numbers), "%s, %s: text %d differs alone", instruction_set, c.name, t);
  }
  iqe_free(model);
  return hash_of(rows.get(), rows.size);
}

// Each shape in both precisions: every pooling and activation, with and without what may be there.
#define IQE_CASES(shape, precision, name)                                                                               \
  {name "-cls-gelu", shape, precision, IQE_CLS, IQE_GELU, true, false, false, false, false},                            \
  {name "-mean-gelu-factors", shape, precision, IQE_MEAN, IQE_GELU, false, false, false, true, false},                  \
  {name "-mean-gelu_tanh-relative", shape, precision, IQE_MEAN, IQE_GELU_TANH, true, true, false, false, false},        \
  {name "-last-relu-relative", shape, precision, IQE_LAST, IQE_RELU, true, true, false, true, false},                   \
  {name "-cls-tanh-head", shape, precision, IQE_CLS, IQE_TANH, false, false, true, false, false},                       \
  {name "-mean-relu-broken", shape, precision, IQE_MEAN, IQE_RELU, true, false, false, false, true},                    \
  {name "-several-chain", shape, precision, IQE_SEVERAL, IQE_GELU, false, false, false, false, false, true},            \
  {name "-several-chain-broken", shape, precision, IQE_SEVERAL, IQE_RELU, false, true, false, false, true, true}
#define IQE_SMALL 64, 4, 256
#define IQE_ODD 40, 2, 90
#define IQE_SHARED 96, 2, 72
#define IQE_MODERN(shape, precision, name)                                                                                      \
  {name "-pre-cls-gelu", shape, precision, IQE_CLS, IQE_GELU, true, false, false, true, false, false, 1},                              \
  {name "-pre-mean-gelu_tanh", shape, precision, IQE_MEAN, IQE_GELU_TANH, true, false, false, false, false, false, 1},                 \
  {name "-sandwich-last-silu", shape, precision, IQE_LAST, IQE_SILU, false, false, false, true, false, false, 2},                      \
  {name "-sandwich-mean-silu-broken", shape, precision, IQE_MEAN, IQE_SILU, true, false, false, false, true, false, 2}
#define IQE_THIRD(shape, precision, name)                                                                                      \
  {name "-third-mean-gelu_tanh", shape, precision, IQE_MEAN, IQE_GELU_TANH, true, false, false, true, false, false, 3},                 \
  {name "-third-cls-silu", shape, precision, IQE_CLS, IQE_SILU, true, false, false, false, false, false, 3},                            \
  {name "-third-last-gelu-broken", shape, precision, IQE_LAST, IQE_GELU, false, false, false, true, true, false, 3}
#define IQE_SPARSE(shape, precision, name)                                                                                      \
  {name "-vocabulary-max", shape, precision, IQE_VOCABULARY_MAX, IQE_GELU, false, false, false, true, false},                          \
  {name "-vocabulary-sum", shape, precision, IQE_VOCABULARY_SUM, IQE_GELU, false, false, false, false, false},                         \
  {name "-vocabulary-max-broken", shape, precision, IQE_VOCABULARY_MAX, IQE_RELU, false, false, false, false, true},                   \
  {name "-vocabulary-sum-broken", shape, precision, IQE_VOCABULARY_SUM, IQE_RELU, false, false, false, true, true},                    \
  {name "-tokens", shape, precision, IQE_TOKENS, IQE_GELU, false, true, false, true, false}
const Case CASES[] = {
    IQE_CASES(IQE_SMALL, IQE_INT8, "small-int8"),
    IQE_CASES(IQE_SMALL, IQE_FP32, "small-fp32"),
    IQE_CASES(IQE_ODD, IQE_INT8, "odd-int8"),
    IQE_CASES(IQE_ODD, IQE_FP32, "odd-fp32"),
    IQE_MODERN(IQE_SMALL, IQE_INT8, "small-int8"),
    IQE_MODERN(IQE_SMALL, IQE_FP32, "small-fp32"),
    IQE_MODERN(IQE_SHARED, IQE_INT8, "shared-int8"),
    IQE_MODERN(IQE_SHARED, IQE_FP32, "shared-fp32"),
    IQE_SPARSE(IQE_SMALL, IQE_INT8, "small-int8"),
    IQE_SPARSE(IQE_SMALL, IQE_FP32, "small-fp32"),
    IQE_SPARSE(IQE_ODD, IQE_INT8, "odd-int8"),
    IQE_SPARSE(IQE_ODD, IQE_FP32, "odd-fp32"),
    IQE_THIRD(IQE_SMALL, IQE_INT8, "small-int8"),
    IQE_THIRD(IQE_SMALL, IQE_FP32, "small-fp32"),
    IQE_THIRD(IQE_SHARED, IQE_INT8, "shared-int8"),
    IQE_THIRD(IQE_SHARED, IQE_FP32, "shared-fp32"),
};
constexpr int CASE_COUNT = sizeof CASES / sizeof *CASES;

// Codes that keep the bound of quantize.h: of the four that share a lane, at most 128 up and at most 128 down.
void fill_codes(Random& random, int kind, int outputs, int inputs, int8_t* codes) {
  static const int lanes[2][4] = {{0, 1, 4, 5}, {2, 3, 6, 7}};
  static const int extremes[][4] = {{32, 32, 32, 32}, {-32, -32, -32, -32}, {127, 1, 0, 0}, {-128, 0, 0, 0}, {0, 0, 0, 127}, {64, -64, 64, -64}, {1, -127, 127, -1}};
  for (int n = 0; n < outputs; n++) {
    for (int k = 0; k < inputs; k += 8) {
      for (const auto& lane : lanes) {
        int up = 128, down = 128;
        for (int i = 0; i < 4; i++) {
          int code;
          if (kind == 0) {
            const int least = -(down < 127 ? down : 127), most = up < 127 ? up : 127;
            code = least + random.below(most - least + 1);
            (code > 0 ? up : down) -= abs(code);
          } else {
            code = extremes[(n + (kind == 2 ? k / 8 : 0)) % 7][i];
          }
          const int at = k + lane[i];
          codes[n / 16 * 16 * inputs + at / 4 * 64 + n % 16 * 4 + at % 4] = (int8_t)code;
        }
      }
    }
  }
}

void check_products(const char* instruction_set) {
  constexpr int ROWS = 40, OUTPUTS = 48;
  static const int widths[] = {16, 32, 48, 64, 80, 384, 1536};
  for (const int inputs : widths) {
    for (int kind = 0; kind < 3; kind++) {
      Random random((uint64_t)(inputs * 3 + kind));
      Array<int8_t> codes(OUTPUTS * inputs);
      Array<uint8_t> rows(ROWS * inputs);
      Array<int32_t> expected(ROWS * OUTPUTS);
      fill_codes(random, kind, OUTPUTS, inputs, codes.get());
      for (int64_t i = 0; i < rows.size; i++) rows[i] = (uint8_t)(kind == 0 ? random.below(256) : (kind == 1 || i / inputs % 2 ? 255 : 128));
      for (int r = 0; r < ROWS; r++) {
        for (int n = 0; n < OUTPUTS; n++) {
          int32_t sum = 0;
          for (int k = 0; k < inputs; k++) sum += rows[r * inputs + k] * codes[n / 16 * 16 * inputs + k / 4 * 64 + n % 16 * 4 + k % 4];
          expected[r * OUTPUTS + n] = sum;
        }
      }
      for (int count = 1; count <= ROWS; count += inputs <= 80 || kind == 0 ? 1 : 13) {
        Array<uint8_t> some(count * inputs);
        Array<int32_t> sums(count * OUTPUTS);
        memcpy(some.get(), rows.get() + (ROWS - count) * inputs, (size_t)some.bytes());
        require(iqe_products(some.get(), count, codes.get(), OUTPUTS, inputs, instruction_set, sums.get()) == IQE_OK, "iqe_products");
        const int32_t* right = expected.get() + (ROWS - count) * OUTPUTS;
        CHECK(memcmp(sums.get(), right, (size_t)sums.bytes()) == 0, "%s: products of %d rows, %d inputs, codes %d", instruction_set, count, inputs, kind);
      }
    }
  }
}

// The hashes of a file, in the order of CASES.
void read_expected(const char* path, uint64_t* hashes) {
  FILE* file = fopen(path, "r");
  require(file != nullptr, "the file of hashes opens");
  for (int i = 0; i < CASE_COUNT; i++) {
    char name[64];
    unsigned long long hash;
    require(fscanf(file, "%63s %llx", name, &hash) == 2 && strcmp(name, CASES[i].name) == 0, "the file has a line for each case, in order");
    hashes[i] = hash;
  }
  fclose(file);
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    for (const Case& c : CASES) printf("%s %016llx\n", c.name, (unsigned long long)encode_case(c, "scalar"));
    return failures > 0;
  }
  uint64_t expected[CASE_COUNT];
  read_expected(arguments[1], expected);
  char names[256];
  snprintf(names, sizeof names, "%s", iqe_instruction_sets());
  char* rest = nullptr;
  for (const char* name = strtok_r(names, " ", &rest); name != nullptr; name = strtok_r(nullptr, " ", &rest)) {
    const int before = failures;
    check_products(name);
    for (int i = 0; i < CASE_COUNT; i++) {
      const uint64_t hash = encode_case(CASES[i], name);
      CHECK(hash == expected[i], "%s: %s gives %016llx instead of %016llx", name, CASES[i].name, (unsigned long long)hash, (unsigned long long)expected[i]);
    }
    printf("%s: %s\n", name, failures == before ? "the same bits" : "FAILED");
    fflush(stdout);
  }
  return failures > 0;
}
