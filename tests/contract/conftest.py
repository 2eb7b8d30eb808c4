"""In this folder the tiny int8 model is for the runtime that a test runs on: the default one, or `each_runtime`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.options import DEFAULT_RUNTIME


@pytest.fixture(scope="session", params=[DEFAULT_RUNTIME.value])
def runtime(request: pytest.FixtureRequest) -> str:
    if request.param == "ipex":
        request.getfixturevalue("ipex_installed")
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def tiny_int8(runtime: str, tiny_int8_of: Callable[[str], Path]) -> Path:
    return tiny_int8_of(runtime)


@pytest.fixture(scope="session")
def tiny_encoder(runtime: str, tiny_int8: Path) -> Encoder:
    return Encoder.load(tiny_int8, runtime=runtime)
