"""Fixtures that several modules of this folder use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder
from support.services import Service, service_in_thread


@pytest.fixture(scope="session")
def minilm_service(minilm_int8, tiny_cross_encoder_int8) -> Iterator[Service]:
    """all-MiniLM-L6-v2 served from a thread, and a cross-encoder called judge."""
    for needed in ("starlette", "uvicorn", "prometheus_client"):
        pytest.importorskip(needed, reason="the serve extra is not installed")
    from intel_quantized_embeddings.serving.served import ServedModel

    judge = ServedModel.of(CrossEncoder.load(tiny_cross_encoder_int8), name="judge")
    with service_in_thread(Encoder.load(minilm_int8), judge, name="minilm") as running:
        yield running
