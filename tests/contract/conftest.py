"""In this folder the tiny int8 model stands for that of every runtime: each test runs on all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from intel_quantized_embeddings import Encoder


@pytest.fixture(scope="session")
def tiny_int8(runtime: str, tiny_int8_of: Callable[[str], Path]) -> Path:
    return tiny_int8_of(runtime)


@pytest.fixture(scope="session")
def tiny_encoder(runtime: str, tiny_int8: Path) -> Encoder:
    return Encoder.load(tiny_int8, runtime=runtime)
