"""A runtime that keeps the first numbers of every vector, for models trained for that (Matryoshka)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.runtimes.base import RaggedRuntime, Runtime
from intel_quantized_embeddings.vectors import truncated

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def truncated_runtime(runtime: Runtime, *, dimension: int, normalize: bool) -> TruncatedRagged | TruncatedPadded:
    """Cut another runtime's vectors to their first numbers; see `truncated`.

    If vectors have fewer, that is an OptionError.
    """
    if dimension > runtime.dimension:
        raise OptionError(
            f"truncate_dim={dimension} is not allowed for this model, whose vectors have {runtime.dimension} "
            f"numbers: pass fewer, or None for all."
        )
    if isinstance(runtime, RaggedRuntime):
        return TruncatedRagged(runtime=runtime, dimension=dimension, normalize=normalize)
    return TruncatedPadded(runtime=runtime, dimension=dimension, normalize=normalize)


@dataclass(frozen=True, kw_only=True)
class _Truncated:
    runtime: Any
    dimension: int
    normalize: bool

    @property
    def streams(self) -> int:
        """As of the other runtime."""
        streams: int = self.runtime.streams
        return streams

    def _cut(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return truncated(vectors, self.dimension, normalize=self.normalize)


class TruncatedRagged(_Truncated):
    """See `RaggedRuntime`."""

    @property
    def least_tokens(self) -> int:
        """As of the other runtime."""
        least: int = self.runtime.least_tokens
        return least

    def run_ragged(self, token_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """As the other runtime, cut."""
        return self._cut(self.runtime.run_ragged(token_ids))


class TruncatedPadded(_Truncated):
    """See `PaddedRuntime`."""

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """As the other runtime, cut."""
        return self._cut(self.runtime.run(input_ids, attention_mask))

    def run_in_stream(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """As the other runtime, cut."""
        return self._cut(self.runtime.run_in_stream(input_ids, attention_mask))
