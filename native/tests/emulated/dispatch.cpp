// In place of native/src/dispatch.cpp: every instruction set of x86-64, whatever this CPU has.
#include "dispatch.h"

#include <string.h>

namespace iqe {

extern const Kernels kernels_amx, kernels_avx512vnni, kernels_avxvnni, kernels_avx2, kernels_scalar;

const Kernels* kernels_named(const char* name) {
  const Kernels* const all[] = {&kernels_amx, &kernels_avx512vnni, &kernels_avxvnni, &kernels_avx2, &kernels_scalar};
  for (const Kernels* kernels : all) {
    if (strcmp(kernels->name, name) == 0) return kernels;
  }
  return nullptr;
}

}  // namespace iqe

const char* iqe_instruction_sets(void) { return "amx avx512vnni avxvnni avx2 scalar"; }
