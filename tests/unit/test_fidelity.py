"""Summaries of cosines and of scores, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from intel_quantized_embeddings.int8_folder.fidelity import (
    CosineSummary,
    Fidelity,
    ScoreFidelity,
    summarize_cosines,
    summarize_scores,
)


def test_cosines_are_summarized_by_mean_percentile_and_worst():
    fp32 = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    int8 = np.array([[2.0, 0.0], [3.0, 4.0]], dtype=np.float32)  # cosines 1 and 0.6
    summary = summarize_cosines(fp32, int8)
    assert summary == CosineSummary(mean=0.8, percentile_1=0.604, worst=0.6, count=2)


def test_the_score_weighs_documents_and_queries_alike():
    documents = CosineSummary(mean=0.99, percentile_1=0.97, worst=0.9, count=100)
    queries = CosineSummary(mean=0.98, percentile_1=0.96, worst=0.9, count=10)
    assert Fidelity(documents=documents, queries=queries).score == pytest.approx(0.985)


def test_scores_are_summarized_by_rank_and_difference():
    """Ranks 1 2 3 4 beside 1 2 4 3 correlate by 1 - 6 * 2 / (4 * 15) = 0.8."""
    fp32 = np.array([0.0, 1.0, 2.0, 3.0], dtype=np.float32)
    int8 = np.array([0.5, 1.0, 3.0, 2.0], dtype=np.float32)
    assert summarize_scores(fp32, int8) == ScoreFidelity(
        rank_correlation=0.8, mean_difference=0.625, largest_difference=1.0, spread=1.118034, count=4
    )


def test_equal_scores_share_their_rank():
    """Ranks 1.5 1.5 3 beside 1 2 3: Pearson's of the two is sqrt(3) / 2."""
    fp32 = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    int8 = np.array([5.0, 5.0, 6.0], dtype=np.float32)
    assert summarize_scores(fp32, int8).rank_correlation == pytest.approx(3**0.5 / 2, abs=1e-6)
    assert summarize_scores(fp32, np.zeros(3, dtype=np.float32)).rank_correlation == 0
