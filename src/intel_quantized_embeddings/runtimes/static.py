"""The runtimes of models without layers: rows of a table, added one after another, or weights of single tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.errors import DamagedFilesError
from intel_quantized_embeddings.models.static import StaticTable
from intel_quantized_embeddings.vectors import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StaticRuntime:
    """A `RaggedRuntime`. A text's row has the same bits in any call: its tokens' rows are added in order."""

    def __init__(self, table: StaticTable, *, normalize: bool) -> None:
        """Take a table; `normalize` scales rows to length 1."""
        self._table = table
        self._normalize = normalize

    @property
    def dimension(self) -> int:
        """Numbers in a row."""
        return int(self._table.rows.shape[1])

    @property
    def streams(self) -> int:
        """1: reading rows waits for memory, not for cores."""
        return 1

    @property
    def least_tokens(self) -> int:
        """0: the mean of no rows is zeros."""
        return 0

    def run_ragged(self, token_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the mean of each text's rows, zeros for a text without tokens; see `RaggedRuntime.run_ragged`.

        Raises:
            DamagedFilesError: A token has no row.
        """
        lengths = np.fromiter(map(len, token_ids), dtype=np.int64, count=len(token_ids))
        sums = np.zeros((len(token_ids), self.dimension), dtype=np.float32)
        if not lengths.any():
            return sums
        flat = _flat(token_ids, lengths)
        _refuse_unknown(flat, self._table.tokens, "vector")
        starts = np.cumsum(lengths) - lengths
        # Longest first: the texts that have a token at a place are the first ones.
        order = np.argsort(-lengths, kind="stable")
        starts, ordered = starts[order], lengths[order]
        added = np.zeros_like(sums)
        counts = np.searchsorted(-ordered, -np.arange(int(ordered[0])), side="left")
        for place, count in enumerate(counts.tolist()):
            added[:count] += self._rows(flat[starts[:count] + place])
        sums[order] = added / np.maximum(ordered, 1).astype(np.float32)[:, None]
        return unit(sums) if self._normalize else sums

    def _rows(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        table = self._table
        rows = table.rows[tokens if table.mapping is None else table.mapping[tokens]].astype(np.float32, copy=False)
        return rows if table.weights is None else rows * table.weights[tokens, None]


class WeightTableRuntime:
    """A `RaggedRuntime`. A text's row has the weights of its own tokens, however often each occurs."""

    def __init__(self, weights: NDArray[np.float32]) -> None:
        """Take the weight of each token id. Shape: (vocabulary,)."""
        self._weights = weights

    @property
    def dimension(self) -> int:
        """Numbers in a row: the vocabulary's size."""
        return len(self._weights)

    @property
    def streams(self) -> int:
        """1: reading weights waits for memory, not for cores."""
        return 1

    @property
    def least_tokens(self) -> int:
        """0: a text without tokens has no weights."""
        return 0

    def run_ragged(self, token_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return each text's weights, zeros for all other tokens; see `RaggedRuntime.run_ragged`.

        Raises:
            DamagedFilesError: A token has no weight.
        """
        rows = np.zeros((len(token_ids), self.dimension), dtype=np.float32)
        lengths = np.fromiter(map(len, token_ids), dtype=np.int64, count=len(token_ids))
        if lengths.any():
            flat = _flat(token_ids, lengths)
            _refuse_unknown(flat, self.dimension, "weight")
            rows[np.repeat(np.arange(len(token_ids)), lengths), flat] = self._weights[flat]
        return rows


def _flat(token_ids: Sequence[Sequence[int]], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the token ids of all texts, one after another."""
    return np.fromiter((token for ids in token_ids for token in ids), dtype=np.int64, count=int(lengths.sum()))


def _refuse_unknown(flat: NDArray[np.int64], tokens: int, what: str) -> None:
    if flat.min() < 0 or flat.max() >= tokens:
        raise DamagedFilesError(
            f"the token id {int(flat.max())} has no {what}: the table has {tokens}, and the tokenizer is of another "
            f"model. Fetch the model again."
        )
