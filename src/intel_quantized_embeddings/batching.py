"""Lengths -> batches. Pure functions.

Padding is the largest cost on mixed texts, and every new (rows, length) shape costs a stall the first
time a runtime sees it. So texts are sorted by length, batches hold a bounded number of tokens, and
shapes come from a small grid: lengths are multiples of `LENGTH_STEP`, row counts are powers of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TOKEN_BUDGET = 2048
LENGTH_STEP = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that go through the encoder together.

    Attributes:
        indices: Their places in the input.
        length: The token length that all of them are padded to.
    """

    indices: tuple[int, ...]
    length: int


def padded_length(length: int, *, max_length: int) -> int:
    """Round a text's length in tokens up to the grid."""
    return min(-(-length // LENGTH_STEP) * LENGTH_STEP, max(max_length, length))


def plan_batches(lengths: Sequence[int], *, max_length: int, token_budget: int = TOKEN_BUDGET) -> list[Batch]:
    """Group texts of similar length, longest first.

    Args:
        lengths: Length of each text in tokens.
        max_length: The longest length the encoder takes; the grid ends there.
        token_budget: Most tokens in a batch, padding included, unless one text alone exceeds it.

    Returns:
        Batches that hold every index exactly once.
    """
    longest_first = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches = []
    start = 0
    while start < len(longest_first):
        length = padded_length(lengths[longest_first[start]], max_length=max_length)
        rows = _power_of_two_below(min(token_budget // max(length, 1), len(longest_first) - start))
        batches.append(Batch(tuple(longest_first[start : start + rows]), length))
        start += rows
    return batches


def _power_of_two_below(rows: int) -> int:
    """The largest power of two that is not above `rows`, and at least 1."""
    return 1 << (max(rows, 1).bit_length() - 1)
