"""The tests' own nDCG, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from support.retrieval import RetrievalSet, ndcg_at_10


def test_ndcg_of_a_ranking_worked_out_by_hand():
    data = RetrievalSet({"a": "", "b": "", "c": ""}, {"q": ""}, {"q": {"a": 1, "c": 1}})
    documents = np.array([[0.9], [0.8], [0.7]])
    expected = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert ndcg_at_10(data, documents, np.array([[1.0]])) == pytest.approx(expected)


def test_ties_are_broken_by_document_id_not_by_order():
    data = RetrievalSet({"b": "", "a": ""}, {"q": ""}, {"q": {"a": 1}})
    assert ndcg_at_10(data, np.array([[1.0], [1.0]]), np.array([[1.0]])) == 1.0
