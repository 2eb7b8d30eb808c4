#include "dispatch.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace iqe {

#if defined(__x86_64__)
extern const Kernels kernels_avx2;
#endif
extern const Kernels kernels_scalar;

namespace {

#if defined(__x86_64__)
bool bit(unsigned word, int at) { return word >> at & 1; }

// Whether the system keeps the registers of these features over a switch of threads: XCR0's bits.
bool system_keeps(unsigned bits) {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & bits) == bits;
}

bool runs_avx2() {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !bit(c, 12) || !bit(c, 27) || !bit(c, 28) || !system_keeps(0x6)) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && bit(b, 5);
}
#endif

bool always() { return true; }

struct Row {
  const Kernels* kernels;
  bool (*runs)();
};

// Best first.
const Row ROWS[] = {
#if defined(__x86_64__)
    {&kernels_avx2, runs_avx2},
#endif
    {&kernels_scalar, always},
};

}  // namespace

const Kernels* kernels_named(const char* name) {
  for (const Row& row : ROWS) {
    if (strcmp(row.kernels->name, name) == 0 && row.runs()) return row.kernels;
  }
  return nullptr;
}

}  // namespace iqe

const char* iqe_instruction_sets(void) {
  static char names[256];  // the same each time, whoever writes it
  char all[256] = "";
  for (const iqe::Row& row : iqe::ROWS) {
    if (!row.runs()) continue;
    if (all[0]) strcat(all, " ");
    strcat(all, row.kernels->name);
  }
  strcpy(names, all);
  return names;
}
