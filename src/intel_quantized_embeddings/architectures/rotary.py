"""Rotary positions (https://arxiv.org/abs/2104.09864), tabulated: the same bits on every machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.architectures.description import Rotary

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Half of pi in three parts, the first two with 33 and 32 bits: so many times the first two, up to 2^20, are exact in
# float64 (W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980).
_HALF_PI = tuple(float.fromhex(part) for part in ("0x1.921fb544p+0", "0x1.0b4611a6p-34", "0x1.3198a2e037073p-69"))

# Positions that are computed together: few enough that intermediate arrays are small beside the tables.
_ROWS = 1024

# Taylor's series up to pi / 4: the remaining terms are below 2^-57.
_SINE = tuple((-1) ** i / math.factorial(2 * i + 1) for i in range(9))
_COSINE = tuple((-1) ** i / math.factorial(2 * i) for i in range(10))


def inverse_frequencies(rotary: Rotary, head_size: int) -> NDArray[np.float32]:
    """Return the angle from one position to the next of each pair of numbers, as transformers rounds it.

    Args:
        rotary: The kind.
        head_size: Numbers in a head, even.

    Returns:
        Shape: (head_size / 2,).
    """
    exponents = (np.arange(0, head_size, 2, dtype=np.float32) / np.float32(head_size)).tolist()
    base = rotary.theta * rotary.ntk
    powers = np.array([base**exponent for exponent in exponents], dtype=np.float32)
    frequencies: NDArray[np.float32] = np.float32(1) / powers
    return frequencies / np.float32(rotary.ntk ** (2 / head_size))


def rotary_tables(frequencies: NDArray[np.float32], positions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Tabulate cosines and sines of the angles of positions from 0.

    Angles are rounded to float32 first, as transformers does: at thousands of positions that moves them by up to 2^-12.
    The rest is float64 sums and products, which every CPU rounds alike; libraries' sines differ.

    Args:
        frequencies: The result of `inverse_frequencies`.
        positions: The number of positions, at most 2^20.

    Returns:
        Cosines and sines. Shape of each: (positions, head_size / 2).
    """
    cosines, sines = (np.empty((positions, len(frequencies)), dtype=np.float32) for _ in range(2))
    for first in range(0, positions, _ROWS):
        some = np.arange(first, min(first + _ROWS, positions), dtype=np.float32)
        cosines[first : first + _ROWS], sines[first : first + _ROWS] = _cosines_and_sines(
            np.multiply.outer(some, frequencies).astype(np.float64)
        )
    return cosines, sines


def _cosines_and_sines(angles: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    turns = np.rint(angles / (math.pi / 2))
    rest = angles
    for part in _HALF_PI:
        rest = rest - turns * part
    square = rest * rest
    sine, cosine = rest * _series(_SINE, square), _series(_COSINE, square)
    quarter = turns.astype(np.int64) % 4
    odd = quarter % 2 == 1
    cosines = np.where(odd, sine, cosine) * np.where((quarter == 1) | (quarter == 2), -1.0, 1.0)
    sines = np.where(odd, cosine, sine) * np.where(quarter >= 2, -1.0, 1.0)
    return cosines, sines


def _series(factors: tuple[float, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.full_like(x, factors[-1])
    for factor in reversed(factors[:-1]):
        total = total * x + factor
    return total
