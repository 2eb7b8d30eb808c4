// A model of a caller's sizes and tensors: each is checked here, once, before the kernels see it.
#include "load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize.h"

namespace iqe {
namespace {

constexpr int64_t MOST_TOKENS = 1 << 17;  // of a text
constexpr int64_t MOST_STEPS = 64;
constexpr int64_t MOST_OUTPUTS = 1 << 24;  // of a vocabulary

// Takes tensors by name and size; remembers the first that is missing or of another size.
class Tensors {
 public:
  Tensors(const iqe_tensor* tensors, int32_t count, char* error, int64_t size) : all_(tensors), count_(count), error_(error), size_(size) {}

  template <class T>
  __attribute__((format(printf, 3, 4))) const T* take(int64_t numbers, const char* format, ...) {
    char name[128];
    va_list values;
    va_start(values, format);
    vsnprintf(name, sizeof name, format, values);
    va_end(values);
    const iqe_tensor* found = find(name);
    const int64_t bytes = numbers * (int64_t)sizeof(T);
    if (found == nullptr) {
      if (right) fail(IQE_INVALID, error_, size_, "no tensor '%s'", name);
    } else if (found->bytes != bytes || found->data == nullptr || (uintptr_t)found->data % alignof(T)) {
      if (right) fail(IQE_INVALID, error_, size_, "tensor '%s' has %lld bytes; the model needs %lld", name, (long long)found->bytes, (long long)bytes);
    } else {
      return (const T*)found->data;
    }
    right = false;
    return nullptr;
  }

  // For numbers that are not what the kernels rely on.
  void refuse(const char* why) {
    if (right) fail(IQE_INVALID, error_, size_, "%s", why);
    right = false;
  }
  void refuse_codes(const char* name) {
    if (right) fail(IQE_INVALID, error_, size_, "the codes of '%s' are not exact: sums of them could overflow, or are not those given", name);
    right = false;
  }

  bool has(const char* name) const { return find(name) != nullptr; }
  bool holds(const char* name, int64_t bytes) const {
    const iqe_tensor* found = find(name);
    return found != nullptr && found->bytes == bytes;
  }

  bool right = true;

 private:
  const iqe_tensor* find(const char* name) const {
    // Looked for from where the last one was: they come in about this order.
    for (int32_t i = 0; i < count_; i++) {
      const int32_t at = (int32_t)(((int64_t)last_ + i) % count_);
      if (strcmp(all_[at].name, name) == 0) {
        last_ = at;
        return &all_[at];
      }
    }
    return nullptr;
  }

  const iqe_tensor* all_;
  const int32_t count_;
  char* error_;
  const int64_t size_;
  mutable int32_t last_ = 0;
};

Norm take_norm(Tensors& tensors, int64_t width, const char* name) {
  return {tensors.take<float>(width, "%s.weight", name), tensors.take<float>(width, "%s.bias", name)};
}

Linear take_linear(Tensors& tensors, int precision, int64_t outputs, int64_t inputs, const char* name, int levels = 255) {
  Linear layer;
  layer.inputs = (int)inputs;
  layer.outputs = (int)outputs;
  layer.levels = levels;
  layer.bias = tensors.take<float>(outputs, "%s.bias", name);
  char panels[128];
  snprintf(panels, sizeof panels, "%s.panels", name);
  if (precision == IQE_FP32 || tensors.has(panels)) {  // in a model of int8: a layer that was left in floats
    layer.panels = tensors.take<float>(outputs * inputs, "%s.panels", name);
    return layer;
  }
  layer.codes = tensors.take<int8_t>(outputs * inputs, "%s.codes", name);
  layer.scales = tensors.take<float>(outputs, "%s.scales", name);
  layer.sums = tensors.take<int32_t>(outputs, "%s.sums", name);
  char factors[128];
  snprintf(factors, sizeof factors, "%s.factors", name);
  if (tensors.has(factors)) layer.factors = tensors.take<float>(inputs, "%s", factors);
  if (tensors.right && !codes_fit(layer.codes, layer.sums, outputs, inputs, levels)) tensors.refuse_codes(name);
  return layer;
}

bool within(int64_t value, int64_t least, int64_t most) { return value >= least && value <= most; }

// The name of what is wrong with a layer's heads; null for nothing.
const char* wrong_heads(const iqe_config& c, int32_t head_size, int32_t key_heads) {
  if (!within(head_size, 1, MOST_WIDTH / c.heads) || (c.rotary && head_size % 2)) return "head_size";
  if (!within(key_heads, 1, c.heads) || c.heads % key_heads) return "key_heads";
  return nullptr;
}

const char* wrong_config(const iqe_config& c) {
  if (!within(c.hidden, 1, MOST_WIDTH)) return "hidden";
  if (!within(c.layers, 1, 1000)) return "layers";
  if (!within(c.heads, 1, MOST_WIDTH)) return "heads";
  if (const char* wrong = wrong_heads(c, c.head_size, c.key_heads)) return wrong;
  if (!within(c.inner, 1, MOST_WIDTH) || c.inner % LANES) return "inner";
  if (!within(c.vocabulary, 1, 1 << 28)) return "vocabulary";
  if (!within(c.positions, 1, MOST_TOKENS)) return "positions";
  if (!within(c.activation, IQE_GELU, IQE_SILU)) return "activation";
  if (!within(c.pooling, IQE_CLS, IQE_TOKENS)) return "pooling";
  if (!within(c.precision, IQE_INT8, IQE_FP32)) return "precision";
  if (!within(c.second_text, 0, 1)) return "second_text";
  if (!within(c.padding, -1, c.vocabulary - 1)) return "padding";
  if (!within(c.relative, 0, 1)) return "relative";
  const int32_t all_levels[] = {c.qkv_levels, c.attention_output_levels, c.intermediate_levels, c.output_levels};
  for (const int32_t levels : all_levels) {
    if (!within(levels, 2, 255)) return "levels";
  }
  if (!within(c.norms_aside, 0, 1)) return "norms_aside";
  if (!within(c.branch_norms, 0, 1)) return "branch_norms";
  if (!within(c.first_norm, 0, c.norms_aside)) return "first_norm";
  if (!within(c.embedding_norm, 0, 1)) return "embedding_norm";
  if (!within(c.centred, 0, 1)) return "centred";
  if (!within(c.rotary, 0, 1) || (c.rotary && c.padding >= 0)) return "rotary";
  if (!within(c.head_norms, 0, c.rotary)) return "head_norms";
  if (!within(c.gated, 0, 1) || (c.gated && c.inner > MOST_WIDTH / 2)) return "gated";
  if (!within(c.steps, 0, MOST_STEPS)) return "steps";
  if (!within(c.outputs, 1, has_vocabulary(c) ? MOST_OUTPUTS : MOST_WIDTH)) return "outputs";
  if (!(c.epsilon > 0)) return "epsilon";
  return nullptr;
}

// A layer's heads: of all layers `layers.heads`, [layers][2], numbers in a head and heads of keys; where it is not there, the config's.
void take_heads(const iqe_config& c, Tensors& tensors, int i, Layer& layer) {
  layer.head_size = c.head_size;
  layer.key_heads = c.key_heads;
  if (tensors.has("layers.heads")) {
    const int32_t* heads = tensors.take<int32_t>(2 * (int64_t)c.layers, "layers.heads");
    if (heads == nullptr) return;
    layer.head_size = heads[2 * i];
    layer.key_heads = heads[2 * i + 1];
  }
  if (wrong_heads(c, layer.head_size, layer.key_heads)) return tensors.refuse("a size or number of 'layers.heads' is not one that the engine takes");
  layer.query_width = (int)padded((int64_t)c.heads * layer.head_size);
  layer.key_width = (int)padded((int64_t)layer.key_heads * layer.head_size);
}

// What a layer's queries see, and the table that they are turned by: of all layers `layers.reaches`, [layers][2], tokens before
// and behind their own (all, where it is not there), and `layers.rotary`, [layers], which of the tables `rotary.N`.
void take_reach(const iqe_config& c, Tensors& tensors, int i, Layer& layer) {
  layer.before = layer.after = c.positions;
  if (tensors.has("layers.reaches")) {
    const int32_t* reaches = tensors.take<int32_t>(2 * (int64_t)c.layers, "layers.reaches");
    if (reaches == nullptr) return;
    layer.before = reaches[2 * i];
    layer.after = reaches[2 * i + 1];
    if (layer.before < 0 || layer.after < 0) tensors.refuse("a reach of 'layers.reaches' is below 0");
  }
  if (!c.rotary) return;
  const int32_t* tables = tensors.take<int32_t>(c.layers, "layers.rotary");
  if (tables != nullptr) layer.rotary = tensors.take<float>(c.positions * 2 * padded(layer.head_size / 2), "rotary.%d", tables[i]);
}

// The step that gives a number for each token of a vocabulary, of rows of `width` numbers.
void take_vocabulary(const iqe_config& c, Tensors& tensors, int i, int64_t width, Step& step) {
  const bool known = step.what == IQE_RELU || step.what == IQE_LOG1P || step.what == IQE_LOG1P_TWICE;
  if (step.kind != IQE_DENSE || !known || step.width != c.outputs || step.width % LANES) {
    return tensors.refuse("the last of 'steps' is not one that the engine takes in front of a vocabulary's pooling");
  }
  char name[64];
  snprintf(name, sizeof name, "steps.%d", i);
  step.dense = take_linear(tensors, c.precision, step.width, padded(width), name, IQE_VOCABULARY_LEVELS);
}

bool has_step_activation(int32_t activation) {
  return (activation >= IQE_GELU && activation <= IQE_SILU) || activation == IQE_SIGMOID || activation == IQE_IDENTITY;
}

// One step behind pooling, on rows of `width` numbers.
void take_step(Tensors& tensors, int i, int64_t width, Step& step) {
  char name[64];
  snprintf(name, sizeof name, "steps.%d", i);
  if (step.kind == IQE_DENSE && has_step_activation(step.what)) {
    step.dense = take_linear(tensors, IQE_FP32, padded(step.width), padded(width), name);
  } else if (step.kind == IQE_LAYER_NORM && step.width == width) {
    step.norm = take_norm(tensors, padded(width), name);
    const float* epsilon = tensors.take<float>(1, "%s.epsilon", name);
    if (epsilon != nullptr) step.epsilon = *epsilon;
  } else if (step.kind != IQE_UNIT_LENGTH || step.width != width) {
    tensors.refuse("a step of 'steps' is not one that the engine takes");
  }
}

// The steps: poolings where there are several, then what follows them.
void take_steps(Model& m, Tensors& tensors) {
  const iqe_config& c = m.config;
  m.poolings = 1;  // the model's memory is all zeros
  const int32_t* numbers = c.steps ? tensors.take<int32_t>(3 * (int64_t)c.steps, "steps") : nullptr;
  if (!tensors.right) return;
  for (int i = 0; i < c.steps; i++) {
    m.steps[i].kind = numbers[3 * i];
    m.steps[i].what = numbers[3 * i + 1];
    m.steps[i].width = numbers[3 * i + 2];
  }
  while (c.pooling == IQE_SEVERAL && m.first_step < c.steps && m.steps[m.first_step].kind == IQE_POOL) {
    const int pooling = m.steps[m.first_step++].what;
    if (pooling < IQE_CLS || pooling > IQE_WEIGHTED_MEAN) return tensors.refuse("a pooling of 'steps' is not one that the engine takes");
  }
  if (c.pooling == IQE_SEVERAL) m.poolings = m.first_step;
  int64_t width = (int64_t)m.poolings * c.hidden;
  // Behind others, the last part of a pooled row is written with what pads it in the layers.
  m.widest = (int)(padded(width) + (m.poolings > 1 ? m.stride : 0));
  for (int i = m.first_step; i < c.steps && tensors.right; i++) {
    const Step& step = m.steps[i];
    if (has_vocabulary(c) && i == c.steps - 1) {
      take_vocabulary(c, tensors, i, width, m.steps[i]);
      return;
    }
    if (step.width < 1 || step.width > MOST_WIDTH) return tensors.refuse("a width of 'steps' is not one that the engine takes");
    take_step(tensors, i, width, m.steps[i]);
    width = step.width;
    if (padded(width) > m.widest) m.widest = (int)padded(width);
  }
  if (width != c.outputs || m.poolings < 1 || has_vocabulary(c)) tensors.refuse("'steps' do not end in rows of as many numbers as come out");
}

// What makes rows of the layers' width of embeddings of another one, which `embedding_projection.inputs` says; in floats always.
void take_projection(Model& m, Tensors& tensors) {
  m.embedded = m.config.hidden;
  m.embedded_stride = m.stride;
  if (!tensors.has("embedding_projection.inputs")) return;
  const int32_t* inputs = tensors.take<int32_t>(1, "embedding_projection.inputs");
  if (inputs == nullptr) return;
  if (*inputs < 1 || *inputs > MOST_WIDTH) return tensors.refuse("'embedding_projection.inputs' is not one that the engine takes");
  m.embedded = *inputs;
  m.embedded_stride = (int)padded(m.embedded);
  m.embedding_projection = take_linear(tensors, IQE_FP32, m.stride, m.embedded_stride, "embedding_projection");
}

// How wide the layers' third halves are, which `recall.inputs` says where they have one.
void take_recall(Model& m, Tensors& tensors) {
  if (!tensors.has("recall.inputs")) return;
  const int32_t* inputs = tensors.take<int32_t>(1, "recall.inputs");
  if (inputs == nullptr) return;
  if (!within(*inputs, 1, MOST_WIDTH) || !m.config.branch_norms) return tensors.refuse("'recall.inputs' is not one that the engine takes");
  m.recalled = *inputs;
  m.recalled_stride = (int)padded(m.recalled);
}

void take_all(Model& m, Tensors& tensors) {
  const iqe_config& c = m.config;
  const int64_t stride = m.stride;
  take_projection(m, tensors);
  take_recall(m, tensors);
  const int64_t embedded = m.embedded_stride;
  if (c.precision == IQE_INT8) {
    m.word_codes = tensors.take<int8_t>(c.vocabulary * embedded, "words.codes");
    m.word_scales = tensors.take<float>(c.vocabulary, "words.scales");
  } else {
    m.words = tensors.take<float>(c.vocabulary * embedded, "words");
  }
  // Where angles or a bias say where a token stands, all places have one row.
  const bool one_place = c.rotary || (c.relative && tensors.holds("positions", embedded * (int64_t)sizeof(float)));
  m.positions = tensors.take<float>((one_place ? 1 : c.positions) * embedded, "positions");
  m.place_stride = one_place ? 0 : m.embedded_stride;
  if (c.second_text) m.second_text = tensors.take<float>(embedded, "second_text");
  if (c.padding >= 0) m.padding = tensors.take<float>(embedded, "padding");
  // As many numbers behind as a load may read beyond the last.
  if (c.relative) m.relative = tensors.take<float>(c.heads * (2 * (int64_t)c.positions - 1) + 2 * LANES, "relative");
  if (c.embedding_norm) m.embedding_norm = take_norm(tensors, embedded, "embedding_norm");
  if (c.first_norm) m.first_norm = take_norm(tensors, stride, "first_norm");
  int64_t observed = 0;
  for (int i = 0; i < c.layers && tensors.right; i++) {
    char name[64];
    const auto part = [&](const char* of) {
      snprintf(name, sizeof name, "layers.%d.%s", i, of);
      return name;
    };
    const auto linear = [&](int64_t outputs, int64_t inputs, const char* of, int levels) {
      Linear made = take_linear(tensors, c.precision, outputs, inputs, part(of), levels);
      made.observed = observed;
      observed += inputs;
      return made;
    };
    Layer& layer = m.layers[i];
    take_heads(c, tensors, i, layer);
    const int qkv_width = layer.query_width + 2 * layer.key_width;
    layer.qkv = linear(qkv_width, stride, "qkv", c.qkv_levels);
    layer.attention_output = linear(stride, layer.query_width, "attention_output", c.attention_output_levels);
    layer.intermediate = linear((1 + c.gated) * c.inner, stride, "intermediate", c.intermediate_levels);
    layer.output = linear(stride, c.inner, "output", c.output_levels);
    m.head_size = layer.head_size > m.head_size ? layer.head_size : m.head_size;
    m.query_width = layer.query_width > m.query_width ? layer.query_width : m.query_width;
    m.qkv_width = qkv_width > m.qkv_width ? qkv_width : m.qkv_width;
    layer.attention_norm = take_norm(tensors, stride, part("attention_norm"));
    layer.output_norm = take_norm(tensors, stride, part("output_norm"));
    if (c.branch_norms) {
      layer.attention_branch_norm = take_norm(tensors, stride, part("attention_branch_norm"));
      layer.output_branch_norm = take_norm(tensors, stride, part("output_branch_norm"));
    }
    if (c.head_norms) {
      layer.query_norm = tensors.take<float>(padded(layer.head_size), "layers.%d.query_norm", i);
      layer.key_norm = tensors.take<float>(padded(layer.head_size), "layers.%d.key_norm", i);
    }
    snprintf(name, sizeof name, "layers.%d.value_norm", i);
    if (c.rotary && tensors.has(name)) layer.value_norm = tensors.take<float>(padded(layer.head_size), "%s", name);
    if (m.recalled) {
      layer.recall_inputs = linear(m.recalled_stride, stride, "recall_inputs", IQE_RECALL_LEVELS);
      layer.recall_gate = linear(m.recalled_stride, stride, "recall_gate", IQE_RECALL_LEVELS);
      layer.recall_output = linear(stride, m.recalled_stride, "recall_output", IQE_RECALL_LEVELS);
      layer.recall_input_norm = take_norm(tensors, m.recalled_stride, part("recall_input_norm"));
      layer.recall_norm = take_norm(tensors, stride, part("recall_norm"));
      const float* factor = tensors.take<float>(1, "layers.%d.recall_factor", i);
      if (factor != nullptr) layer.recall_factor = *factor;
    }
    take_reach(c, tensors, i, layer);
  }
  take_steps(m, tensors);
}

}  // namespace

int32_t fail(int32_t status, char* error, int64_t size, const char* format, ...) {
  va_list values;
  va_start(values, format);
  if (error != nullptr && size > 0) vsnprintf(error, (size_t)size, format, values);
  va_end(values);
  return status;
}

int32_t load(Model& model, const iqe_config& config, const iqe_tensor* tensors, int32_t count, char* error, int64_t size) {
  const char* wrong = wrong_config(config);
  if (wrong != nullptr) return fail(IQE_INVALID, error, size, "the size or choice '%s' is not one that the engine takes", wrong);
  model.config = config;
  model.stride = (int)padded(config.hidden);
  model.layers = (Layer*)calloc(config.layers, sizeof(Layer));
  model.steps = (Step*)calloc(config.steps + 1, sizeof(Step));
  if (model.layers == nullptr || model.steps == nullptr) return fail(IQE_OUT_OF_MEMORY, error, size, "no memory for the model");
  Tensors all(tensors, count, error, size);
  take_all(model, all);
  return all.right ? IQE_OK : IQE_INVALID;
}

void unload(Model& model) {
  free(model.layers);
  free(model.steps);
}

}  // namespace iqe
