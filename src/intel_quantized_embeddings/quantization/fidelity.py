"""How close int8 vectors are to fp32 ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class CosineSummary:
    """Cosine between an int8 and an fp32 vector of the same text, over several texts."""

    mean: float
    percentile_1: float
    worst: float
    count: int

    def __str__(self) -> str:
        return f"mean {self.mean:.4f}, 1 % {self.percentile_1:.4f}, worst {self.worst:.4f} over {self.count} texts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Cosines on documents and on queries, texts that were not calibrated on."""

    documents: CosineSummary
    queries: CosineSummary

    @property
    def score(self) -> float:
        """What settings are compared by: the mean cosine, documents and queries weighing the same."""
        return (self.documents.mean + self.queries.mean) / 2


def summarize_cosines(fp32: NDArray[np.float32], int8: NDArray[np.float32]) -> CosineSummary:
    """Compare vectors row by row.

    Args:
        fp32: Shape: (n_texts, dimension).
        int8: The same texts in the same order. Shape: (n_texts, dimension).
    """
    lengths = np.linalg.norm(fp32, axis=1) * np.linalg.norm(int8, axis=1)
    cosines = np.einsum("nd,nd->n", fp32, int8) / np.maximum(lengths, 1e-12)
    return CosineSummary(
        mean=round(float(cosines.mean()), 6),
        percentile_1=round(float(np.percentile(cosines, 1)), 6),
        worst=round(float(cosines.min()), 6),
        count=len(cosines),
    )
