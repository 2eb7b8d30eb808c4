// A model of a caller's sizes and tensors, and what is said of those that the engine does not take.
#pragma once
#include "model.h"

namespace iqe {

constexpr int64_t MOST_WIDTH = 1 << 15;  // linear.h: sums stay below 2^31

inline int64_t padded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// Writes a message of at most `size` bytes and returns the status.
int32_t fail(int32_t status, char* error, int64_t size, const char* format, ...) __attribute__((format(printf, 4, 5)));

// Fills a model of zeros, its kernels aside; on an error too it is the caller's to unload.
int32_t load(Model& model, const iqe_config& config, const iqe_tensor* tensors, int32_t count, char* error, int64_t size);

void unload(Model& model);

}  // namespace iqe
