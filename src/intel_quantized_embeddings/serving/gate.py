"""Which requests are taken in, and how much of them is held in memory. Refuses early: refusing must be cheap."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from intel_quantized_embeddings.serving.batcher import Batcher
from intel_quantized_embeddings.serving.limits import Limits
from intel_quantized_embeddings.serving.refusals import Refusal

# So many of the largest bodies may be in memory at once, whatever number of requests they are of.
_LARGEST_BODIES = 8
# What clients are told to wait at most: openai's obeys up to a minute.
_LONGEST_RETRY_SECONDS = 60


class Gate:
    """Counts what is in work. Used on the event loop only.

    Args:
        limits: The service's limits.
        waiting_seconds: Tells how long all that waits takes.
    """

    def __init__(self, limits: Limits, *, waiting_seconds: Callable[[], float]) -> None:
        self._limits = limits
        self._waiting_seconds = waiting_seconds
        self.requests = 0  # in work
        self._bytes = 0

    @asynccontextmanager
    async def entered(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Read a request's body, and count it and the request for as long as they are in work.

        Of a request that is refused the server goes on to read the body, and throws it away: clients write all of it
        before they listen.

        Raises:
            Refusal: The body is too large, or there is too much work already.
        """
        if self.requests >= self._limits.waiting_requests:
            raise self._busy(f"{self.requests} requests are in work", seconds=self._waiting_seconds())
        body = bytearray()
        self.requests += 1
        try:
            async for chunk in chunks:
                self._check_size(len(body) + len(chunk), held=self._bytes + len(chunk))
                body += chunk
                self._bytes += len(chunk)
            yield bytes(body)
        finally:
            self.requests -= 1
            self._bytes -= len(body)

    def check_waiting(self, batcher: Batcher, tokens: int) -> None:
        """Check that a request of so many tokens may wait for a model's encoder.

        What counts is what would be encoded before it. So a queue full of large requests is open to a small one,
        before which it puts little.

        Raises:
            Refusal: Too many tokens are before it, or more than are encoded in the time that a request may take.
        """
        ahead = batcher.tokens_ahead(tokens)
        in_time = self._limits.request_seconds * batcher.tokens_per_second
        if ahead >= min(self._limits.waiting_tokens, in_time):
            seconds = ahead / batcher.tokens_per_second
            raise self._busy(f"{ahead} tokens would be encoded before this request", seconds=seconds)

    def _check_size(self, size: int, *, held: int) -> None:
        if size > self._limits.body_bytes:
            raise Refusal(
                413, f"the body is larger than {self._limits.body_bytes} bytes; send fewer texts in a request."
            )
        if held > _LARGEST_BODIES * self._limits.body_bytes:
            raise self._busy(f"{held} bytes of requests would be in memory", seconds=self._waiting_seconds())

    def _busy(self, why: str, *, seconds: float) -> Refusal:
        """Say when to come again: once what waits is encoded."""
        wait = min(max(math.ceil(seconds), 1), _LONGEST_RETRY_SECONDS)
        return Refusal(
            429,
            f"{why}; try again in about {wait} s.",
            code="rate_limit_exceeded",
            headers={"retry-after": str(wait)},
        )
