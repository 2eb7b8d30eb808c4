"""Lengths -> batches. Pure functions.

Padding is the largest cost on mixed texts, and every new (rows, length) shape costs a stall the first
time a runtime sees it. So the texts of a batch have one length, a batch holds a bounded number of tokens,
and shapes come from a small grid: lengths are multiples of a step, row counts are powers of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# One core works as fast on 512 tokens as on 2,048 (docs/benchmarks.md), and small batches spread better over cores.
TOKEN_BUDGET = 512
# Queries are mostly short, and padded in steps of 16 they would take longer (docs/benchmarks.md).
SHORT = 64
SHORT_STEP = 8
STEP = 16
# Beyond, steps grow with the length: a model of 8,192 tokens has 100 lengths instead of 516, and padding stays below
# an eighth of a text.
LONG = 512


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that go through the encoder together.

    Attributes:
        indices: The texts' places in the input.
        length: The length in tokens that all are padded to.
    """

    indices: tuple[int, ...]
    length: int


def padded_length(length: int, *, max_length: int) -> int:
    """Round a text's length in tokens up to the grid."""
    step = _step(length)
    return min(-(-max(length, 1) // step) * step, max(max_length, length))


def _step(length: int) -> int:
    """Return the grid's step at a length."""
    if length <= SHORT:
        return SHORT_STEP
    return STEP if length <= LONG else STEP * _largest_power_of_two((length - 1) // LONG) * 2


def most_rows(length: int, *, token_budget: int = TOKEN_BUDGET) -> int:
    """Return how many texts of a padded length fill a batch."""
    return _largest_power_of_two(token_budget // length)


def single_text_shapes(*, max_length: int) -> list[tuple[int, int]]:
    """Return every shape, (rows, length), that one text of up to `max_length` tokens can have."""
    shapes, length = [], 0
    while length < max_length:
        length = padded_length(length + 1, max_length=max_length)
        shapes.append((1, length))
    return shapes


def planned_shapes(*, max_length: int, token_budget: int = TOKEN_BUDGET) -> list[tuple[int, int]]:
    """Return every shape, (rows, length), that `plan_batches` can give texts of up to `max_length` tokens."""
    shapes = []
    for _, length in single_text_shapes(max_length=max_length):
        full = most_rows(length, token_budget=token_budget)
        shapes += [(1 << power, length) for power in range(full.bit_length())]
    return shapes


def plan_batches(lengths: Sequence[int], *, max_length: int, token_budget: int = TOKEN_BUDGET) -> list[Batch]:
    """Group texts by their padded length, longest first, into batches that hold every index exactly once.

    A text is always padded to its own length on the grid, whatever the other texts are, so that runtimes whose
    rounding depends on the padding still give it one vector. The grid ends at `max_length`; a batch has at most
    `token_budget` tokens, padding included, unless one text alone exceeds it.
    """
    by_length: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        by_length.setdefault(padded_length(length, max_length=max_length), []).append(index)
    batches = []
    for length, indices in sorted(by_length.items(), reverse=True):
        full = most_rows(length, token_budget=token_budget)
        start = 0
        while start < len(indices):
            rows = min(full, _largest_power_of_two(len(indices) - start))
            batches.append(Batch(tuple(indices[start : start + rows]), length))
            start += rows
    return batches


def _largest_power_of_two(rows: int) -> int:
    """Return the largest power of two that is not above `rows`, and at least 1."""
    return 1 << (max(rows, 1).bit_length() - 1)


def padded(
    token_ids: Sequence[Sequence[int]], *, pad_token_id: int, length: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pad token ids on the right, to `length` or that of the longest text.

    Returns the ids, and the mask, which is 1 for a text's own tokens. Shape of both: (n_texts, length), int64.
    """
    width = max(map(len, token_ids), default=0) if length is None else length
    input_ids = np.full((len(token_ids), width), pad_token_id, dtype=np.int64)
    attention_mask = np.zeros_like(input_ids)
    for row, ids in enumerate(token_ids):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    return input_ids, attention_mask
