"""Find out whether this CPU's sums of 8-bit products are exact, and whether its int8 is faster than fp32."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_X86 = ("x86_64", "amd64", "i686")

# Instructions that add products of 8 bits in 32 bits. Without them x86 CPUs add pairs of products in 16 bits
# (vpmaddubsw), which saturates: two products of 255 and 127 are 64,770, and 16 bits end at 32,767. With weights in
# 7 bits (64 at most) two products are 32,640 at most, and every sum is exact.
_EXACT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})

# Without those, int8 was faster than fp32 only with registers of 512 bits (docs/benchmarks.md).
_FASTER = _EXACT | {"avx512bw"}

# By value of ONEDNN_MAX_CPU_ISA, the instructions that oneDNN uses; all other values leave VNNI, or everything.
_LIMITS = {
    "SSE41": frozenset[str](),
    "AVX": frozenset[str](),
    "AVX2": frozenset[str](),
    "AVX2_VNNI": frozenset({"avx_vnni"}),
    "AVX2_VNNI_2": frozenset({"avx_vnni"}),
    "AVX512_CORE": frozenset({"avx512bw"}),
}


def sums_are_exact() -> bool:
    """Return whether int8 sums of 8-bit weights are exact on this CPU.

    Only x86 is known to have CPUs where they are not. Without /proc/cpuinfo they are taken as exact.
    """
    return _has_any(_EXACT)


def int8_is_faster() -> bool:
    """Return whether OpenVINO's static int8 is faster than its fp32 on this kind of CPU (docs/benchmarks.md)."""
    return _has_any(_FASTER)


def is_limited() -> bool:
    """Return whether oneDNN was told to leave instructions unused that this module knows."""
    return _limit() is not None


def flags_of(cpuinfo: str) -> frozenset[str]:
    """Return the instruction sets that `/proc/cpuinfo` lists for the first processor; empty if it lists none."""
    for line in cpuinfo.splitlines():
        name, found, value = line.partition(":")
        if found and name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def _has_any(wanted: frozenset[str]) -> bool:
    if platform.machine().lower() not in _X86:
        return True
    flags = cpu_flags()
    return not flags or bool(wanted & _left_by_onednn(flags))


def _left_by_onednn(flags: frozenset[str]) -> frozenset[str]:
    """Return the flags that kernels may use under a limit of oneDNN."""
    limit = _limit()
    return flags if limit is None else flags & limit


def _limit() -> frozenset[str] | None:
    """Return the limit of oneDNN, which is in OpenVINO and torch; None without one."""
    name = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    return _LIMITS.get(name.upper())


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of this machine's CPU, as Linux names them; empty if they can't be read."""
    try:
        return flags_of(_CPUINFO.read_text("utf-8", errors="replace"))
    except OSError:
        return frozenset()
