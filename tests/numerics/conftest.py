"""In this folder int8 MiniLM stands for that of every runtime: each test runs on all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def minilm_int8(runtime: str, minilm_int8_of: Callable[[str], Path]) -> Path:
    return minilm_int8_of(runtime)
