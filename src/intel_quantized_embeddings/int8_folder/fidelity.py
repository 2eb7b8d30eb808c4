"""The closeness of int8 vectors and scores to fp32's."""

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
    """Cosines on documents and on queries that were held out from calibration."""

    documents: CosineSummary
    queries: CosineSummary

    @property
    def measure(self) -> str:
        """The name of `score`."""
        return "mean cosine"

    @property
    def score(self) -> float:
        """The score that settings are compared by: the mean cosine, with the same weight for documents and queries."""
        return (self.documents.mean + self.queries.mean) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFidelity:
    """The closeness of a cross-encoder's int8 scores to its fp32 scores, on held-out pairs.

    Scores are compared before any activation, which would press most of them together at its ends.

    Attributes:
        rank_correlation: Spearman's correlation of the two.
        mean_difference: Mean absolute difference.
        largest_difference: Largest absolute difference.
        spread: Standard deviation of the fp32 scores, to compare the differences with.
        count: Number of pairs.
    """

    rank_correlation: float
    mean_difference: float
    largest_difference: float
    spread: float
    count: int

    @property
    def measure(self) -> str:
        """The name of `score`."""
        return "rank correlation"

    @property
    def score(self) -> float:
        """The score that settings are compared by: the rank correlation."""
        return self.rank_correlation

    def __str__(self) -> str:
        return (
            f"rank correlation {self.rank_correlation:.4f}; difference {self.mean_difference:.4f} on average, "
            f"{self.largest_difference:.4f} at most, where scores spread by {self.spread:.4f}, over {self.count} pairs"
        )


def summarize_scores(fp32: NDArray[np.float32], int8: NDArray[np.float32]) -> ScoreFidelity:
    """Compare scores of the same pairs in the same order. Shape of both: (n_pairs,)."""
    differences = np.abs(int8 - fp32)
    return ScoreFidelity(
        rank_correlation=round(_correlation(_ranks(fp32), _ranks(int8)), 6),
        mean_difference=round(float(differences.mean()), 6),
        largest_difference=round(float(differences.max()), 6),
        spread=round(float(fp32.std()), 6),
        count=len(fp32),
    )


def summarize_cosines(fp32: NDArray[np.float32], int8: NDArray[np.float32]) -> CosineSummary:
    """Compare vectors of the same texts, row by row. Shape of both: (n_texts, dimension)."""
    cosines = row_cosines(fp32, int8)
    return CosineSummary(
        mean=round(float(cosines.mean()), 6),
        percentile_1=round(float(np.percentile(cosines, 1)), 6),
        worst=round(float(cosines.min()), 6),
        count=len(cosines),
    )


def row_cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine of each row to the same row of the other. Shape: (rows,)."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines: NDArray[np.float32] = np.einsum("nd,nd->n", one, other) / np.maximum(lengths, 1e-12)
    return cosines


def _ranks(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the rank of every score; equal scores share the mean of their ranks."""
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    return ranks


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return Pearson's correlation; 0 if one of the two is constant."""
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / scale if scale else 0.0
