"""`IntelQuantizedReranker` in LangChain, with either kind of model."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed: the `langchain` extra brings it")

from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import ValidationError

from intel_quantized_embeddings import CrossEncoder, Encoder, IntelQuantizedEmbeddings, IntelQuantizedReranker, Reranker
from intel_quantized_embeddings.errors import InvalidTextError, ModelFilesError, OptionError

QUERY = "where does the river end?"
TEXTS = ["the old city", "a river and the cold water", "the cat sat on the mat", "stone and fire"]


@pytest.fixture(scope="module", params=["bi-encoder", "cross-encoder"])
def folder(request, tiny_int8, tiny_cross_encoder_int8):
    return tiny_int8 if request.param == "bi-encoder" else tiny_cross_encoder_int8


@pytest.fixture
def documents() -> list[Document]:
    return [Document(text, id=str(place), metadata={"place": place}) for place, text in enumerate(TEXTS)]


def test_documents_come_best_first_with_their_scores(folder, documents):
    before = copy.deepcopy(documents)
    found = IntelQuantizedReranker(model=folder, top_n=2).compress_documents(documents, QUERY)
    expected = Reranker.load(folder).rank(QUERY, TEXTS, top_n=2)
    assert [document.page_content for document in found] == [TEXTS[one.index] for one in expected]
    assert [document.metadata for document in found] == [
        {"place": one.index, "relevance_score": one.score} for one in expected
    ]
    assert [document.id for document in found] == [str(one.index) for one in expected]
    assert documents == before


def test_documents_may_come_from_any_iterable_and_what_is_none_is_named(folder, documents):
    reranker = IntelQuantizedReranker(model=folder)
    expected = reranker.compress_documents(documents, QUERY)
    assert reranker.compress_documents(iter(documents), QUERY) == expected
    for wrong in (None, "text", 3):
        with pytest.raises(InvalidTextError, match=r"documents is .*; a list of documents is expected"):
            reranker.compress_documents(wrong, QUERY)
    with pytest.raises(InvalidTextError, match="document 1 is 'text'; LangChain's Document is expected"):
        reranker.compress_documents([documents[0], "text"], QUERY)


def test_three_are_kept_unless_told_otherwise(folder, documents):
    assert len(IntelQuantizedReranker(model=folder).compress_documents(documents, QUERY)) == 3
    assert len(IntelQuantizedReranker(model=folder, top_n=None).compress_documents(documents, QUERY)) == 4
    assert IntelQuantizedReranker(model=folder).compress_documents([], QUERY) == []


async def test_async_gives_the_same_and_leaves_the_event_loop_free(folder, documents, monkeypatch):
    reranker = IntelQuantizedReranker(model=folder)
    expected = reranker.compress_documents(documents, QUERY)
    released = threading.Event()
    rank = Reranker.rank
    monkeypatch.setattr(Reranker, "rank", lambda *given, **more: (released.wait(30), rank(*given, **more))[1])
    ranking = asyncio.ensure_future(reranker.acompress_documents(documents, QUERY))
    await asyncio.sleep(0.05)
    assert not ranking.done()
    released.set()
    assert await ranking == expected


def test_the_kind_of_model_follows_from_its_folder(tiny_int8, tiny_cross_encoder_int8):
    assert isinstance(IntelQuantizedReranker(model=tiny_int8).reranker.model, Encoder)
    assert isinstance(IntelQuantizedReranker(model_name=tiny_cross_encoder_int8).reranker.model, CrossEncoder)


def test_nothing_is_loaded_before_it_is_needed(folder):
    reranker = IntelQuantizedReranker(model="no/such-model", local_files_only=True)
    with pytest.raises(ModelFilesError, match="no/such-model"):
        reranker.warm_up()
    IntelQuantizedReranker(model=folder).warm_up()


@pytest.mark.parametrize("wrong", [{"top_k": 3}, {"top_n": 0}, {"precision": "int4"}, {"top_n": "many"}, {}])
def test_what_is_not_allowed_is_refused_when_written(wrong):
    with pytest.raises((ValidationError, OptionError)):
        IntelQuantizedReranker(**({"model": "m", **wrong} if wrong else {}))


def test_a_pickle_is_small_and_ranks_alike(folder, documents):
    reranker = IntelQuantizedReranker(model=folder, top_n=2)
    expected = reranker.compress_documents(documents, QUERY)
    pickled = pickle.dumps(reranker)
    assert len(pickled) < 10_000
    assert pickle.loads(pickled).compress_documents(documents, QUERY) == expected


def test_it_ranks_in_a_chain_what_a_retriever_found(tiny_int8, folder):
    store = InMemoryVectorStore(IntelQuantizedEmbeddings(model=tiny_int8))
    store.add_texts(TEXTS)
    reranker = IntelQuantizedReranker(model=folder, top_n=1)
    chain = {"documents": store.as_retriever(), "query": RunnablePassthrough()} | RunnableLambda(
        lambda found: reranker.compress_documents(found["documents"], found["query"])
    )
    best = Reranker.load(folder).rank(QUERY, TEXTS, top_n=1)[0]
    assert [document.page_content for document in chain.invoke(QUERY)] == [TEXTS[best.index]]


def test_it_compresses_in_langchains_own_retriever(tiny_int8, folder):
    retrievers = pytest.importorskip(
        "langchain_classic.retrievers", reason="langchain-classic is not installed, where this retriever lives"
    )
    store = InMemoryVectorStore(IntelQuantizedEmbeddings(model=tiny_int8))
    store.add_texts(TEXTS)
    retriever = retrievers.ContextualCompressionRetriever(
        base_retriever=store.as_retriever(), base_compressor=IntelQuantizedReranker(model=folder, top_n=2)
    )
    expected = [TEXTS[one.index] for one in Reranker.load(folder).rank(QUERY, TEXTS, top_n=2)]
    assert [document.page_content for document in retriever.invoke(QUERY)] == expected
