"""Queries and keys of one size, number by number: attention in integers has one scale for a head's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.runtimes.native_shape import Shape, padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

# A factor is at most 2 to this power, and at least one by it.
_FURTHEST = 20


def balance(shape: Shape, weights: Array, sizes: Array) -> Array:
    """Return what to multiply each output of a `qkv` layer with: powers of two, (outputs,).

    A query's number times a key's is what counts, so what one is multiplied with the other is divided by. Powers of two
    change no bit of a score in floats, nor a code of the weights. The factors are those that make both numbers as large
    as each other, by the root mean squares that independent inputs would give them; values keep theirs. Models whose
    attention stays in floats (forward.h) have factors of 1. Weights are those of queries, keys and values, (outputs,
    inputs); sizes the root mean squares of the inputs, all times any one number, (inputs,).
    """
    factors = np.ones(len(weights), dtype=np.float32)
    if shape.rotary or shape.key_heads != shape.heads:
        return factors
    width = padded(shape.heads * shape.head_size)
    size = np.sqrt(np.square(weights[: 2 * width] * sizes).sum(axis=1, dtype=np.float64)).reshape(2, width)
    query, key = np.maximum(size, np.finfo(np.float32).tiny)
    powers = np.clip(np.rint(np.log2(key / query) / 2), -_FURTHEST, _FURTHEST)
    powers[(size == 0).any(axis=0)] = 0  # what pads, and what has no part in any score
    factors[: 2 * width] = np.exp2(np.concatenate([powers, -powers]))
    return factors
