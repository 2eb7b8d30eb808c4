"""The fuzzed targets on some hundred spoilt files, without atheris; `make fuzz` runs them for minutes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.mutations import spoil
from fuzz.targets import TARGETS, run

# A target that compiles a graph takes some 30 ms a time, the others 5.
QUICK = ("info", "quantization-config", "safetensors", "tokenizer", "weight-index")


@pytest.mark.parametrize("name", TARGETS)
def test_a_spoilt_file_is_read_or_is_an_error_of_ours(name, folders, tmp_path, caplog):
    """Whatever is wrong with a file, nothing but our own errors comes out, and vectors are finite."""
    caplog.set_level("CRITICAL")
    target = TARGETS[name]
    folder = folders.copy(target, tmp_path / "spoilt")
    good = (folder / target.file).read_bytes()

    @settings(
        max_examples=60 if name in QUICK else 8,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(seed=st.integers(0, 2**32))
    def check(seed: int) -> None:
        run(target, folder, spoil(good, seed))

    check()


@pytest.mark.parametrize("name", ["tokenizer", "safetensors", "weight-index", "info", "openvino"])
def test_a_file_cut_anywhere_is_read_or_is_an_error_of_ours(name, folders, tmp_path):
    target = TARGETS[name]
    folder = folders.copy(target, tmp_path / "spoilt")
    good = (folder / target.file).read_bytes()
    for part in range(12):
        run(target, folder, good[: len(good) * part // 12])
