// AVX-512 with dot products of bytes.
#define IQE_ISA avx512vnni
#include "dots_avx512.h"

namespace iqe {
namespace IQE_ISA {

using Products = Dots;
using Scores = Dots;

}  // namespace IQE_ISA
}  // namespace iqe

#include "../forward.h"
