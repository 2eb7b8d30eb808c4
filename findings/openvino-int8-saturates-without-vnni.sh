#!/usr/bin/env bash
# openvino 2026.4.1, x86-64: an int8 matrix product is wrong on CPUs without VNNI or AMX, without an error or a warning.
# A quantized graph (u8 activations, i8 weights, each in its full range) is one constant times another, summed 64 times:
# 64 * 2.55 * 1.26 = 205.632. With VNNI the CPU plugin gives that. Without it (AVX2, or AVX-512 without VNNI) products
# are added in pairs in 16 bits, which saturate at 32767, and the sum comes out as half. Real models lose accuracy
# instead of halving, since few pairs are that large. NNCF's static quantization uses all 8 bits by default; its
# overflow_fix=ENABLE halves the range of weights, and the result is exact on both.
# ONEDNN_MAX_CPU_ISA makes a CPU with VNNI compute as one without.
#
# Output seen on an AMD EPYC with AVX512-VNNI, Python 3.11:
#   with all instructions of this CPU: 205.632, weights in 7 bits: 205.632
#   without VNNI (AVX2):               104.854, weights in 7 bits: 205.632
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install openvino==2026.4.1 'numpy<3'

cat >"$work/product.py" <<'PYTHON'
import numpy as np
import openvino as ov
from openvino import opset13 as ops

SIZE = 64


def number(value):
    return ops.constant(np.float32(value))


def product(scale):
    """Activations of 2.55 in 256 levels up to 2.55, weights of 1.26 in 256 levels up to 1.27 * scale."""
    rows = ops.parameter([-1, SIZE], np.float32)
    activations = ops.fake_quantize(rows, number(0), number(2.55), number(0), number(2.55), 256)
    low, high = number(-1.28 * scale), number(1.27 * scale)
    constant = ops.constant(np.full((SIZE, SIZE), 1.26, np.float32))
    weights = ops.fake_quantize(constant, low, high, low, high, 256)
    model = ov.Model([ops.matmul(activations, weights, False, True)], [rows], "product")
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return float(compiled(np.full((4, SIZE), 2.55, np.float32))[0][0, 0])


print(f"{product(1):.3f} {product(2):.3f}")
PYTHON

exact="205.632 205.632"
all=$(ONEDNN_MAX_CPU_ISA=ALL "$work/venv/bin/python" "$work/product.py")
limited=$(ONEDNN_MAX_CPU_ISA=AVX2 "$work/venv/bin/python" "$work/product.py")
printf 'with all instructions of this CPU: %s, weights in 7 bits: %s\n' $all
printf 'without VNNI (AVX2):               %s, weights in 7 bits: %s\n' $limited
if grep -qwE 'avx512_vnni|avx_vnni|amx_int8' /proc/cpuinfo; then
  [ "$all" = "$exact" ] || { echo "changed: the sum is not exact with VNNI"; exit 1; }
fi
[ "$limited" = "104.854 205.632" ] || { echo "changed: the sum does not saturate any more, or otherwise"; exit 1; }
echo "as described"
