"""What is said of a CPU's int8, from its flags."""

from __future__ import annotations

import platform

import pytest

from intel_quantized_embeddings.runtimes import bfloat16, int8_products
from intel_quantized_embeddings.runtimes.int8_products import flags_of

ZEN_3 = "avx avx2 fma bmi2"
SKYLAKE = f"{ZEN_3} avx512f avx512bw avx512vl"
ZEN_4 = f"{SKYLAKE} avx512_vnni avx512_bf16"
ALDER_LAKE = f"{ZEN_3} avx_vnni"
SAPPHIRE_RAPIDS = f"{ZEN_4} amx_int8 amx_tile"


@pytest.fixture
def cpu(monkeypatch):
    """Pretend to be on another CPU."""

    def pretend(flags: str, machine: str = "x86_64") -> None:
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(int8_products, "cpu_flags", lambda: frozenset(flags.split()))
        monkeypatch.setattr(platform, "machine", lambda: machine)

    return pretend


@pytest.mark.parametrize(
    ("flags", "exact", "faster"),
    [
        (ZEN_3, False, False),
        (SKYLAKE, False, True),
        (ZEN_4, True, True),
        (ALDER_LAKE, True, True),
        (SAPPHIRE_RAPIDS, True, True),
    ],
)
def test_vnni_and_amx_are_exact_and_registers_of_512_bits_are_faster(cpu, flags, exact, faster):
    cpu(flags)
    assert (int8_products.sums_are_exact(), int8_products.int8_is_faster()) == (exact, faster)


@pytest.mark.parametrize(
    ("limit", "exact", "faster"),
    [
        ("AVX2", False, False),
        ("avx2", False, False),
        ("AVX2_VNNI", False, False),  # Zen 4 has VNNI in registers of 512 bits alone
        ("AVX512_CORE", False, True),
        ("AVX512_CORE_VNNI", True, True),
        ("ALL", True, True),
        ("", True, True),
    ],
)
def test_onednns_variable_is_heeded(cpu, monkeypatch, limit, exact, faster):
    cpu(ZEN_4)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert (int8_products.sums_are_exact(), int8_products.int8_is_faster()) == (exact, faster)


@pytest.mark.parametrize(("flags", "machine"), [("", "x86_64"), ("asimd", "aarch64"), (ZEN_3, "arm64")])
def test_nothing_is_said_of_other_machines(cpu, flags, machine):
    cpu(flags, machine)
    assert int8_products.sums_are_exact()
    assert int8_products.int8_is_faster()


def test_flags_are_those_of_the_first_processor():
    assert flags_of("processor\t: 0\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t\t: fpu\n") == {"fpu", "avx2"}
    assert flags_of("processor\t: 0\nFeatures\t: asimd\n") == frozenset()


@pytest.mark.parametrize(("flags", "there"), [(ZEN_3, False), (ZEN_4, True), ("avx512_bf16", True), ("amx_bf16", True)])
def test_bfloat16_is_what_the_flags_say(cpu, monkeypatch, flags, there):
    cpu(flags)
    monkeypatch.setattr(bfloat16, "cpu_flags", int8_products.cpu_flags)
    assert bfloat16.has_bfloat16() is there
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert not bfloat16.has_bfloat16()


def test_bfloat16_of_this_cpu_is_what_openvino_finds():
    openvino = pytest.importorskip("openvino", reason="the openvino extra is not installed")
    if int8_products.is_limited():
        pytest.skip("oneDNN is told to leave instructions unused, which OpenVINO does not look at here")
    found = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert bfloat16.has_bfloat16() == ("BF16" in found)
