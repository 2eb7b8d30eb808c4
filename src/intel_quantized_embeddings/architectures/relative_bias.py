"""MPNet's relative attention bias, tabulated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
