"""int8 beside fp32: the difference of every score with an interval, cosines, and the overlap of rankings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.errors import needs
from intel_quantized_embeddings.int8_folder.fidelity import (
    CosineSummary,
    SparseSummary,
    summarize_vectors,
)
from intel_quantized_embeddings.tasks.measure import Measurement, Metric, spearman
from intel_quantized_embeddings.tasks.ranking import overlap

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 5_000
CONFIDENCE = 0.95
SEED = 20260


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One score of two encoders on the same items, with the 95 % interval of its change from low to high.

    Attributes:
        reference: The score of the reference encoder.
        score: The score of the other encoder.
        change: The difference as a share of the absolute value of the reference's score: below 0 is worse. The plain
            difference if the reference scores 0.
    """

    metric: str
    reference: float
    score: float
    change: float
    low: float
    high: float

    @property
    def is_noise(self) -> bool:
        """Whether the interval contains 0."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One encoder beside another on one dataset."""

    differences: tuple[Difference, ...]  # of every metric
    # Of vectors of the same text, by kind of text; none if sizes differ.
    cosines: dict[str, CosineSummary | SparseSummary]
    overlap: float | None  # share of the first ten documents that both find; None but for retrieval


def compare(reference: Measurement, other: Measurement) -> Comparison:
    """Compare two encoders' measurements of one dataset.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    return Comparison(
        differences=tuple(
            _difference(before, after) for before, after in zip(reference.metrics, other.metrics, strict=True)
        ),
        cosines={
            kind: summarize_vectors(vectors, other.vectors[kind])
            for kind, vectors in reference.vectors.items()
            if type(vectors) is type(other.vectors[kind]) and vectors.shape == other.vectors[kind].shape
        },
        overlap=overlap(reference.ranking, other.ranking) if reference.ranking else None,
    )


def _difference(reference: Metric, other: Metric) -> Difference:
    """Return the change with its percentile interval of a paired bootstrap (Efron and Tibshirani 1993, chapter 13).

    Items (queries, texts, pairs) are drawn with replacement, the same ones for both encoders, so that items that are
    hard for both do not widen the interval.
    """
    with needs("scipy", extra="eval", needed_for="The interval of a difference"):
        from scipy.stats import bootstrap

    samples = [reference.values, other.values]
    if reference.truth is not None:
        samples.append(reference.truth)
    interval = bootstrap(
        samples,
        _mean_difference if reference.truth is None else _correlation_difference,
        vectorized=reference.truth is None,
        paired=True,
        n_resamples=RESAMPLES,
        batch=100,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    scale = abs(reference.score) or 1.0  # a correlation may be negative
    return Difference(
        metric=reference.name,
        reference=reference.score,
        score=other.score,
        change=(other.score - reference.score) / scale,
        low=float(interval.low) / scale,
        high=float(interval.high) / scale,
    )


def _mean_difference(before: NDArray[np.float64], after: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the differences of the means of many samples at once."""
    difference: NDArray[np.float64] = (after - before).mean(axis=axis)
    return difference


def _correlation_difference(
    before: NDArray[np.float64], after: NDArray[np.float64], truth: NDArray[np.float64]
) -> float:
    return spearman(after, truth) - spearman(before, truth)
