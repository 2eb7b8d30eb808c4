"""The runtime of static models: rows of a table, added one after another."""

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
        flat = np.fromiter((token for ids in token_ids for token in ids), dtype=np.int64, count=int(lengths.sum()))
        if flat.min() < 0 or flat.max() >= self._table.tokens:
            raise DamagedFilesError(
                f"the token id {int(flat.max())} has no vector: the table has {self._table.tokens}, and the tokenizer "
                f"is of another model. Fetch the model again."
            )
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
