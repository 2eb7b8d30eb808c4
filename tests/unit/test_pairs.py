"""Pairs that a cross-encoder is calibrated on."""

from __future__ import annotations

from intel_quantized_embeddings.quantization.calibration import Texts, built_in_texts, split
from intel_quantized_embeddings.quantization.inputs import pairs_of


def test_every_document_meets_a_query_and_every_other_one_its_own_first_sentence():
    texts = Texts(documents=("One here. More.", "Two! More.", "three has no end"), queries=("a", "b"))
    assert pairs_of(texts) == [
        ("a", "One here. More."),
        ("b", "Two! More."),
        ("a", "three has no end"),
        ("One here.", "One here. More."),
        ("three has no end", "three has no end"),
    ]


def test_more_queries_than_documents_are_all_used():
    texts = Texts(documents=("One.", "Two."), queries=("a", "b", "c"))
    assert [query for query, _ in pairs_of(texts)][:3] == ["a", "b", "c"]


def test_the_built_in_halves_share_no_pair():
    halves = split(built_in_texts())
    calibrated, held_out = pairs_of(halves.calibrated), pairs_of(halves.held_out)
    assert set(calibrated).isdisjoint(held_out)
    assert min(len(calibrated), len(held_out)) >= 140
    assert all(query and len(query) <= 200 for query, _ in calibrated + held_out)
