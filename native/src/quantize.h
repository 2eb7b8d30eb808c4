// Weights of a linear layer in eight bits, so narrow that no kernel's sums overflow.
#pragma once
#include <stdint.h>

namespace iqe {

// See iqe_quantize. False where there is no memory.
bool quantize(const float* weights, const float* factors, int64_t outputs, int64_t inputs, int levels, int8_t* codes, float* scales,
              int32_t* sums);

// Whether codes keep the bound that kernels rely on (isa/avx2.cpp), and `sums` are theirs.
bool codes_fit(const int8_t* codes, const int32_t* sums, int64_t outputs, int64_t inputs, int levels);

}  // namespace iqe
