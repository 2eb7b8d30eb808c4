"""Tokenized texts -> sparse rows: a runtime's rows, zeros included, become SciPy's CSR a few texts at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.encoding.pipeline import encoded_rows
from intel_quantized_embeddings.errors import needs
from intel_quantized_embeddings.runtimes.base import Runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

# Numbers that are written out at a time: 64 MiB, 549 texts of BERT's vocabulary and 67 of XLM-RoBERTa's.
_NUMBERS_AT_ONCE = 1 << 24


def encode_sparse(
    runtime: Runtime,
    windows: Iterable[Sequence[Sequence[int]]],
    *,
    pad_token_id: int,
    max_length: int,
    on_progress: Callable[[int], object] | None = None,
    named: Callable[[int], str] = "text {}".format,
    max_active_dims: int | None = None,
) -> csr_array:
    """Encode tokenized texts; arguments and errors are those of `encode_token_ids`.

    Beside the result, memory holds the rows of a few hundred texts in full.

    Args:
        runtime: The compiled model.
        windows: Any number of windows, each of any number of texts, one sequence of ids for each text.
        pad_token_id: The id of padding.
        max_length: The end of the grid of lengths.
        on_progress: Called after every batch with the number of texts in it.
        named: Function from a row to the text's name in errors.
        max_active_dims: Number of weights that a row keeps: the largest, and of equal ones the first. None for all.

    Returns:
        Rows in input order, without zeros. Shape: (n_texts, vocabulary), float32.
    """
    with needs("scipy", extra="sparse", needed_for="A sparse model"):
        from scipy.sparse import csr_array, vstack

    order: list[int] = []
    parts = []
    encoded = encoded_rows(
        runtime,
        _smaller(windows, max(1, _NUMBERS_AT_ONCE // runtime.dimension)),
        pad_token_id=pad_token_id,
        max_length=max_length,
        named=named,
    )
    with closing(encoded):
        for indices, rows in encoded:
            order += indices
            parts.append(csr_array(rows if max_active_dims is None else strongest(rows, max_active_dims)))
            if on_progress is not None:
                on_progress(len(indices))
    if not parts:
        return csr_array((0, runtime.dimension), dtype=np.float32)
    together = vstack(parts, format="csr")
    if order != sorted(order):
        together = together[np.argsort(order)]
    return together


def strongest(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return rows that keep `count` of their numbers, the largest and of equal ones the first; the others are zeros.

    Numbers are compared without their sign, which only a table of weights may give them.
    """
    if count >= rows.shape[1]:
        return rows
    kept = np.zeros_like(rows)
    for row, to in zip(rows, kept, strict=True):
        places = np.flatnonzero(row)
        if len(places) > count:
            places = places[np.argsort(-np.abs(row[places]), kind="stable")[:count]]
        to[places] = row[places]
    return kept


def _smaller(windows: Iterable[Sequence[Sequence[int]]], texts: int) -> Iterator[Sequence[Sequence[int]]]:
    """Yield windows cut into parts of a number of texts."""
    for window in windows:
        for first in range(0, len(window), texts):
            yield window[first : first + texts]
