"""Two threads that drive the encoder, round after round, for all requests that wait: queries, and the rest.

Rounds are made on those threads, not on the event loop: a loop that is busy refusing requests must not keep the
encoder waiting. A query's round runs beside the large one that is under way, on its share of the cores, so it does
not wait for that one to end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.encoders.cross_encoder import CrossEncoder
from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.sparse_encoder import SparseEncoder, rows_of
from intel_quantized_embeddings.encoding.batching import padded_length
from intel_quantized_embeddings.errors import ForkedProcessError
from intel_quantized_embeddings.serving.metrics import ModelMetrics
from intel_quantized_embeddings.serving.rounds import Rounds
from intel_quantized_embeddings.serving.speed import Speed

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

# The texts that are encoded before the first request, to know the speed: some of each length.
_WARM_UP_TEXTS = 16
_WARM_UP_LONGEST = 512  # longer shapes compile when they are first asked for: a start must not take minutes
# The most tokens of a request that is taken for a query: one text of most models' longest, or some questions.
_QUERY_TOKENS = 512
# While queries wait all the time, the rest has a round after this number of full rounds of queries.
_QUERY_ROUNDS = 4


class _Job:
    """A request's texts and their rows, which rounds fill as they end; the event loop waits for `done`."""

    def __init__(self, token_ids: Sequence[Sequence[int]]) -> None:
        self.token_ids = token_ids
        self.rows: NDArray[Any] | None = None
        self.missing = len(token_ids)
        self.done: Future[NDArray[Any]] = Future()

    def fill(self, place: int, row: Any) -> None:
        """Put a text's row in its place: an array of numbers, or a sparse model's token ids and weights."""
        if self.rows is None and isinstance(row, np.ndarray):
            self.rows = np.empty((len(self.token_ids), len(row)), dtype=np.float32)
        elif self.rows is None:
            self.rows = np.empty(len(self.token_ids), dtype=object)
        self.rows[place] = row
        self.missing -= 1
        if self.missing == 0 and self.done.set_running_or_notify_cancel():
            self.done.set_result(self.rows)


class _Lane:
    """Requests that wait for a thread of their own, under the batcher's lock."""

    def __init__(self, lock: threading.Lock) -> None:
        self.waiting: Rounds[_Job] = Rounds()
        self.running_tokens = 0
        self.changed = threading.Condition(lock)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and no round is running."""
        return not len(self.waiting) and not self.running_tokens


class Batcher:
    """Encodes the texts, or pairs of texts, of many requests together, in rounds of `round_tokens` at most."""

    def __init__(
        self, encoder: Encoder | CrossEncoder | SparseEncoder, *, round_tokens: int, metrics: ModelMetrics
    ) -> None:
        self.metrics = metrics
        self._encoder = encoder
        self._round_tokens = round_tokens
        self._lock = threading.Lock()  # guards all that changes, but for the speed
        self._queries, self._bulk = _Lane(self._lock), _Lane(self._lock)
        self._queries_since_bulk = 0  # tokens
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=name, daemon=True)
            for name, lane in (("queries", self._queries), ("bulk", self._bulk))
        ]
        self._process = os.getpid()
        self._speed = Speed()

    @property
    def waiting_tokens(self) -> int:
        """Tokens of the texts that wait or are being encoded."""
        return sum(lane.waiting.tokens + lane.running_tokens for lane in (self._queries, self._bulk))

    def tokens_ahead(self, tokens: int) -> int:
        """Return the most tokens that would be encoded before a request that has a number of tokens."""
        with self._lock:
            running = self._queries.running_tokens + self._bulk.running_tokens
            if self._lane_of(tokens) is self._queries:
                return self._queries.waiting.ahead_of(tokens) + running
            return self._queries.waiting.tokens + self._bulk.waiting.ahead_of(tokens) + running

    @property
    def tokens_per_second(self) -> float:
        """The encoder's speed of late."""
        return self._speed.tokens_per_second

    @property
    def is_running(self) -> bool:
        """Whether texts are accepted."""
        return all(thread.is_alive() for thread in self._threads) and not self._stopping

    def start(self) -> None:
        """Measure the speed once, then accept texts."""
        longest = min(self._encoder.max_length, _WARM_UP_LONGEST)
        texts = [[0] * max(1, longest * place // _WARM_UP_TEXTS) for place in range(1, _WARM_UP_TEXTS + 1)]
        self._encoder.encode_token_ids(texts)  # compiles what bulk calls need
        self._timed(texts, tokens=sum(map(self.tokens, texts)))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Accept no more texts and end after the rounds that are running; requests that still wait are cancelled."""
        with self._lock:
            self._stopping = True
            for lane in (self._queries, self._bulk):
                lane.changed.notify()
        for thread in self._threads:
            thread.join()
        for lane in (self._queries, self._bulk):
            for job, _ in lane.waiting.next_round(lane.waiting.tokens):
                job.done.cancel()

    def tokens(self, token_ids: Sequence[int]) -> int:
        """Return the tokens that a text counts for: the length it is padded to."""
        return padded_length(len(token_ids), max_length=self._encoder.max_length)

    async def encode(self, token_ids: Sequence[Sequence[int]]) -> NDArray[Any]:
        """Encode a request's texts, at least one; if this is cancelled, texts whose round has not begun are dropped.

        Returns:
            Vectors, or scores before their activation. Shape: (n_texts, numbers), float32. For a sparse model the token
            ids and weights of each text. Shape: (n_texts,), objects.

        Raises:
            ForkedProcessError: The batcher is that of the process that this one was forked from.
        """
        if self._process != os.getpid():
            raise ForkedProcessError(
                "this process was forked from one that serves: the threads that encode did not come along. Start each "
                "service in a process of its own."
            )
        job = _Job(token_ids)
        tokens = [self.tokens(ids) for ids in token_ids]
        lane = self._lane_of(sum(tokens))
        with self._lock:
            if self._stopping:
                raise asyncio.CancelledError
            lane.waiting.add(job, tokens)
            lane.changed.notify()
        try:
            return await asyncio.wrap_future(job.done)
        finally:
            with self._lock:
                lane.waiting.remove(job)
                self._bulk.changed.notify()  # it may have waited for this very query, which nobody wants any more

    def _lane_of(self, tokens: int) -> _Lane:
        """Return the lane in which a request with a number of tokens waits."""
        return self._queries if tokens <= _QUERY_TOKENS else self._bulk

    def _may_run(self, lane: _Lane) -> bool:
        """Return whether a lane's next round may begin: the rest gives way to queries, but not for ever."""
        if not len(lane.waiting):
            return False
        its_turn = self._queries_since_bulk >= _QUERY_ROUNDS * self._round_tokens
        return lane is self._queries or self._queries.is_idle or its_turn

    def _run(self, lane: _Lane) -> None:
        while True:
            with self._lock:
                lane.changed.wait_for(lambda: self._stopping or self._may_run(lane))
                if self._stopping:
                    return
                texts = lane.waiting.next_round(self._round_tokens)
                token_ids = [job.token_ids[place] for job, place in texts]
                tokens = lane.running_tokens = sum(map(self.tokens, token_ids))
                self._queries_since_bulk = self._queries_since_bulk + tokens if lane is self._queries else 0
            try:
                vectors, seconds = self._timed(token_ids, tokens=tokens)
                self.metrics.note_round(tokens=tokens, texts=len(texts), seconds=seconds)
                self._hand_out(texts, vectors)
            except Exception as exc:
                # Whatever it is, those who wait must hear of it, and others go on.
                logger.exception("a round of %d texts failed", len(texts))
                self._fail({job for job, _ in texts}, exc, lane)
            with self._lock:
                lane.running_tokens = 0
                self._bulk.changed.notify()  # it may have waited for queries

    def _timed(self, token_ids: Sequence[Sequence[int]], *, tokens: int) -> tuple[Any, float]:
        with self._speed.of(tokens):
            started = time.perf_counter()
            made: Any = self._encoder.encode_token_ids(token_ids)
            vectors = made if isinstance(made, np.ndarray) else list(rows_of(made))
            seconds = time.perf_counter() - started
        if len(vectors) != len(token_ids):
            # Before the first is handed out: a request must not get the row of another.
            raise ValueError(f"the model gave {len(vectors)} rows for {len(token_ids)} texts")
        return vectors, seconds

    def _hand_out(self, texts: list[tuple[_Job, int]], vectors: Sequence[Any]) -> None:
        for row, (job, place) in zip(vectors, texts, strict=True):
            job.fill(place, row)

    def _fail(self, jobs: set[_Job], exc: Exception, lane: _Lane) -> None:
        for job in jobs:
            with self._lock:
                lane.waiting.remove(job)
            # A job may have got its last row before the round failed.
            if not job.done.done() and job.done.set_running_or_notify_cancel():
                job.done.set_exception(exc)
