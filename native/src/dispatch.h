// Which instruction sets there are, and which of them this CPU runs.
#pragma once
#include "model.h"

namespace iqe {

// The kernels of that name, null where this CPU does not run them.
const Kernels* kernels_named(const char* name);

}  // namespace iqe
