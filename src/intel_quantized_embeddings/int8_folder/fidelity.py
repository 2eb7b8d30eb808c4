"""The closeness of int8 vectors and scores to fp32's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

# Of so many of a sparse vector's weights, the largest, is seen how many int8 has too: about as many as searches use.
STRONGEST = 64


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseSummary:
    """The closeness of int8 to fp32 sparse vectors of the same texts.

    Attributes:
        mean: Cosine, the mean.
        percentile_1: Its first percentile.
        worst: The smallest one.
        overlap: The share of fp32's largest weights, `STRONGEST` of a text at most, that are among int8's largest.
        count: Texts.
    """

    mean: float
    percentile_1: float
    worst: float
    overlap: float
    count: int

    def __str__(self) -> str:
        return (
            f"cosine mean {self.mean:.4f}, 1 % {self.percentile_1:.4f}, worst {self.worst:.4f}; {self.overlap:.1%} of "
            f"the {STRONGEST} largest weights the same, over {self.count} texts"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseFidelity:
    """The closeness of sparse vectors on documents and on queries, texts that were not calibrated on.

    `queries` is None for a Router's that are looked up in a table, which is not quantized.
    """

    documents: SparseSummary
    queries: SparseSummary | None

    @property
    def measure(self) -> str:
        """The name of `score`."""
        return "mean cosine"

    @property
    def score(self) -> float:
        """The score that settings are compared by: the mean cosine, documents and queries weighing the same."""
        return self.documents.mean if self.queries is None else (self.documents.mean + self.queries.mean) / 2


def summarize_sparse(fp32: csr_array, int8: csr_array) -> SparseSummary:
    """Compare sparse vectors of the same texts, row by row. Shape of both: (n_texts, vocabulary).

    Two vectors without any weight are the same: their cosine is 1.
    """
    products = np.asarray(fp32.multiply(int8).sum(axis=1), dtype=np.float64)
    lengths = [np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1), dtype=np.float64)) for rows in (fp32, int8)]
    both = lengths[0] * lengths[1]
    cosines = np.where(both > 0, products / np.maximum(both, 1e-300), (lengths[0] == lengths[1]).astype(float))
    shares = [
        len(one & other) / max(len(one), 1) if one else float(not other)
        for one, other in zip(_largest(fp32), _largest(int8), strict=True)
    ]
    return SparseSummary(
        mean=round(float(cosines.mean()), 6),
        percentile_1=round(float(np.percentile(cosines, 1)), 6),
        worst=round(float(cosines.min()), 6),
        overlap=round(float(np.mean(shares)), 6),
        count=len(cosines),
    )


def _largest(rows: csr_array) -> list[set[int]]:
    """Return the places of each row's largest weights."""
    found = []
    for start, end in zip(rows.indptr, rows.indptr[1:], strict=False):
        order = np.argsort(-rows.data[start:end], kind="stable")[:STRONGEST]
        found.append(set(rows.indices[start:end][order].tolist()))
    return found


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


def summarize_vectors(fp32: Any, int8: Any) -> CosineSummary | SparseSummary:
    """Compare vectors of the same texts, dense or sparse both, by `summarize_cosines` or `summarize_sparse`."""
    return summarize_cosines(fp32, int8) if isinstance(fp32, np.ndarray) else summarize_sparse(fp32, int8)


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
