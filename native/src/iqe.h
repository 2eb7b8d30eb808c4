// The C interface of the native engine.
#pragma once

#include <stdint.h>

#define IQE_ABI_VERSION 1
#define IQE_EXPORT extern "C" __attribute__((visibility("default")))

IQE_EXPORT int iqe_abi_version(void);

// A placeholder: the sum of n products, n a multiple of 64, by the instruction set with this place in the target's list.
// Returns -1 for a place that is not there.
IQE_EXPORT int32_t iqe_dot(int32_t isa, const uint8_t* a, const int8_t* b, int32_t n);

// Returns 2 * value + 1 from a thread of its own.
IQE_EXPORT int64_t iqe_threads(float value);

int32_t iqe_dot_scalar(const uint8_t* a, const int8_t* b, int32_t n);
int32_t iqe_dot_avx2(const uint8_t* a, const int8_t* b, int32_t n);
int32_t iqe_dot_avxvnni(const uint8_t* a, const int8_t* b, int32_t n);
int32_t iqe_dot_avx512vnni(const uint8_t* a, const int8_t* b, int32_t n);
int32_t iqe_dot_amx(const uint8_t* a, const int8_t* b, int32_t n);
int32_t iqe_dot_neon(const uint8_t* a, const int8_t* b, int32_t n);
