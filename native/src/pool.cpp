#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include <atomic>

#include "iqe.h"

// A placeholder that needs the C library's threads, memory and mathematics.
namespace {

std::atomic<int64_t> total{0};

void* add(void* value) {
    total.fetch_add((int64_t)fmaf(*(float*)value, 2.0f, 1.0f), std::memory_order_acq_rel);
    return nullptr;
}

}  // namespace

int64_t iqe_threads(float value) {
    float* copy = nullptr;
    if (posix_memalign((void**)&copy, 64, sizeof *copy) != 0) return -1;
    *copy = value;
    total.store(0);
    pthread_t thread;
    if (pthread_create(&thread, nullptr, add, copy) == 0) pthread_join(thread, nullptr);
    free(copy);
    return total.load();
}
