"""Fixtures that several modules of this folder use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from intel_quantized_embeddings import Encoder
from support.services import Service, service_in_thread


@pytest.fixture(scope="session")
def minilm_service(minilm_int8) -> Iterator[Service]:
    """all-MiniLM-L6-v2 served from a thread."""
    for needed in ("starlette", "uvicorn", "prometheus_client"):
        pytest.importorskip(needed, reason="the serve extra is not installed")
    with service_in_thread(Encoder.load(minilm_int8), name="minilm") as running:
        yield running
