"""Sparse models in LangChain's Qdrant: what its interface asks for, and hybrid search in memory."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from pydantic import ValidationError

from intel_quantized_embeddings import IntelQuantizedEmbeddings, SparseEncoder
from intel_quantized_embeddings.encoders.sparse_encoder import weights_of
from intel_quantized_embeddings.errors import UnsupportedModelError
from support.tiny_models import write_tiny_sparse, write_tiny_sparse_router

langchain_qdrant = pytest.importorskip("langchain_qdrant", reason="langchain-qdrant is not installed")
pytest.importorskip("scipy", reason="SciPy is not installed (the extra `sparse`)")

TEXTS = ["the cat sat on the mat", "a river of cold water", "stone and metal in the old city", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_sparse(tmp_path_factory.mktemp("sparse"), own={"prompts": {"query": "what is ", "document": ""}})


@pytest.fixture
def sparse(folder):
    from intel_quantized_embeddings.integrations.langchain_qdrant import IntelQuantizedSparseEmbeddings

    return IntelQuantizedSparseEmbeddings(model=folder)


def as_weights(vector) -> dict[int, float]:
    return dict(zip(vector.indices, vector.values, strict=True))


def test_vectors_are_the_encoders(sparse, folder):
    assert isinstance(sparse, langchain_qdrant.SparseEmbeddings)
    encoder = SparseEncoder.load(folder)
    assert list(map(as_weights, sparse.embed_documents(TEXTS))) == weights_of(encoder.encode_documents(TEXTS))
    assert as_weights(sparse.embed_query("a cat")) == weights_of(encoder.encode_queries(["a cat"]))[0]
    assert asyncio.run(sparse.aembed_documents(TEXTS)) == sparse.embed_documents(TEXTS)
    assert asyncio.run(sparse.aembed_query("a cat")) == sparse.embed_query("a cat")


def test_queries_of_an_inference_free_model_are_looked_up(sparse, tmp_path):
    folder = write_tiny_sparse_router(tmp_path)
    routed, encoder = type(sparse)(model=folder), SparseEncoder.load(folder)
    assert list(map(as_weights, routed.embed_documents(TEXTS))) == weights_of(encoder.encode_documents(TEXTS))
    assert as_weights(routed.embed_query("a cat")) == weights_of(encoder.for_queries.encode(["a cat"]))[0]
    assert as_weights(routed.embed_query("a cat")) != weights_of(encoder.encode(["a cat"]))[0]


def test_so_many_weights_are_kept(sparse):
    few = sparse.model_copy(update={"max_active_dims": 6})
    assert [len(vector.indices) for vector in few.embed_documents(TEXTS)] == [6] * len(TEXTS)
    with pytest.raises(ValidationError, match="max_active_dims=0 is not allowed"):
        type(sparse)(model="a", max_active_dims=0)


def test_objects_share_a_model_and_are_pickled_without_it(sparse):
    again = pickle.loads(pickle.dumps(sparse))
    assert again.embed_query("a cat") == sparse.embed_query("a cat")
    assert again.encoder is sparse.encoder


def test_an_embedder_is_refused(tiny, sparse):
    with pytest.raises(UnsupportedModelError, match="a sparse model is a Transformer with a masked-LM head"):
        type(sparse)(model=tiny).embed_query("a")


@pytest.mark.parametrize("mode", ["HYBRID", "SPARSE"])
def test_qdrant_finds_what_was_put_in(sparse, tiny, mode):
    store = langchain_qdrant.QdrantVectorStore.from_texts(
        TEXTS[:3],
        embedding=IntelQuantizedEmbeddings(model=tiny),
        sparse_embedding=sparse,
        retrieval_mode=langchain_qdrant.RetrievalMode[mode],
        location=":memory:",
    )
    found = store.similarity_search_with_score(TEXTS[1], k=3)
    assert {document.page_content for document, _ in found} == set(TEXTS[:3])
    if mode == "SPARSE":  # by dot products, to the rounding of Qdrant's own sums
        encoder = sparse.encoder
        products = (encoder.encode_queries([TEXTS[1]]) @ encoder.encode_documents(TEXTS[:3]).T).toarray()[0]
        by_text = dict(zip(TEXTS[:3], products.tolist(), strict=True))
        for document, score in found:
            assert score == pytest.approx(by_text[document.page_content], rel=1e-4)
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
