"""Find out whether this CPU computes in bfloat16."""

from __future__ import annotations

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.runtimes.int8_products import cpu_flags, is_limited


def has_bfloat16() -> bool:
    """Return whether the CPU has bfloat16 instructions (AVX512_BF16 or AMX). torch would also emulate them."""
    # If oneDNN is told to leave instructions unused, OpenVINO and IPEX fail or emulate bfloat16.
    return not is_limited() and bool(cpu_flags() & {"avx512_bf16", "amx_bf16"})


def require_bfloat16() -> None:
    """Check that this CPU can run `precision="bf16"`."""
    if not has_bfloat16():
        raise OptionError(
            "precision='bf16' needs a CPU with bfloat16 instructions (AVX512_BF16 or AMX), which this one "
            "does not have; use 'int8' or 'fp32'."
        )
