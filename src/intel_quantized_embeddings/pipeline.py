"""Texts -> vectors, with every part busy: read, tokenize ahead, plan, run batches side by side, put rows in order.

Texts are read on the caller's thread in windows of a few hundred. While one window is encoded the next is
tokenized on another thread. A batch that is not full waits for texts of its length in later windows, so
windows cost no padding and memory stays bounded whatever the number of texts.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.batching import Batch, most_rows, plan_batches, single_text_shapes
from intel_quantized_embeddings.runtimes.base import Runtime
from intel_quantized_embeddings.tokenization import TokenizedTexts, Tokenizer, utf8

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = tuple[tuple[int, ...], NDArray[np.float32]]
    PlannedIds = tuple[Batch, list[Sequence[int]]]

# A window ends at whichever comes first. The tokenizers library needs some 20 times its texts' size for a moment.
WINDOW_TEXTS = 512
WINDOW_CHARACTERS = 1_000_000

# With fewer batches than this for each stream, each batch gets all threads instead of one.
BATCHES_PER_STREAM = 2


class DistinctTexts:
    """Passes each text on when it first comes, and keeps which row of the result answers for each.

    Attributes:
        rows: For every text read so far, the place of its first occurrence among the distinct ones.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.rows = array("q")

    def __iter__(self) -> Iterator[str]:
        """Read the texts once.

        Raises:
            InvalidTextError: An item is not text; the message names its position.
        """
        # Digests, not texts: those of a generator must not all stay in memory.
        seen: dict[bytes, int] = {}
        for position, text in enumerate(self._texts):
            digest = hashlib.blake2b(utf8(text, position=position), digest_size=16).digest()
            distinct = len(seen)
            row = seen.setdefault(digest, distinct)
            self.rows.append(row)
            if row == distinct:
                yield text


def tokenize_ahead(texts: Iterable[str], tokenizer: Tokenizer, *, instruction: str) -> Iterator[TokenizedTexts]:
    """Tokenize window after window, each while the one before is being used.

    `texts` is read on the calling thread only: it may be a database cursor.
    """
    windows = _windows(texts)
    first = next(windows, None)
    second = next(windows, None)
    if first is None:
        return
    if second is None:
        yield tokenizer.encode(first, instruction=instruction)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="tokenize") as background:
        tokenized = background.submit(tokenizer.encode, first, instruction=instruction)
        for window in chain([second], windows):
            following = background.submit(tokenizer.encode, window, instruction=instruction)
            yield tokenized.result()
            tokenized = following
        yield tokenized.result()


def encode_token_ids(
    runtime: Runtime,
    windows: Iterable[Sequence[Sequence[int]]],
    *,
    pad_token_id: int,
    max_length: int,
    on_progress: Callable[[int], object] | None = None,
) -> NDArray[np.float32]:
    """Encode tokenized texts in planned batches.

    Args:
        runtime: The compiled encoder.
        windows: Any number of parts, each of any number of texts, one sequence of ids a text.
        pad_token_id: What padding holds.
        max_length: Where the grid of lengths ends.
        on_progress: Called after every batch with the number of texts in it.

    Returns:
        Vectors in input order. Shape: (n_texts, dimension), float32.
    """
    vectors = np.empty((0, runtime.dimension), dtype=np.float32)
    n_texts = 0
    for indices, rows in _run(runtime, _planned(windows, max_length=max_length), pad_token_id=pad_token_id):
        n_texts = max(n_texts, max(indices) + 1)
        if n_texts > len(vectors):
            # Grown in place, by half: no second copy of everything stands beside it.
            vectors.resize((n_texts + n_texts // 2, runtime.dimension), refcheck=False)
        vectors[list(indices)] = rows
        if on_progress is not None:
            on_progress(len(indices))
    vectors.resize((n_texts, runtime.dimension), refcheck=False)
    return vectors


def warm_up(runtime: Runtime, *, max_length: int) -> None:
    """Run every shape that one text can have, so that no query waits for one to be prepared."""
    for shape in single_text_shapes(max_length=max_length):
        ones = np.ones(shape, dtype=np.int64)
        runtime.run(ones, ones)


def _windows(texts: Iterable[str]) -> Iterator[list[str]]:
    window: list[str] = []
    characters = 0
    for text in texts:
        window.append(text)
        characters += len(text)
        if len(window) == WINDOW_TEXTS or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


def _planned(windows: Iterable[Sequence[Sequence[int]]], *, max_length: int) -> Iterator[PlannedIds]:
    """Batches in the order to run them: the full ones of each window, and what is left at the end."""
    waiting: list[tuple[int, Sequence[int]]] = []
    n_texts = 0

    def plan() -> Iterator[PlannedIds]:
        for batch in plan_batches([len(ids) for _, ids in waiting], max_length=max_length):
            texts = [waiting[index] for index in batch.indices]
            yield Batch(tuple(index for index, _ in texts), batch.length), [ids for _, ids in texts]

    for window in windows:
        waiting += enumerate(window, start=n_texts)
        n_texts += len(window)
        left: list[tuple[int, Sequence[int]]] = []
        for batch, token_ids in plan():
            if len(token_ids) == most_rows(batch.length):
                yield batch, token_ids
            else:
                left += zip(batch.indices, token_ids, strict=True)
        waiting = left
    yield from plan()


def _run(runtime: Runtime, batches: Iterator[PlannedIds], *, pad_token_id: int) -> Iterator[Rows]:
    """Run few batches one after another with all threads each, many side by side with one thread each."""
    few = list(islice(batches, BATCHES_PER_STREAM * runtime.streams))
    if len(few) < BATCHES_PER_STREAM * runtime.streams or runtime.streams == 1:
        for batch, token_ids in chain(few, batches):
            yield batch.indices, runtime.run(*_pad(batch, token_ids, pad_token_id=pad_token_id))
        return

    def encode(batch: Batch, token_ids: Sequence[Sequence[int]]) -> Rows:
        return batch.indices, runtime.run_in_stream(*_pad(batch, token_ids, pad_token_id=pad_token_id))

    running: deque[Future[Rows]] = deque()
    pool = ThreadPoolExecutor(runtime.streams, thread_name_prefix="encode")
    try:
        for batch, token_ids in chain(few, batches):
            running.append(pool.submit(encode, batch, token_ids))
            # Twice as many as there are streams, so that none waits while the oldest is taken.
            if len(running) > 2 * runtime.streams:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _pad(
    batch: Batch, token_ids: Sequence[Sequence[int]], *, pad_token_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A batch's ids padded on the right, and its mask. Shape of both: (rows, batch.length)."""
    shape = (len(token_ids), batch.length)
    input_ids = np.full(shape, pad_token_id, dtype=np.int64)
    attention_mask = np.zeros(shape, dtype=np.int64)
    for row, ids in enumerate(token_ids):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return input_ids, attention_mask
