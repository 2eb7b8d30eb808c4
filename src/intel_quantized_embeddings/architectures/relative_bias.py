"""Biases of attention's scores by distance, tabulated: MPNet's, which is learned, and ALiBi's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.architectures.config import EncoderConfig
from intel_quantized_embeddings.architectures.layers import EncoderWeights

if TYPE_CHECKING:
    from numpy.typing import NDArray


def bias_by_offset(config: EncoderConfig, weights: EncoderWeights, reach: int) -> NDArray[np.float32] | None:
    """Tabulate an encoder's bias for every offset key - query in [-reach, reach]; None if it has none.

    Returns:
        Shape: (heads, 2 * reach + 1).
    """
    if config.block.alibi:
        distances = np.abs(np.arange(-reach, reach + 1, dtype=np.float32))
        return np.multiply.outer(-alibi_slopes(config.num_heads), distances)
    if weights.relative_attention_bias is not None:
        return relative_bias_by_offset(weights.relative_attention_bias, reach)
    return None


def alibi_slopes(heads: int) -> NDArray[np.float32]:
    """Return the slope of each head (https://arxiv.org/abs/2108.12409, section 3): 2^(-8 / heads) and its powers.

    If the number of heads is not a power of two, the slopes of the next smaller power come first, then every second
    slope of the next larger one, as in the authors' code.
    """
    smaller = 1 << (heads.bit_length() - 1)
    exponents = [8 * (i + 1) / smaller for i in range(smaller)]
    exponents += [4 * (2 * i + 1) / smaller for i in range(heads - smaller)]
    return np.array([2.0**-exponent for exponent in exponents], dtype=np.float32)


def relative_bias_by_offset(bias: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Tabulate the bias for every offset key - query in [-reach, reach].

    T5's bucketing (https://arxiv.org/abs/1910.10683, section 2.1), bidirectional, maximum distance
    128, as transformers computes it, in float32 so that bucket borders fall alike.

    Args:
        bias: The learned bias. Shape: (buckets, heads).
        reach: The largest distance.

    Returns:
        Shape: (heads, 2 * reach + 1).
    """
    buckets = bias.shape[0] // 2
    exact = buckets // 2
    distance = -np.arange(-reach, reach + 1)
    after_query = (distance < 0).astype(np.int64) * buckets
    distance = np.abs(distance)
    with np.errstate(divide="ignore"):
        logs = np.log(distance.astype(np.float32) / np.float32(exact)) / np.float32(math.log(128 / exact))
    far = exact + (np.maximum(logs, 0) * np.float32(buckets - exact)).astype(np.int64)
    bucket = after_query + np.where(distance < exact, distance, np.minimum(far, buckets - 1))
    return np.ascontiguousarray(bias[bucket].T)
