"""Run the shapes that one text can have once, while a model is loaded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np

from intel_quantized_embeddings.encoding.batching import single_text_shapes
from intel_quantized_embeddings.runtimes.base import RaggedRuntime, Runtime

logger = logging.getLogger(__name__)

# Limits of warming up. All lengths of a model of 512 tokens are 8,576 tokens, MiniLM's 256 take a third of a second. Of
# a large or a long model the shorter lengths, which queries have, are run, and the others when they first come.
WARM_TOKENS = 10_000
WARM_SECONDS = 1.5


def warm_up(runtime: Runtime, *, max_length: int, clock: Callable[[], float] = time.monotonic) -> int:
    """Run the shapes that one text can have, so that no query waits for its shape to be prepared.

    The shortest come first. Longer ones are left out once `WARM_TOKENS` or `WARM_SECONDS` would be exceeded, so that
    the time of loading is bounded for any model.

    Returns:
        The longest length that was run, in tokens; `max_length` where a runtime has no shapes to prepare.
    """
    if isinstance(runtime, RaggedRuntime):
        return max_length
    started = before = clock()
    tokens = longest = 0
    seconds = 0.0
    for _, length in single_text_shapes(max_length=max_length):
        tokens += length
        expected = seconds * length / longest if longest else 0.0  # a run takes at least as long as its tokens say
        if longest and (tokens > WARM_TOKENS or before - started + expected > WARM_SECONDS):
            logger.info(
                "lengths of more than %d tokens are not warmed up: each is prepared when it first comes", longest
            )
            break
        ones = np.ones((1, length), dtype=np.int64)
        runtime.run(ones, ones)
        now = clock()
        seconds, before, longest = now - before, now, length
    return longest
