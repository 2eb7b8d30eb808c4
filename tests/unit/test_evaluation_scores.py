"""Rankings, scores, and the comparison of two encoders: against sums done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.evaluation import comparison
from intel_quantized_embeddings.evaluation.comparison import compare
from intel_quantized_embeddings.similarity import Similarity
from intel_quantized_embeddings.tasks.bm25 import bm25_candidates
from intel_quantized_embeddings.tasks.datasets import ClassificationDataset, RetrievalDataset, SimilarityDataset
from intel_quantized_embeddings.tasks.measure import Measurement, Metric, measure, relative_drop
from intel_quantized_embeddings.tasks.ranking import Embedded, overlap, rank, rerank, score
from support.retrieval import RetrievalSet, ndcg_at_10

for needed in ("pytrec_eval", "bm25s", "sklearn", "scipy"):
    pytest.importorskip(needed, reason=f"{needed} is not installed (the eval extra)")


@pytest.fixture
def few_resamples(monkeypatch):
    """A tenth of them: of a correlation each is computed alone, which takes milliseconds."""
    monkeypatch.setattr(comparison, "RESAMPLES", 500)


def _embedded(**vectors) -> Embedded:
    return Embedded.of(vectors, np.array(list(vectors.values()), dtype=np.float32))


def test_the_nearest_come_first_whatever_their_length_and_equal_ones_by_id():
    documents = _embedded(d3=[0, 5], d2=[1, 1], d1=[0, 0.1], d4=[1, 0])
    assert rank(documents, _embedded(q=[0, 2])) == {"q": ["d1", "d3", "d2", "d4"]}
    assert rank(documents, _embedded(q=[0, 2]), depth=2) == {"q": ["d1", "d3"]}
    assert rank(documents, _embedded(q=[0, 2]), excluded={"q": "d1"}, depth=2) == {"q": ["d3", "d2"]}
    assert rerank({"q": ["d4", "d3"]}, documents, _embedded(q=[0, 2])) == {"q": ["d3", "d4"]}


def test_scores_are_what_they_are_by_hand():
    relevant = {"b": {"d1": 2, "d2": 1}, "a": {"d9": 1}}
    ranking = {"b": ["d3", "d2", "d1"], "a": [f"d{i}" for i in range(8)]}
    found = score(ranking, relevant, ("ndcg_cut_10", "map", "recip_rank", "recall_100"))
    ideal = 2 + 1 / math.log2(3)
    np.testing.assert_allclose(found["ndcg_cut_10"], [(1 / math.log2(3) + 2 / math.log2(4)) / ideal, 0])
    np.testing.assert_allclose(found["map"], [(1 / 2 + 2 / 3) / 2, 0])
    np.testing.assert_allclose(found["recip_rank"], [1 / 2, 0])
    np.testing.assert_allclose(found["recall_100"], [1, 0])


def test_ndcg_agrees_with_a_plain_implementation():
    random = np.random.default_rng(0)
    documents = {f"d{i}": f"text {i}" for i in range(60)}
    queries = {f"q{i}": f"query {i}" for i in range(20)}
    relevant = {
        query: {f"d{i}": int(random.integers(0, 3)) for i in random.choice(60, 5, replace=False)} | {"d0": 1}
        for query in queries
    }
    # Few different numbers, so that there are ties.
    rows = random.integers(-1, 2, (60, 4)).astype(np.float32) + 0.5
    asked = random.integers(-1, 2, (20, 4)).astype(np.float32) + 0.5
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    ranking = rank(Embedded.of(documents, rows), Embedded.of(queries, asked))
    found = score(ranking, relevant, ("ndcg_cut_10",))["ndcg_cut_10"].mean()
    assert found == pytest.approx(ndcg_at_10(RetrievalSet(documents, queries, relevant), rows, asked), abs=0.02)


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [("cosine", "d1 d2 d3"), ("dot", "d2 d3 d1"), ("euclidean", "d1 d3 d2"), ("manhattan", "d1 d3 d2")],
)
def test_documents_are_ranked_by_the_similarity_that_is_asked_for(similarity, expected):
    vectors = {"d1": [1, 0], "d2": [9, 4], "d3": [2, 2]}
    documents, query = (
        Embedded.of(some, np.array(list(some.values()), np.float32), similarity=Similarity(similarity))
        for some in (vectors, {"q": [1, 0]})
    )
    assert rank(documents, query) == {"q": expected.split()}
    assert rerank({"q": ["d3", "d2", "d1"]}, documents, query) == {"q": expected.split()}


def test_overlap_counts_what_both_find_among_the_first():
    one = {"q": ["a", "b", "c"], "r": ["a", "b"]}
    other = {"q": ["b", "x", "a"], "r": ["a", "b"]}
    assert overlap(one, one) == 1
    assert overlap(one, other, depth=2) == pytest.approx((1 / 2 + 1) / 2)


def test_candidates_share_words_with_the_query():
    documents = {"d2": "rain on stone", "d1": "a cat on a mat", "d3": "the dog and the cat"}
    found = bm25_candidates(documents, {"q": "cat mat"}, count=2)
    assert found == {"q": ["d1", "d3"]}


class Words:
    """Counts of letters: a real, if poor, embedding."""

    def encode_documents(self, texts):
        return np.array([[text.count(letter) + 0.01 for letter in "abcdefghij"] for text in texts], dtype=np.float32)

    encode_queries = encode_documents


class Noise(Words):
    """The same, spoilt."""

    def encode_documents(self, texts):
        random = np.random.default_rng(len(texts[0]))  # documents and queries are spoilt differently
        return super().encode_documents(texts) + random.normal(0, 3, (len(texts), 10)).astype("f")

    encode_queries = encode_documents


@pytest.fixture
def retrieval():
    words = ["abcab", "cab", "dgf", "hij", "face", "bead", "jig", "dada", "fife", "hedge"]
    return RetrievalDataset(
        name="letters",
        documents={f"d{i}": word * 3 for i, word in enumerate(words)},
        queries={f"q{i}": word for i, word in enumerate(words)},
        relevant={f"q{i}": {f"d{i}": 1} for i in range(len(words))},
    )


def test_retrieval_is_perfect_where_vectors_are_and_worse_where_they_are_spoilt(retrieval):
    good, bad = measure(retrieval, Words()), measure(retrieval, Noise())
    assert [metric.name for metric in good.metrics] == [
        *("nDCG@10", "MAP", "MRR@10", "recall@100", "reranked MAP", "reranked MRR"),
    ]
    assert good.main == 1
    assert bad.main < 0.9
    assert relative_drop(good, bad) == pytest.approx(1 - bad.main)


class Lengths(Words):
    """Vectors whose lengths alone tell texts apart."""

    def encode_documents(self, texts):
        return np.array([[len(text), 0] for text in texts], dtype=np.float32)

    encode_queries = encode_documents


def test_similarity_and_retrieval_are_measured_by_the_one_that_is_asked_for(retrieval):
    pairs = SimilarityDataset(name="pairs", first=("a", "a", "a"), second=("aaaa", "aa", "a"), scores=(0.1, 0.5, 0.9))
    assert measure(pairs, Lengths()).main == 0  # every cosine is 1
    assert measure(pairs, Lengths(), similarity=Similarity.DOT).main == pytest.approx(-1)
    assert measure(pairs, Lengths(), similarity=Similarity.EUCLIDEAN).main == pytest.approx(1)
    longest = RetrievalDataset(
        name="longest",
        documents={"d1": "cat dog", "d2": "cat dog bird"},
        queries={"q": "cat"},
        relevant={"q": {"d2": 1}},
    )
    assert measure(longest, Lengths(), similarity=Similarity.DOT).main == 1
    assert measure(longest, Lengths(), similarity=Similarity.MANHATTAN).main < 1


def similarities(cosines):
    """What an encoder of such cosines reaches where people said 1, 2, 3, ..."""
    metric = Metric(name="Spearman", values=np.array(cosines), truth=np.arange(1.0, len(cosines) + 1))
    return Measurement(metrics=(metric,), vectors={})


@pytest.mark.parametrize("cosines", [[0.5, 0.5, 0.5, 0.5], [0.9, 0.8, 0.2, 0.1]], ids=["zero", "negative"])
def test_a_score_of_zero_or_below_has_no_share_to_lose(cosines):
    fp32 = similarities(cosines)
    with pytest.raises(OptionError, match=rf"fp32 scores {fp32.main:.4g} in Spearman on this dataset"):
        relative_drop(fp32, similarities([0.1, 0.2, 0.3, 0.4]))


@pytest.mark.usefixtures("few_resamples")
def test_worse_is_below_zero_where_the_reference_itself_is_negative():
    reference, worse = similarities([0.3, 0.9, 0.8, 0.1, 0.2, 0.15]), similarities([0.9, 0.8, 0.7, 0.3, 0.2, 0.1])
    assert reference.main < 0
    (difference,) = compare(reference, worse).differences
    assert difference.change == pytest.approx((worse.main - reference.main) / abs(reference.main))
    assert difference.low <= difference.change < 0
    assert difference.low < difference.high


def test_a_query_that_is_a_document_does_not_find_itself():
    texts = {"a": "abc", "b": "abcc", "c": "hij"}
    dataset = RetrievalDataset(name="arguments", documents=texts, queries={"a": "abc"}, relevant={"a": {"b": 1}})
    assert measure(dataset, Words()).main == 1


def test_mrr_stops_at_ten_and_recall_at_a_hundred():
    texts = {f"d{i:03}": "a" * (200 - i) + "b" * i for i in range(150)}
    dataset = RetrievalDataset(name="many", documents=texts, queries={"q": "a" * 50}, relevant={"q": {"d050": 1}})
    scores = {metric.name: metric.score for metric in measure(dataset, Words()).metrics}
    assert scores["MRR@10"] == 0
    assert scores["MAP"] == pytest.approx(1 / 51)
    assert scores["recall@100"] == 1


def test_classification_learns_from_one_part_and_scores_on_the_other():
    dataset = ClassificationDataset(
        name="letters",
        train_texts=tuple("ab" * n for n in range(1, 9)) + tuple("ij" * n for n in range(1, 9)),
        train_labels=("first",) * 8 + ("last",) * 8,
        test_texts=("abab", "jiji", "baba", "ij"),
        test_labels=("first", "last", "first", "first"),
    )
    assert measure(dataset, Words()).main == 0.75


def test_similarity_is_the_correlation_of_ranks():
    dataset = SimilarityDataset(name="p", first=("a", "a", "a"), second=("aab", "ab", "jj"), scores=(5.0, 3.0, 0.1))
    assert measure(dataset, Words()).main == pytest.approx(1)


def _measured(values, truth=None) -> Measurement:
    metric = Metric(name="score", values=np.array(values, dtype=float), truth=truth)
    return Measurement(metrics=(metric,), vectors={"texts": np.eye(3, dtype=np.float32)})


def test_no_change_has_no_interval():
    values = np.random.default_rng(0).random(100)
    (found,) = compare(_measured(values), _measured(values)).differences
    assert (found.change, found.low, found.high) == (0, 0, 0)
    assert found.is_noise


def test_the_interval_is_of_pairs():
    """What is hard for both widens nothing: a loss of 2 % in every query is no noise, however the queries differ."""
    values = np.random.default_rng(0).random(200)
    (found,) = compare(_measured(values), _measured(0.98 * values)).differences
    assert found.change == pytest.approx(-0.02)
    assert -0.023 < found.low < found.change < found.high < -0.017
    assert not found.is_noise


def test_the_interval_holds_the_true_change_about_as_often_as_it_says():
    random = np.random.default_rng(3)
    held = 0
    for _ in range(60):
        before = random.random(80)
        after = before + random.normal(0.01, 0.1, 80)
        (found,) = compare(_measured(before), _measured(after)).differences
        held += found.low <= 0.02 <= found.high
    assert 50 <= held <= 60


@pytest.mark.usefixtures("few_resamples")
def test_a_correlation_is_resampled_as_a_correlation():
    random = np.random.default_rng(0)
    truth = random.random(60)
    (found,) = compare(
        _measured(truth + random.normal(0, 0.1, 60), truth), _measured(truth + random.normal(0, 0.4, 60), truth)
    ).differences
    assert found.low < found.change < found.high < 0


def test_cosines_and_overlap_stand_beside(retrieval):
    good, bad = measure(retrieval, Words()), measure(retrieval, Noise())
    same, spoilt = compare(good, good), compare(good, bad)
    assert same.overlap == 1
    assert set(same.cosines) == {"documents", "queries"}
    assert same.cosines["queries"].worst == pytest.approx(1)
    assert spoilt.cosines["queries"].mean < 0.95
    assert spoilt.overlap == 1  # ten documents in all
