// Memory for calls, kept from one to the next: a fresh piece costs more page faults than a query computes.
#pragma once
#include <stdint.h>

namespace iqe {

struct Workspace {
  char* memory;
  int64_t bytes;
};

// Memory of at least so many bytes, at a multiple of 64; null where there is none. Safe from several threads at once.
Workspace take_workspace(int64_t bytes);
// Keeps it for the next, or frees it where enough is kept.
void give_back(Workspace workspace);

}  // namespace iqe
