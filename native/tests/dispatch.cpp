// In place of native/src/dispatch.cpp: the instruction sets that IQE_KERNELS lists as IQE_KERNEL(name), whatever this CPU has.
#include "../src/dispatch.h"

#include <string.h>

namespace iqe {

#define IQE_KERNEL(name) extern const Kernels kernels_##name;
IQE_KERNELS
#undef IQE_KERNEL

const Kernels* kernels_named(const char* name) {
#define IQE_KERNEL(name) &kernels_##name,
  const Kernels* const all[] = {IQE_KERNELS};
#undef IQE_KERNEL
  for (const Kernels* kernels : all) {
    if (strcmp(kernels->name, name) == 0) return kernels;
  }
  return nullptr;
}

}  // namespace iqe

const char* iqe_instruction_sets(void) {
#define IQE_KERNEL(name) #name " "
  return IQE_KERNELS;
}
