#include "dispatch.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace iqe {

#if defined(__x86_64__)
extern const Kernels kernels_amx;
extern const Kernels kernels_avx512vnni;
extern const Kernels kernels_avxvnni;
extern const Kernels kernels_avx2;
#elif defined(__aarch64__)
extern const Kernels kernels_neon;
#endif
extern const Kernels kernels_scalar;

namespace {

#if defined(__x86_64__)
enum Register { EAX, EBX, ECX, EDX };

// Whether a leaf of cpuid has all of these bits in one register.
bool cpu_has(unsigned leaf, unsigned subleaf, Register at, unsigned bits) {
  unsigned words[4];
  if (!__get_cpuid_count(leaf, subleaf, &words[EAX], &words[EBX], &words[ECX], &words[EDX])) return false;
  return (words[at] & bits) == bits;
}
constexpr unsigned bit(int at) { return 1u << at; }

// Whether the system keeps the registers of these features over a switch of threads: XCR0's bits. Only after OSXSAVE.
bool system_keeps(unsigned bits) {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & bits) == bits;
}

// All of x86-64-v3, since the compiler may use any of it.
bool runs_avx2() {
  return cpu_has(1, 0, ECX, bit(12) | bit(22) | bit(27) | bit(28) | bit(29))  // FMA, MOVBE, OSXSAVE, AVX, F16C
         && system_keeps(0x6)                                                 // xmm, ymm
         && cpu_has(7, 0, EBX, bit(3) | bit(5) | bit(8))                      // BMI1, AVX2, BMI2
         && cpu_has(0x80000001, 0, ECX, bit(5));                              // LZCNT
}

bool runs_avxvnni() { return runs_avx2() && cpu_has(7, 1, EAX, bit(4)); }

// All of x86-64-v4 and VNNI.
bool runs_avx512vnni() {
  return runs_avx2() && system_keeps(0xe6)                                           // and masks, zmm
         && cpu_has(7, 0, EBX, bit(16) | bit(17) | bit(28) | bit(30) | bit(31))      // AVX-512 F, DQ, CD, BW, VL
         && cpu_has(7, 0, ECX, bit(11));                                             // AVX-512 VNNI
}

// Linux gives a process tiles only where it asks for them; asked again, it says the same.
bool runs_amx() {
  constexpr int ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18;
  return runs_avx512vnni() && system_keeps(0x600e6)             // and tiles and their configuration
         && cpu_has(7, 0, EDX, bit(24) | bit(25))               // AMX tiles, int8
         && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}
#elif defined(__aarch64__)
bool runs_neon() {
  constexpr unsigned long DOT_PRODUCTS = 1ul << 20;  // HWCAP_ASIMDDP, which old headers lack
  return getauxval(AT_HWCAP) & DOT_PRODUCTS;
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
    {&kernels_amx, runs_amx},
    {&kernels_avx512vnni, runs_avx512vnni},
    {&kernels_avxvnni, runs_avxvnni},
    {&kernels_avx2, runs_avx2},
#elif defined(__aarch64__)
    {&kernels_neon, runs_neon},
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
