"""Cosine summaries, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from intel_quantized_embeddings.quantization.fidelity import CosineSummary, Fidelity, summarize_cosines


def test_cosines_are_summarized_by_mean_percentile_and_worst():
    fp32 = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    int8 = np.array([[2.0, 0.0], [3.0, 4.0]], dtype=np.float32)  # cosines 1 and 0.6
    summary = summarize_cosines(fp32, int8)
    assert summary == CosineSummary(mean=0.8, percentile_1=0.604, worst=0.6, count=2)


def test_the_score_weighs_documents_and_queries_alike():
    documents = CosineSummary(mean=0.99, percentile_1=0.97, worst=0.9, count=100)
    queries = CosineSummary(mean=0.98, percentile_1=0.96, worst=0.9, count=10)
    assert Fidelity(documents=documents, queries=queries).score == pytest.approx(0.985)
