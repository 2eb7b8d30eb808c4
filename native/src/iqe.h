// The C interface of the engine. Python calls it through ctypes; nothing else is exported.
//
// No function throws, aborts or exits. Those that can fail return a status and write a message of at most `size` bytes,
// its zero included, into `error`.
#pragma once
#include <stdint.h>

#define IQE_ABI 7

#if defined(__GNUC__)
#define IQE_EXPORT extern "C" __attribute__((visibility("default")))
#endif

enum { IQE_OK = 0, IQE_INVALID = 1, IQE_OUT_OF_MEMORY = 2, IQE_STOPPED = 3 };
enum { IQE_GELU = 0, IQE_GELU_TANH = 1, IQE_RELU = 2, IQE_TANH = 3, IQE_SILU = 4 };  // activations
// Poolings; IQE_SEVERAL for those that the first steps name. With the last three all steps are taken by every token's row. What
// the last one makes of it, a number for each token of a vocabulary, is pooled over a text; with IQE_TOKENS nothing is pooled.
enum { IQE_CLS = 0, IQE_MEAN = 1, IQE_LAST = 2, IQE_MAX = 3, IQE_MEAN_SQRT_LENGTH = 4, IQE_WEIGHTED_MEAN = 5, IQE_SEVERAL = 6,
       IQE_VOCABULARY_MAX = 7, IQE_VOCABULARY_SUM = 8, IQE_TOKENS = 9 };
enum { IQE_DENSE = 0, IQE_LAYER_NORM = 1, IQE_UNIT_LENGTH = 2, IQE_POOL = 3 };  // steps behind the layers
enum { IQE_SIGMOID = 16, IQE_IDENTITY = 17 };                          // what a dense step may have beside the activations above
enum { IQE_INT8 = 0, IQE_FP32 = 1 };                                   // precisions of the linear layers and the words
enum { IQE_LOG1P = 18, IQE_LOG1P_TWICE = 19 };  // the last step in front of a vocabulary's pooling: log(1 + max(x, 0)), and that of it again
enum { IQE_VOCABULARY_LEVELS = 200 };           // int8: steps between the least and greatest number of a row that it reads
enum { IQE_RECALL_LEVELS = 200 };               // the same of each layer of a third half

// What a model is. Every width is padded with zeros to a multiple of 16; `hidden` alone says how many numbers count.
struct iqe_config {
  int32_t hidden;      // numbers in a token's vector
  int32_t layers;
  int32_t heads;
  int32_t head_size;   // of layers of which `layers.heads` says no other
  int32_t inner;       // width of the feed-forward layer, padded
  int32_t vocabulary;  // rows of the embedding table
  int32_t positions;   // rows of the position table: the longest text in tokens
  int32_t activation;
  int32_t pooling;
  int32_t precision;
  int32_t second_text; // 1: an id of `vocabulary` or more is a token of a pair's second text, less `vocabulary`
  int32_t padding;     // a token of this id has a position of its own, and those behind it count on without it; -1 for none
  int32_t relative;    // 1: a bias by distance is added to attention's scores; `positions` may then be one row, for all places
  int32_t qkv_levels;  // int8: steps between a row's least and greatest number, 2 to 255, of each kind of linear layer:
  int32_t attention_output_levels;  // fewer leave more of 16 bits to the weights (quantize.cpp)
  int32_t intermediate_levels;
  int32_t output_levels;
  int32_t key_heads;   // of keys and values: `heads`, or fewer that several heads of queries share; as head_size
  int32_t norms_aside; // 1: a norm feeds linear layers alone, and sums go on without it (pre-norm); 0: it takes their place (post-norm)
  int32_t branch_norms;  // 1: what a half of a layer adds is normalized before (sandwich)
  int32_t first_norm;    // 1: a norm stands in front of the first layer, beside the one over the embeddings; with norms_aside
  int32_t embedding_norm;  // 1: there is one
  int32_t centred;     // 1: norms subtract the mean (LayerNorm); 0: they don't (RMSNorm)
  int32_t head_norms;  // 1: each head's queries and keys have a norm, without a mean
  int32_t rotary;      // tables of positions that queries and keys are turned by; 0: positions are rows that are added
  int32_t gated;       // 1: one half of `intermediate`, activated, is multiplied with the other
  int32_t steps;       // that follow pooling
  int32_t outputs;     // numbers that come out for each text; of a vocabulary padded
  float epsilon;       // of every norm
};

// A named array; model.h says how those of a linear layer lie, and what each layer's norms are. Vectors of words are float
// `words` [vocabulary][hidden, padded] in fp32; in int8, `words.codes` of the same shape and a scale a row, `words.scales`. Where
// embeddings have another width, that is int32 `embedding_projection.inputs` [1], and `embedding_projection.panels` and `.bias`
// make rows of `hidden` numbers of them behind their norm. Where layers' heads differ, int32 `layers.heads` [layers][2] has the
// head_size and key_heads of each. A norm of each head's values, without a mean, is `layers.N.value_norm`; with rotary.
// With branch_norms a layer may have a third half, behind the two, that recalls the embeddings: int32 `recall.inputs` [1] says how
// wide it is, and each layer has linear layers `recall_inputs` of the rows that went into the first layer, a norm of what comes
// out, `recall_input_norm`, `recall_gate` of the sums, which is activated and multiplied with that, and `recall_output` with
// `recall_norm`. The sums are then multiplied with `recall_factor` [1].
// `steps` is int32 [steps][3]: of each step its kind; a dense one's activation, or a pooling; and how many numbers a row has
// behind it. Poolings come first, each another part of the row. A dense step has `steps.N.panels` and `steps.N.bias`, a layer
// norm `steps.N.weight`, `.bias` and `.epsilon`. The step of a vocabulary is a dense one, and in int8 may have the arrays of a
// linear layer in int8.
struct iqe_tensor {
  const char* name;
  const void* data;
  int64_t bytes;
};

struct iqe_model;

IQE_EXPORT int32_t iqe_abi(void);
// Names of the instruction sets that this CPU can run, best first, separated by spaces.
IQE_EXPORT const char* iqe_instruction_sets(void);
// Says how many cores this process may use where a CPU quota leaves fewer than its affinity. Before the first iqe_encode.
IQE_EXPORT void iqe_limit_cores(int32_t cores);

// Makes a model of arrays that the caller keeps alive until iqe_free. `instruction_set` is one of those above.
IQE_EXPORT int32_t iqe_new(const iqe_config* config, const iqe_tensor* tensors, int32_t count, const char* instruction_set,
                           iqe_model** model, char* error, int64_t size);
IQE_EXPORT void iqe_free(iqe_model* model);

// Encodes texts of ids[offsets[i] .. offsets[i + 1]) into rows of `outputs` numbers, one a text, or one a token with IQE_TOKENS.
// Reads *stop now and then; once it is not 0, returns IQE_STOPPED soon. Safe from several threads at once.
IQE_EXPORT int32_t iqe_encode(const iqe_model* model, const int32_t* ids, const int64_t* offsets, int64_t texts, int32_t threads,
                              const int32_t* stop, float* rows, char* error, int64_t size);

// Sums the squares of what each input of each linear layer is while texts are encoded in fp32, on this thread alone. `squares`
// has, layer by layer, the inputs of qkv, attention_output, intermediate and output, and of a third half's recall_inputs,
// recall_gate and recall_output; sums are added to it.
IQE_EXPORT int32_t iqe_observe(const iqe_model* model, const int32_t* ids, const int64_t* offsets, int64_t texts, float* squares,
                               char* error, int64_t size);

// Lays out a linear layer's weights, float [outputs][inputs], for fp32: panels of 16 outputs, [outputs/16][inputs][16].
IQE_EXPORT int32_t iqe_pack(const float* weights, int64_t outputs, int64_t inputs, float* panels);
// Quantizes them: codes [outputs/16][inputs/4][16][4], a scale an output and the sum of its codes. Each input's column is
// first divided by its factor (null: by none), which the input itself is multiplied with later. Inputs have so many levels.
IQE_EXPORT int32_t iqe_quantize(const float* weights, const float* factors, int64_t outputs, int64_t inputs, int32_t levels,
                                int8_t* codes, float* scales, int32_t* sums);
// The exact products of one linear layer, to test a kernel alone: sums [rows][outputs] of u8 rows and codes.
IQE_EXPORT int32_t iqe_products(const uint8_t* rows, int64_t count, const int8_t* codes, int64_t outputs, int64_t inputs,
                                const char* instruction_set, int32_t* sums);
