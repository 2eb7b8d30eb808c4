"""What a service encodes before its first request."""

from __future__ import annotations

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
