// A model as the kernels see it: sizes, and pointers into arrays that the caller owns. Nothing here computes.
#pragma once
#include <stdint.h>
#include "iqe.h"

namespace iqe {

constexpr int LANES = 16;  // every width is a multiple of it

// y = x W^T + b. int8: `codes` and what follows; fp32: `panels`.
struct Linear {
  int inputs = 0, outputs = 0;
  int levels = 255;                 // steps between the least and the greatest number of a row that it reads
  const int8_t* codes = nullptr;    // [outputs/16][inputs/4][16][4]: 64 bytes hold four inputs of sixteen outputs
  const float* scales = nullptr;    // [outputs]
  const int32_t* sums = nullptr;    // [outputs]: of an output's codes, which a row's zero point is multiplied with
  const float* factors = nullptr;   // [inputs]: what an input is multiplied with before it is quantized
  const float* panels = nullptr;    // [outputs/16][inputs][16]
  const float* bias = nullptr;      // [outputs]
  int64_t observed = 0;             // where the sums of its inputs begin in iqe_observe's
};

struct Norm {
  const float* weight = nullptr;
  const float* bias = nullptr;
};

// Norms are named by the half of a layer that they follow: with norms_aside `output_norm` is what the next layer begins with,
// and the last layer's is the final one. Branch norms are on what a half adds.
struct Layer {
  Linear qkv, attention_output, intermediate, output;
  Norm attention_norm, output_norm, attention_branch_norm, output_branch_norm;
  int head_size = 0, key_heads = 0;
  int query_width = 0, key_width = 0;  // of all heads of queries, and of keys or values, padded
  const float* query_norm = nullptr;  // [head_size], padded
  const float* key_norm = nullptr;
  const float* value_norm = nullptr;
  const float* rotary = nullptr;      // [positions][2][head_size / 2, padded]: cosines and sines
  int64_t before = 0, after = 0;      // so many tokens before and behind its own a query sees
  // A third half, behind the two: norm(output(activation(gate(x)) * input_norm(inputs(e)))) is added, of x and of what e went into
  // the first layer, and the sum is multiplied with the factor.
  Linear recall_inputs, recall_gate, recall_output;
  Norm recall_input_norm, recall_norm;
  float recall_factor = 0;
};

// What a row goes through behind the last layer; see IQE_DENSE and the others.
struct Step {
  int kind = 0, what = 0, width = 0;
  Linear dense;
  Norm norm;
  float epsilon = 0;
};

struct Model;

// A half-open range of consecutive texts that go through the layers together.
struct Chunk {
  int64_t first, last;
};

// Whether a text's row has a number for each token of a vocabulary.
inline bool has_vocabulary(const iqe_config& c) { return c.pooling == IQE_VOCABULARY_MAX || c.pooling == IQE_VOCABULARY_SUM; }

// Whether every token's row takes the steps.
inline bool by_token(const iqe_config& c) { return has_vocabulary(c) || c.pooling == IQE_TOKENS; }

// What one instruction set offers.
struct Kernels {
  const char* name;
  // Bytes of memory for chunks of so many tokens, the longest text of so many, and phases in so many shares.
  int64_t (*workspace_bytes)(const Model& model, int64_t rows, int64_t longest, int shares);
  // Encodes a chunk on at most `threads` threads (1: on the caller alone), in that memory. `out` has a row for each text
  // of the call, of which this writes the chunk's. `squares`: see iqe_observe; null otherwise.
  void (*encode)(const Model& model, const int32_t* ids, const int64_t* offsets, Chunk chunk, int64_t longest, int threads, int shares,
                 char* memory, const int32_t* stop, float* out, float* squares);
  // The exact sums of one layer, [rows][outputs].
  void (*products)(const uint8_t* rows, int64_t count, const Linear& linear, int32_t* sums);
};

struct Model {
  iqe_config config{};
  int stride = 0;      // `hidden`, padded
  int head_size = 0, query_width = 0, qkv_width = 0;  // the widest of any layer: a head, all of queries, with keys and values
  const float* words = nullptr;        // fp32: [vocabulary][embedded_stride]
  const int8_t* word_codes = nullptr;  // int8: the same, each row times its scale
  const float* word_scales = nullptr;  // [vocabulary]; no number where a row has one that is none
  const float* positions = nullptr;    // [positions][embedded_stride], a token type's vector added; or one row for all places
  int place_stride = 0;                // from one place's row to the next: 0 where there is one
  const float* second_text = nullptr;  // [embedded_stride]
  const float* padding = nullptr;      // [embedded_stride]: the position of what pads, where a text has that token itself
  const float* relative = nullptr;     // [heads][2 * positions - 1]: by key - query, 0 in the middle, times log2(e)
  Norm embedding_norm, first_norm;
  int embedded = 0, embedded_stride = 0;  // numbers in an embedding, and those padded; without a projection `hidden` and `stride`
  Linear embedding_projection;            // of embeddings to rows of `hidden` numbers; no panels where there is none
  int recalled = 0, recalled_stride = 0;  // numbers that a layer's third half makes of an embedding, and those padded; 0 without one
  Layer* layers = nullptr;
  Step* steps = nullptr;
  int first_step = 0;  // behind those that name poolings
  int poolings = 1;    // parts of a pooled row
  int widest = 0;      // numbers in a row between steps at most, padded; without a vocabulary's
  const Kernels* kernels = nullptr;
};

}  // namespace iqe
