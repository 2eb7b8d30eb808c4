"""Accept requests within limits of number, tokens and memory. Refusals come early, because they must be cheap."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from intel_quantized_embeddings.serving.batcher import Batcher
from intel_quantized_embeddings.serving.limits import Limits
from intel_quantized_embeddings.serving.refusals import Refusal

# The largest bodies that may be in memory at once; smaller ones may be more.
_LARGEST_BODIES = 8
# The longest Retry-After in seconds: openai's client obeys up to a minute.
_LONGEST_RETRY_SECONDS = 60


class Gate:
    """Counts requests and bytes in work. Used on the event loop only.

    Args:
        limits: The service's limits.
        waiting_seconds: Function that estimates the time of everything that waits.
    """

    def __init__(self, limits: Limits, *, waiting_seconds: Callable[[], float]) -> None:
        self._limits = limits
        self._waiting_seconds = waiting_seconds
        self.requests = 0  # in work
        self._bytes = 0

    @asynccontextmanager
    async def entered(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Read a request's body, and count it and the request for as long as they are in work.

        The server goes on reading the body of a refused request, and discards it: clients write all of it before they
        listen.

        Raises:
            Refusal: The body is too large, or too much is in work.
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
        """Check that a request of some tokens may wait for a model's encoder.

        The tokens that would be encoded before it count. So a queue full of large requests still accepts a small one,
        before which few would be encoded.

        Raises:
            Refusal: Too many tokens are before it, or more than can be encoded in a request's time.
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
        """Return a refusal with the time after which to try again: when everything that waits is encoded."""
        wait = min(max(math.ceil(seconds), 1), _LONGEST_RETRY_SECONDS)
        return Refusal(
            429,
            f"{why}; try again in about {wait} s.",
            code="rate_limit_exceeded",
            headers={"retry-after": str(wait)},
        )
