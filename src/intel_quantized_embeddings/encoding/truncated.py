"""A runtime that keeps the first numbers of every vector, for models trained so that these suffice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.runtimes.base import Runtime
from intel_quantized_embeddings.vectors import truncated

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TruncatedRuntime:
    """Another runtime's vectors, cut; see `truncated`.

    Args:
        runtime: What makes them whole.
        dimension: How many numbers to keep.
        normalize: Whether to make them of length 1 again.

    Raises:
        OptionError: There are fewer numbers than that.
    """

    def __init__(self, runtime: Runtime, *, dimension: int, normalize: bool) -> None:
        if dimension > runtime.dimension:
            raise OptionError(
                f"truncate_dim={dimension} is not allowed for this model, whose vectors have {runtime.dimension} "
                f"numbers: pass fewer, or None for all."
            )
        self._runtime = runtime
        self._dimension = dimension
        self._normalize = normalize

    @property
    def dimension(self) -> int:
        """Numbers kept of a vector."""
        return self._dimension

    @property
    def streams(self) -> int:
        """As of the other runtime."""
        return self._runtime.streams

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """As the other runtime, cut."""
        return self._cut(self._runtime.run(input_ids, attention_mask))

    def run_in_stream(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """As the other runtime, cut."""
        return self._cut(self._runtime.run_in_stream(input_ids, attention_mask))

    def _cut(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return truncated(vectors, self._dimension, normalize=self._normalize)
