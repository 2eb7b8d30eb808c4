"""Texts -> vectors: read, tokenize ahead, plan, run batches side by side, put rows in order.

Texts are read on the caller's thread in windows of a few hundred. While one window is encoded the next is
tokenized on another thread. A batch that is not full waits for texts of its length in later windows, so
windows cost no padding and memory stays bounded whatever the number of texts.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from intel_quantized_embeddings.encoding.batching import Batch, most_rows, padded, plan_batches
from intel_quantized_embeddings.errors import DamagedFilesError, InvalidTextError
from intel_quantized_embeddings.models.tokenizer import TokenizedTexts, Tokenizer
from intel_quantized_embeddings.runtimes.base import PaddedRuntime, RaggedRuntime, Runtime
from intel_quantized_embeddings.texts import utf8

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = tuple[tuple[int, ...], NDArray[np.float32]]
    PlannedIds = tuple[Batch, list[Sequence[int]]]

_Item = TypeVar("_Item")  # a text, or a pair of them

# The first window is small, so that encoding begins soon. A window also ends at a number of characters: the tokenizers
# library needs some 20 times its texts' size for a moment.
FIRST_WINDOW = 128
LARGEST_WINDOW = 512
WINDOW_CHARACTERS = 1_000_000


class DistinctTexts:
    """Yields each distinct text once, and remembers which row of the result belongs to each text.

    Attributes:
        rows: For every text read so far, its place among the distinct texts.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.rows = array("q")

    def named(self, row: int) -> str:
        """Name a distinct text by its first position in the caller's input."""
        return f"text {self.rows.index(row)}"

    def __iter__(self) -> Iterator[str]:
        """Read the texts once.

        Raises:
            InvalidTextError: An item is not text; the message names its position.
        """
        # Digests, not texts: the texts of a generator must not all stay in memory.
        seen: dict[bytes, int] = {}
        for position, text in enumerate(self._texts):
            digest = hashlib.blake2b(utf8(text, position=position), digest_size=16).digest()
            distinct = len(seen)
            row = seen.setdefault(digest, distinct)
            self.rows.append(row)
            if row == distinct:
                yield text


def tokenize_windows(
    texts: Iterable[str], tokenizer: Tokenizer, *, instruction: str
) -> Generator[TokenizedTexts, None, None]:
    """Tokenize window after window, each while the one before is being encoded.

    `texts` is read on the calling thread only: it may be a database cursor.
    """
    return _ahead(_windows(texts, characters=len), partial(tokenizer.encode, instruction=instruction))


def tokenize_pair_windows(
    pairs: Iterable[tuple[str, str]], tokenizer: Tokenizer, *, second_text: int
) -> Generator[TokenizedTexts, None, None]:
    """As `tokenize_windows`, for pairs of texts; see `Tokenizer.encode_pairs`."""
    windows = _windows(pairs, characters=lambda pair: len(pair[0]) + len(pair[1]))
    return _ahead(windows, partial(tokenizer.encode_pairs, second_text=second_text))


def _ahead(
    windows: Iterator[list[_Item]], tokenize: Callable[[list[_Item]], TokenizedTexts]
) -> Generator[TokenizedTexts, None, None]:
    current, following = next(windows, None), next(windows, None)
    if current is None:
        return
    if following is None:
        yield tokenize(current)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="tokenize") as background:
        tokenized = background.submit(tokenize, current)
        del current  # a window lives until it is tokenized
        while following is not None:
            ahead = background.submit(tokenize, following)
            yield tokenized.result()
            tokenized, following = ahead, next(windows, None)
        yield tokenized.result()


def encode_token_ids(
    runtime: Runtime,
    windows: Iterable[Sequence[Sequence[int]]],
    *,
    pad_token_id: int,
    max_length: int,
    on_progress: Callable[[int], object] | None = None,
    named: Callable[[int], str] = "text {}".format,
) -> NDArray[np.float32]:
    """Encode tokenized texts in planned batches.

    Args:
        runtime: The compiled encoder.
        windows: Any number of windows, each of any number of texts, one sequence of ids for each text.
        pad_token_id: The id of padding.
        max_length: The end of the grid of lengths.
        on_progress: Called after every batch with the number of texts in it.
        named: Function from a row to the text's name in errors, for callers whose input differs from these texts.

    Returns:
        Vectors in input order. Shape: (n_texts, dimension), float32.

    Raises:
        InvalidTextError: A text has no token.
        DamagedFilesError: A vector has NaN or infinity in it.
    """
    vectors = np.empty((0, runtime.dimension), dtype=np.float32)
    n_texts = 0
    # Closed in any case: its threads must not live as long as an error's traceback.
    rows_of_texts = encoded_rows(runtime, windows, pad_token_id=pad_token_id, max_length=max_length, named=named)
    with closing(rows_of_texts) as encoded:
        for indices, rows in encoded:
            n_texts = max(n_texts, max(indices) + 1)
            if n_texts > len(vectors):
                # Grown in place, by half, so that there is no second copy of everything.
                vectors.resize((n_texts + n_texts // 2, runtime.dimension), refcheck=False)
            vectors[list(indices)] = rows
            if on_progress is not None:
                on_progress(len(indices))
    vectors.resize((n_texts, runtime.dimension), refcheck=False)
    return vectors


def encoded_rows(
    runtime: Runtime,
    windows: Iterable[Sequence[Sequence[int]]],
    *,
    pad_token_id: int,
    max_length: int,
    named: Callable[[int], str] = "text {}".format,
) -> Generator[Rows, None, None]:
    """Encode tokenized texts in planned batches, as they come: of each batch its texts' places, and their rows.

    Arguments and errors are those of `encode_token_ids`. Close it, whatever happens.
    """
    windows = _with_tokens(windows, runtime, named=named)
    with closing(_encoded(runtime, windows, pad_token_id=pad_token_id, max_length=max_length)) as encoded:
        for indices, rows in encoded:
            spoilt = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if len(spoilt):
                first = min(indices[row] for row in spoilt)
                raise DamagedFilesError(
                    f"the model gives numbers that are not finite (NaN or infinity) for {named(first)}: its weights "
                    f"are damaged."
                )
            yield indices, rows


def require_tokens(
    token_ids: Sequence[Sequence[int]],
    runtime: Runtime,
    *,
    first: int = 0,
    named: Callable[[int], str] = "text {}".format,
) -> None:
    """Check that texts have as many tokens as the runtime needs; `first` is the place of the first one.

    Tokenizers that put special tokens around a text always give it enough.

    Raises:
        InvalidTextError: A text has no token.
    """
    least = runtime.least_tokens if isinstance(runtime, RaggedRuntime) else 1
    place = next((place for place, ids in enumerate(token_ids) if len(ids) < least), None)
    if place is not None:
        raise InvalidTextError(
            f"{named(first + place)} has no token: the model's tokenizer makes nothing of it and adds nothing of its "
            f"own, so there is nothing to encode. Leave out texts without a letter."
        )


def _with_tokens(
    windows: Iterable[Sequence[Sequence[int]]], runtime: Runtime, *, named: Callable[[int], str]
) -> Iterator[Sequence[Sequence[int]]]:
    first = 0
    for window in windows:
        require_tokens(window, runtime, first=first, named=named)
        yield window
        first += len(window)


def _windows(items: Iterable[_Item], *, characters: Callable[[_Item], int]) -> Iterator[list[_Item]]:
    window: list[_Item] = []
    size, held = FIRST_WINDOW, 0
    for item in items:
        window.append(item)
        held += characters(item)
        if len(window) == size or held >= WINDOW_CHARACTERS:
            yield window
            window, held = [], 0
            size = min(2 * size, LARGEST_WINDOW)
    if window:
        yield window


def _planned(windows: Iterable[Sequence[Sequence[int]]], *, max_length: int) -> Iterator[PlannedIds]:
    """Yield batches in the order to run them: the full ones of each window, and the others at the end."""
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


def _many(streams: int) -> int:
    """Return the number of batches from which running them side by side is faster: two a stream, measured with two.

    At most 8, by calculation: a batch of 512 tokens is too small to keep more than about 8 threads busy.
    """
    return min(2 * streams, 8)


def _encoded(
    runtime: Runtime, windows: Iterable[Sequence[Sequence[int]]], *, pad_token_id: int, max_length: int
) -> Generator[Rows, None, None]:
    """Encode windows as they are or in padded batches, whichever the runtime takes."""
    if isinstance(runtime, RaggedRuntime):
        return _ragged(runtime, windows)
    return _run(runtime, _planned(windows, max_length=max_length), pad_token_id=pad_token_id)


def _ragged(runtime: RaggedRuntime, windows: Iterable[Sequence[Sequence[int]]]) -> Generator[Rows, None, None]:
    n_texts = 0
    for window in windows:
        if len(window):
            yield tuple(range(n_texts, n_texts + len(window))), runtime.run_ragged(window)
        n_texts += len(window)


def _run(runtime: PaddedRuntime, batches: Iterator[PlannedIds], *, pad_token_id: int) -> Generator[Rows, None, None]:
    """Run few batches one after another with all threads each, many side by side with one thread each."""
    many = _many(runtime.streams)
    few = list(islice(batches, many))
    if len(few) < many or runtime.streams == 1:
        for batch, token_ids in chain(few, batches):
            yield batch.indices, runtime.run(*padded(token_ids, length=batch.length, pad_token_id=pad_token_id))
        return

    def encode(batch: Batch, token_ids: Sequence[Sequence[int]]) -> Rows:
        padded_ids = padded(token_ids, length=batch.length, pad_token_id=pad_token_id)
        return batch.indices, runtime.run_in_stream(*padded_ids)

    running: deque[Future[Rows]] = deque()
    pool = ThreadPoolExecutor(runtime.streams, thread_name_prefix="encode")
    try:
        for batch, token_ids in chain(few, batches):
            running.append(pool.submit(encode, batch, token_ids))
            # Twice as many as there are streams, so that no stream waits while the oldest result is taken.
            if len(running) > 2 * runtime.streams:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
