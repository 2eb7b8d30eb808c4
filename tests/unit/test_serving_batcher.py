"""What a service encodes before its first request, and rounds that fail."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

pytest.importorskip("prometheus_client", reason="the serve extra is not installed")

from intel_quantized_embeddings.serving.batcher import Batcher
from intel_quantized_embeddings.serving.metrics import Metrics


class Spy:
    """An encoder that keeps how long its inputs were."""

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length
        self.lengths: list[int] = []

    def encode_token_ids(self, token_ids):
        self.lengths += map(len, token_ids)
        return np.zeros((len(token_ids), 2), dtype=np.float32)


@pytest.mark.parametrize(("max_length", "longest"), [(8, 8), (256, 256), (512, 512), (8192, 512)])
def test_the_start_is_bounded_whatever_the_longest_input(max_length, longest):
    spy = Spy(max_length)
    batcher = Batcher(spy, round_tokens=512, metrics=Metrics().of_model("m"))
    batcher.start()
    batcher.stop()
    assert max(spy.lengths) == longest
    assert sum(spy.lengths) <= 10_000


class Short(Spy):
    """An encoder that gives a row too few for each call with a text of the token 5, which no text of the start has."""

    def encode_token_ids(self, token_ids):
        rows = super().encode_token_ids(token_ids)
        return rows[1:] if any(5 in ids for ids in token_ids) else rows


@pytest.mark.parametrize("texts", [1, 100])  # a query's lane, and that of the rest
def test_rows_that_do_not_fit_their_texts_fail_their_requests_alone(texts):
    async def ask(token: int):
        return await asyncio.wait_for(batcher.encode([[token] * 4] * texts), timeout=10)

    batcher = Batcher(Short(8), round_tokens=2048, metrics=Metrics().of_model("m"))
    batcher.start()
    try:
        with pytest.raises(ValueError, match=f"gave {texts - 1} rows for {texts} texts"):
            asyncio.run(ask(5))
        assert asyncio.run(ask(4)).shape == (texts, 2)
        assert batcher.is_running
    finally:
        batcher.stop()
