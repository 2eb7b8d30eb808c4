"""Ranking with either kind of model."""

from __future__ import annotations

import numpy as np
import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder, Reranker
from intel_quantized_embeddings.encoders.reranker import RankedDocument
from intel_quantized_embeddings.errors import InvalidTextError, OptionError

QUERY = "where does the river end?"
DOCUMENTS = ["the old city", "a river and the cold water", "the cat sat on the mat", "stone " * 50, "fire"]


@pytest.fixture(scope="module", params=["bi-encoder", "cross-encoder"])
def reranker(request, tiny_int8, tiny_cross_encoder_int8) -> Reranker:
    return Reranker.load(tiny_int8 if request.param == "bi-encoder" else tiny_cross_encoder_int8)


def test_the_kind_of_model_follows_from_its_folder(tiny, tiny_int8, tiny_cross_encoder, tiny_cross_encoder_int8):
    assert isinstance(Reranker.load(tiny, precision="fp32").model, Encoder)
    assert isinstance(Reranker.load(tiny_int8).model, Encoder)
    assert isinstance(Reranker.load(tiny_cross_encoder, precision="fp32").model, CrossEncoder)
    assert isinstance(Reranker.load(tiny_cross_encoder_int8).model, CrossEncoder)


def test_documents_come_best_first(reranker):
    scores = reranker.score(QUERY, DOCUMENTS)
    ranked = reranker.rank(QUERY, DOCUMENTS)
    assert sorted(one.index for one in ranked) == list(range(len(DOCUMENTS)))
    assert [one.score for one in ranked] == sorted(scores.tolist(), reverse=True)
    assert all(one.score == scores[one.index] for one in ranked)
    assert reranker.rank(QUERY, DOCUMENTS, top_n=2) == ranked[:2]
    assert reranker.rank(QUERY, DOCUMENTS, top_n=99) == ranked


def test_a_documents_score_does_not_depend_on_the_others(reranker):
    scores = reranker.score(QUERY, DOCUMENTS)
    assert [reranker.score(QUERY, [document])[0] for document in DOCUMENTS] == scores.tolist()


def test_equal_documents_stay_in_order(reranker):
    assert [one.index for one in reranker.rank(QUERY, ["fire"] * 3)] == [0, 1, 2]


def test_no_documents_give_no_ranking(reranker):
    assert reranker.rank(QUERY, []) == []


def test_a_bi_encoder_gives_cosines(tiny):
    """Whether or not its vectors have length 1, with the instruction of each kind."""
    encoder = Encoder.load(tiny, precision="fp32", normalize=False)
    query, documents = encoder.encode_queries([QUERY])[0], encoder.encode_documents(DOCUMENTS)
    expected = documents @ query / np.linalg.norm(documents, axis=1) / np.linalg.norm(query)
    found = Reranker(encoder).score(QUERY, DOCUMENTS)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


def test_a_cross_encoder_gives_its_own_scores(tiny_cross_encoder_int8):
    model = CrossEncoder.load(tiny_cross_encoder_int8)
    found = Reranker(model).rank(QUERY, DOCUMENTS, top_n=1)
    scores = model.score([(QUERY, document) for document in DOCUMENTS])
    assert found == [RankedDocument(index=int(scores.argmax()), score=float(scores.max()))]


@pytest.mark.parametrize(
    ("query", "documents", "message"),
    [
        (None, ["a"], "query is None"),
        ("q", "a text", "documents is 'a text'; a list of strings"),
        ("q", {"id": "a text"}, "documents is {'id': 'a text'}; a list of strings"),
        ("q", None, "documents is None; a list of strings"),
        ("q", ["a", None], "text 1 is None"),
    ],
)
def test_what_is_not_text_is_refused(reranker, query, documents, message):
    with pytest.raises(InvalidTextError, match=message):
        reranker.score(query, documents)


@pytest.mark.parametrize("top_n", [0, -1, 1.5, True, "2"])
def test_top_n_is_one_or_more(reranker, top_n):
    with pytest.raises(OptionError, match="top_n="):
        reranker.rank(QUERY, DOCUMENTS, top_n=top_n)


@pytest.mark.parametrize(
    "option", [{"pooling": "cls"}, {"normalize": True}, {"query_instruction": "q"}, {"document_instruction": ""}]
)
def test_a_cross_encoder_refuses_what_is_for_embeddings(tiny_cross_encoder_int8, option):
    with pytest.raises(OptionError, match="is for models that make embeddings"):
        Reranker.load(tiny_cross_encoder_int8, **option)
