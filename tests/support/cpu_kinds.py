"""What tests say of the kind of CPU that they run on."""

from __future__ import annotations

import os

import pytest

# OpenVINO 2026.4 goes by the CPU's own instructions when it chooses how to compute these, and oneDNN then lacks them.
fails_where_onednn_is_limited = pytest.mark.skipif(
    bool(os.environ.get("ONEDNN_MAX_CPU_ISA")),
    reason="OpenVINO can't compute it with ONEDNN_MAX_CPU_ISA set; a CPU of that kind can",
)

# What loading int8 logs, rightly, on a CPU with neither VNNI nor AVX-512.
SLOWER_IN_INT8 = "int8 is slower than fp32 on this CPU"
