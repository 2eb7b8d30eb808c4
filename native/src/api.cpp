// The C interface: texts are checked here, as models are in load.cpp, and a call is cut into chunks.
#include "iqe.h"

#include <stdlib.h>

#include "dispatch.h"
#include "load.h"
#include "pool.h"
#include "quantize.h"
#include "stash.h"

struct iqe_model : iqe::Model {};

namespace iqe {
namespace {

// What one call is cut into.
struct Plan {
  const Model& model;
  const int32_t* ids;
  const int64_t* offsets;
  const Chunk* chunks;
  int64_t longest;
  const int32_t* stop;
  float* out;
  float* squares;
  int32_t out_of_memory;
};

// Encodes one chunk; false where there is no memory.
bool encode_chunk(const Plan& plan, Chunk chunk, int threads) {
  // Twice as many shares as threads: one that is held up keeps the others waiting for less.
  const int shares = threads > 1 ? 2 * threads : 1;
  const int64_t rows = plan.offsets[chunk.last] - plan.offsets[chunk.first];
  const Workspace work = take_workspace(plan.model.kernels->workspace_bytes(plan.model, rows, plan.longest, shares));
  if (work.memory == nullptr) return false;
  plan.model.kernels->encode(plan.model, plan.ids, plan.offsets, chunk, plan.longest, threads, shares, work.memory, plan.stop, plan.out,
                              plan.squares);
  give_back(work);
  return true;
}

constexpr int64_t FEW_TOKENS = 256;   // a call of so few is one chunk, whose phases all threads share
constexpr int64_t MOST_ROWS = 512;    // of a chunk, longer texts aside: the weights of a layer are read once for so many
constexpr int64_t LEAST_ROWS = 64;

// Consecutive texts of about so many rows that every thread gets several chunks.
int64_t cut(const int64_t* offsets, int64_t texts, int threads, Chunk* chunks) {
  const int64_t share = offsets[texts] / (4 * threads);
  const int64_t rows = share < LEAST_ROWS ? LEAST_ROWS : (share > MOST_ROWS ? MOST_ROWS : share);
  int64_t count = 0;
  for (int64_t first = 0; first < texts; count++) {
    int64_t last = first + 1;
    while (last < texts && offsets[last + 1] - offsets[first] <= rows) last++;
    chunks[count] = {first, last};
    first = last;
  }
  return count;
}

int32_t encode(const Model& model, const int32_t* ids, const int64_t* offsets, int64_t texts, int threads, const int32_t* stop,
               float* rows, float* squares, int64_t longest) {
  const int64_t total = offsets[texts];
  Plan plan{model, ids, offsets, nullptr, longest, stop, rows, squares, 0};
  bool enough = true;
  // Also one text that is long beside the others, which would keep one thread busy after all others are done.
  if (threads > 1 && (total <= FEW_TOKENS || texts < threads || longest * threads > total)) {
    enough = encode_chunk(plan, {0, texts}, threads);
  } else {
    Chunk* chunks = (Chunk*)malloc(texts * sizeof(Chunk));
    if (chunks == nullptr) return IQE_OUT_OF_MEMORY;
    const int64_t count = cut(offsets, texts, threads, chunks);
    plan.chunks = chunks;
    if (threads > 1 && count > 1) {
      Team team(threads);
      team.run((int)count, [&plan](int i) {
        if (__atomic_load_n(plan.stop, __ATOMIC_RELAXED)) return;
        if (!encode_chunk(plan, plan.chunks[i], 1)) __atomic_store_n(&plan.out_of_memory, 1, __ATOMIC_RELAXED);
      });
    } else {
      for (int64_t i = 0; i < count && enough && !__atomic_load_n(stop, __ATOMIC_RELAXED); i++) enough = encode_chunk(plan, chunks[i], 1);
    }
    free(chunks);
  }
  if (!enough || plan.out_of_memory) return IQE_OUT_OF_MEMORY;
  return __atomic_load_n(stop, __ATOMIC_RELAXED) ? IQE_STOPPED : IQE_OK;
}

// Whether offsets and ids are what a model takes; also finds the longest text.
int32_t check_texts(const iqe_config& c, const int32_t* ids, const int64_t* offsets, int64_t texts, int64_t* longest, char* error,
                    int64_t size) {
  if (texts < 0 || texts > INT32_MAX) return fail(IQE_INVALID, error, size, "%lld texts", (long long)texts);
  if (offsets[0] != 0) return fail(IQE_INVALID, error, size, "the first text begins at %lld instead of 0", (long long)offsets[0]);
  for (int64_t t = 0; t < texts; t++) {
    const int64_t length = offsets[t + 1] - offsets[t];
    if (length < 1 || length > c.positions) {
      return fail(IQE_INVALID, error, size, "text %lld has %lld tokens; the model takes 1 to %d", (long long)t, (long long)length, c.positions);
    }
    if (length > *longest) *longest = length;
  }
  const int64_t end = c.second_text ? 2 * (int64_t)c.vocabulary : c.vocabulary;
  for (int64_t i = 0; i < offsets[texts]; i++) {
    if (ids[i] < 0 || ids[i] >= end) return fail(IQE_INVALID, error, size, "token id %d is not one of the model's %lld", ids[i], (long long)end);
  }
  return IQE_OK;
}

}  // namespace
}  // namespace iqe

using namespace iqe;

int32_t iqe_abi(void) { return IQE_ABI; }

void iqe_limit_cores(int32_t cores) { set_most_cores(cores); }

int32_t iqe_new(const iqe_config* config, const iqe_tensor* tensors, int32_t count, const char* instruction_set, iqe_model** model,
                char* error, int64_t size) {
  *model = nullptr;
  const Kernels* kernels = kernels_named(instruction_set);
  if (kernels == nullptr) {
    return fail(IQE_INVALID, error, size, "this CPU does not run the instruction set '%s'; it runs %s", instruction_set, iqe_instruction_sets());
  }
  iqe_model* made = (iqe_model*)calloc(1, sizeof(iqe_model));
  if (made == nullptr) return fail(IQE_OUT_OF_MEMORY, error, size, "no memory for the model");
  made->kernels = kernels;
  const int32_t status = load(*made, *config, tensors, count, error, size);
  if (status != IQE_OK) {
    iqe_free(made);
    return status;
  }
  *model = made;
  return IQE_OK;
}

void iqe_free(iqe_model* model) {
  if (model == nullptr) return;
  unload(*model);
  free(model);
}

int32_t iqe_encode(const iqe_model* model, const int32_t* ids, const int64_t* offsets, int64_t texts, int32_t threads, const int32_t* stop,
                   float* rows, char* error, int64_t size) {
  if (threads < 1 || threads > 1024) return fail(IQE_INVALID, error, size, "%d threads; a call takes 1 to 1024", threads);
  int64_t longest = 0;
  const int32_t wrong = check_texts(model->config, ids, offsets, texts, &longest, error, size);
  if (wrong != IQE_OK || texts == 0) return wrong;
  const int32_t status = encode(*model, ids, offsets, texts, threads, stop, rows, nullptr, longest);
  if (status == IQE_OUT_OF_MEMORY) return fail(status, error, size, "no memory for texts of up to %lld tokens", (long long)longest);
  return status;
}

int32_t iqe_observe(const iqe_model* model, const int32_t* ids, const int64_t* offsets, int64_t texts, float* squares, char* error,
                    int64_t size) {
  if (model->config.precision != IQE_FP32) return fail(IQE_INVALID, error, size, "only a model in fp32 can be observed");
  int64_t longest = 0;
  const int32_t wrong = check_texts(model->config, ids, offsets, texts, &longest, error, size);
  if (wrong != IQE_OK || texts == 0) return wrong;
  float* rows = (float*)malloc((size_t)texts * model->config.outputs * sizeof(float));
  const int32_t never = 0;
  const int32_t status = rows == nullptr ? IQE_OUT_OF_MEMORY : encode(*model, ids, offsets, texts, 1, &never, rows, squares, longest);
  free(rows);
  if (status == IQE_OUT_OF_MEMORY) return fail(status, error, size, "no memory for texts of up to %lld tokens", (long long)longest);
  return status;
}

int32_t iqe_pack(const float* weights, int64_t outputs, int64_t inputs, float* panels) {
  if (outputs < 1 || inputs < 1 || outputs % LANES || inputs % LANES) return IQE_INVALID;
  for (int64_t n = 0; n < outputs; n++) {
    float* panel = panels + n / LANES * LANES * inputs + n % LANES;
    for (int64_t k = 0; k < inputs; k++) panel[k * LANES] = weights[n * inputs + k];
  }
  return IQE_OK;
}

int32_t iqe_quantize(const float* weights, const float* factors, int64_t outputs, int64_t inputs, int32_t levels, int8_t* codes,
                     float* scales, int32_t* sums) {
  if (outputs < 1 || inputs < 1 || outputs % LANES || inputs % LANES || inputs > MOST_WIDTH || levels < 2 || levels > 255) return IQE_INVALID;
  return quantize(weights, factors, outputs, inputs, levels, codes, scales, sums) ? IQE_OK : IQE_OUT_OF_MEMORY;
}

int32_t iqe_products(const uint8_t* rows, int64_t count, const int8_t* codes, int64_t outputs, int64_t inputs, const char* instruction_set,
                     int32_t* sums) {
  const Kernels* kernels = kernels_named(instruction_set);
  if (kernels == nullptr || count < 0 || outputs < 1 || inputs < 1 || outputs % LANES || inputs % LANES) return IQE_INVALID;
  int32_t* code_sums = (int32_t*)calloc(outputs, sizeof(int32_t));
  if (code_sums == nullptr) return IQE_OUT_OF_MEMORY;
  // Four inputs of sixteen outputs lie together.
  for (int64_t i = 0; i < outputs * inputs; i++) code_sums[i / (inputs * LANES) * LANES + i / 4 % LANES] += codes[i];
  Linear layer;
  layer.inputs = (int)inputs;
  layer.outputs = (int)outputs;
  layer.codes = codes;
  layer.sums = code_sums;
  kernels->products(rows, count, layer, sums);
  free(code_sums);
  return IQE_OK;
}
