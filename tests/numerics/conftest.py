"""In this folder int8 MiniLM stands for that of every runtime: each test runs on all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what asks for OpenVINO's int8 MiniLM be slow: calibrating it takes half a minute, and less spoils it."""
    for item in items:
        asks = item.path.parent == Path(__file__).parent and {"pair", "minilm_int8"} & set(item.fixturenames)
        if asks and item.callspec.params["runtime"] == "openvino":
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def minilm_int8(runtime: str, minilm_int8_of: Callable[[str], Path]) -> Path:
    return minilm_int8_of(runtime)
