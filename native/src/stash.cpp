#include "stash.h"

#include <stdlib.h>

namespace iqe {
namespace {

// Each slot holds a piece or null; whoever exchanges it for null has it. There is no lock that a fork could leave taken.
constexpr int SLOTS = 64;
constexpr int64_t HEADER = 64;                  // in front of a piece: how large it is
constexpr int64_t MOST_KEPT = 256 << 20;        // a piece for very long texts is not kept
constexpr int64_t STEP = 1 << 18;
char* slots[SLOTS];

int64_t size_of(char* piece) { return *(int64_t*)piece; }

}  // namespace

Workspace take_workspace(int64_t bytes) {
  for (int i = 0; i < SLOTS; i++) {
    if (__atomic_load_n(&slots[i], __ATOMIC_RELAXED) == nullptr) continue;
    char* piece = __atomic_exchange_n(&slots[i], (char*)nullptr, __ATOMIC_ACQUIRE);
    if (piece == nullptr) continue;
    if (size_of(piece) >= bytes) return {piece + HEADER, size_of(piece)};
    free(piece);  // the next one is larger, so that sizes settle
  }
  const int64_t rounded = (bytes + STEP - 1) / STEP * STEP;
  void* piece = nullptr;
  if (posix_memalign(&piece, 64, (size_t)(rounded + HEADER)) != 0) return {nullptr, 0};
  *(int64_t*)piece = rounded;
  return {(char*)piece + HEADER, rounded};
}

void give_back(Workspace workspace) {
  char* piece = workspace.memory - HEADER;
  for (int i = 0; i < SLOTS && workspace.bytes <= MOST_KEPT; i++) {
    char* empty = nullptr;
    if (__atomic_compare_exchange_n(&slots[i], &empty, piece, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) return;
  }
  free(piece);
}

}  // namespace iqe
