"""Balance queries and keys, number by number, because attention in integers has one scale for all numbers of a head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.runtimes.native_shape import Shape, padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

# A factor is at most 2 to this power, and at least the inverse of that.
_FURTHEST = 20


def balance(shape: Shape, weights: Array, sizes: Array) -> Array:
    """Return a factor for each output of a `qkv` layer: powers of two, (outputs,).

    Scores depend on products of a query's and a key's numbers, so one is multiplied and the other divided by the same
    factor. Powers of two change no bit of a score in floats, nor a code of the weights. The factors make both numbers
    equally large, by the root mean squares that independent inputs would give them; those of values are 1, and so are
    all in models whose attention stays in floats (forward.h).

    Args:
        shape: The model's sizes and choices.
        weights: The layer's weights: queries, keys and values. Shape: (outputs, inputs).
        sizes: Root mean squares of the inputs, up to a common factor. Shape: (inputs,).
    """
    factors = np.ones(len(weights), dtype=np.float32)
    if shape.rotary or shape.key_heads != shape.heads:
        return factors
    width = padded(shape.heads * shape.head_size)
    size = np.sqrt(np.square(weights[: 2 * width] * sizes).sum(axis=1, dtype=np.float64)).reshape(2, width)
    query, key = np.maximum(size, np.finfo(np.float32).tiny)
    powers = np.clip(np.rint(np.log2(key / query) / 2), -_FURTHEST, _FURTHEST)
    powers[(size == 0).any(axis=0)] = 0  # padding, and numbers without a part in any score
    factors[: 2 * width] = np.exp2(np.concatenate([powers, -powers]))
    return factors
