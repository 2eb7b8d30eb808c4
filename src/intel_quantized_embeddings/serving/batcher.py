"""One thread that drives the encoder, round after round, for all requests that wait.

Rounds are made on that thread, not on the event loop: a loop that is busy refusing requests must not keep the
encoder waiting.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.encoders.cross_encoder import CrossEncoder
from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoding.batching import padded_length
from intel_quantized_embeddings.errors import ForkedProcessError
from intel_quantized_embeddings.serving.metrics import ModelMetrics
from intel_quantized_embeddings.serving.rounds import Rounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

# How soon a change of speed shows in the measured one: half of what is measured is from the last so many seconds.
_HALF_LIFE_SECONDS = 5.0
# The texts that are encoded before the first request, to know the speed: some of each length.
_WARM_UP_TEXTS = 16
_WARM_UP_LONGEST = 512  # longer shapes compile when they are first asked for: a start must not take minutes


class _Job:
    """A request's texts on their way to rows, which are filled as rounds end; the event loop waits for `done`."""

    def __init__(self, token_ids: Sequence[Sequence[int]]) -> None:
        self.token_ids = token_ids
        self.rows: NDArray[np.float32] | None = None
        self.missing = len(token_ids)
        self.done: Future[NDArray[np.float32]] = Future()

    def fill(self, place: int, row: NDArray[np.float32]) -> None:
        """Put the row of a text in its place."""
        if self.rows is None:
            self.rows = np.empty((len(self.token_ids), len(row)), dtype=np.float32)
        self.rows[place] = row
        self.missing -= 1
        if self.missing == 0 and self.done.set_running_or_notify_cancel():
            self.done.set_result(self.rows)


class Batcher:
    """Encodes the texts, or pairs of texts, of many requests together, in rounds of `round_tokens` at most."""

    def __init__(self, encoder: Encoder | CrossEncoder, *, round_tokens: int, metrics: ModelMetrics) -> None:
        self.metrics = metrics
        self._encoder = encoder
        self._round_tokens = round_tokens
        self._waiting: Rounds[_Job] = Rounds()
        self._running_tokens = 0
        self._changed = threading.Condition()  # guards the waiting requests and whether to stop
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)
        self._process = os.getpid()
        self._speed = _Speed()

    @property
    def waiting_tokens(self) -> int:
        """Tokens of the texts that wait or are being encoded."""
        return self._waiting.tokens + self._running_tokens

    def tokens_ahead(self, tokens: int) -> int:
        """Tokens that would be encoded before a request of so many."""
        with self._changed:
            return self._waiting.ahead_of(tokens) + self._running_tokens

    @property
    def tokens_per_second(self) -> float:
        """The encoder's speed of late."""
        return self._speed.tokens_per_second

    @property
    def is_running(self) -> bool:
        """Whether texts are accepted."""
        return self._thread.is_alive() and not self._stopping

    def start(self) -> None:
        """Measure the speed once, then take texts."""
        longest = min(self._encoder.max_length, _WARM_UP_LONGEST)
        texts = [[0] * max(1, longest * place // _WARM_UP_TEXTS) for place in range(1, _WARM_UP_TEXTS + 1)]
        self._encoder.encode_token_ids(texts)  # compiles what bulk calls need
        self._timed(texts, tokens=sum(map(self.tokens, texts)))
        self._thread.start()

    def stop(self) -> None:
        """Take no more, and end after the round that is running; what still waits is cancelled."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        for job, _ in self._waiting.next_round(self._waiting.tokens):
            job.done.cancel()

    def tokens(self, token_ids: Sequence[int]) -> int:
        """Return the tokens that a text counts for: the length it is padded to."""
        return padded_length(len(token_ids), max_length=self._encoder.max_length)

    async def encode(self, token_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Encode a request's texts, one at least; cancelled, those that are not being encoded are dropped.

        Returns:
            Vectors, or scores before their activation. Shape: (n_texts, numbers), float32.

        Raises:
            ForkedProcessError: The batcher is that of the process that this one was forked from.
        """
        if self._process != os.getpid():
            raise ForkedProcessError(
                "this process was forked from one that serves: the thread that encodes did not come along. Start each "
                "service in a process of its own."
            )
        job = _Job(token_ids)
        with self._changed:
            if self._stopping:
                raise asyncio.CancelledError
            self._waiting.add(job, [self.tokens(ids) for ids in token_ids])
            self._changed.notify()
        try:
            return await asyncio.wrap_future(job.done)
        finally:
            with self._changed:
                self._waiting.remove(job)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or len(self._waiting) > 0)
                if self._stopping:
                    return
                texts = self._waiting.next_round(self._round_tokens)
                token_ids = [job.token_ids[place] for job, place in texts]
                tokens = self._running_tokens = sum(map(self.tokens, token_ids))
            try:
                vectors, seconds = self._timed(token_ids, tokens=tokens)
            except Exception as exc:
                # Whatever it is, those who wait must hear of it, and others go on.
                logger.exception("a round of %d texts failed", len(texts))
                self._fail({job for job, _ in texts}, exc)
            else:
                self.metrics.note_round(tokens=tokens, texts=len(texts), seconds=seconds)
                self._hand_out(texts, vectors)
            self._running_tokens = 0

    def _timed(self, token_ids: Sequence[Sequence[int]], *, tokens: int) -> tuple[NDArray[np.float32], float]:
        started = time.perf_counter()
        vectors = self._encoder.encode_token_ids(token_ids)
        seconds = time.perf_counter() - started
        self._speed.note(tokens, seconds)
        return vectors, seconds

    def _hand_out(self, texts: list[tuple[_Job, int]], vectors: NDArray[np.float32]) -> None:
        for row, (job, place) in zip(vectors, texts, strict=True):
            job.fill(place, row)

    def _fail(self, jobs: set[_Job], exc: Exception) -> None:
        for job in jobs:
            with self._changed:
                self._waiting.remove(job)
            if job.done.set_running_or_notify_cancel():
                job.done.set_exception(exc)


class _Speed:
    """Tokens a second over the last rounds; the time between rounds does not count."""

    def __init__(self) -> None:
        self._tokens = self._seconds = 0.0

    @property
    def tokens_per_second(self) -> float:
        return self._tokens / max(self._seconds, 1e-9)

    def note(self, tokens: int, seconds: float) -> None:
        kept = 0.5 ** (seconds / _HALF_LIFE_SECONDS)
        self._tokens = self._tokens * kept + tokens
        self._seconds = self._seconds * kept + seconds
