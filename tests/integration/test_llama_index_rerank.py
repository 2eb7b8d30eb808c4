"""`IntelQuantizedRerank` in LlamaIndex, with either kind of model."""

from __future__ import annotations

import asyncio
import pickle
import threading

import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed: the `llama-index` extra brings it")

from llama_index.core import Document, Settings, VectorStoreIndex, get_response_synthesizer
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import ValidationError

from intel_quantized_embeddings import CrossEncoder, Encoder, IntelQuantizedEmbedding, IntelQuantizedRerank, Reranker
from intel_quantized_embeddings.errors import ModelFilesError, OptionError

QUERY = "where does the river end?"
TEXTS = ["the old city", "a river and the cold water", "the cat sat on the mat", "stone and fire"]


@pytest.fixture(scope="module", params=["bi-encoder", "cross-encoder"])
def folder(request, tiny_int8, tiny_cross_encoder_int8):
    return tiny_int8 if request.param == "bi-encoder" else tiny_cross_encoder_int8


@pytest.fixture
def nodes() -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=text), score=0.5) for text in TEXTS]


def texts_of(nodes) -> list[str]:
    return [node.node.get_content() for node in nodes]


def test_nodes_come_best_first_with_their_scores(folder, nodes):
    found = IntelQuantizedRerank(model=folder, top_n=2).postprocess_nodes(nodes, query_str=QUERY)
    expected = Reranker.load(folder).rank(QUERY, TEXTS, top_n=2)
    assert texts_of(found) == [TEXTS[one.index] for one in expected]
    assert [node.score for node in found] == [one.score for one in expected]
    assert [node.score for node in nodes] == [0.5] * len(nodes)


def test_a_node_is_read_with_the_metadata_it_is_embedded_with(folder):
    node = TextNode(text="the water", metadata={"title": "river", "file": "7"}, excluded_embed_metadata_keys=["file"])
    (found,) = IntelQuantizedRerank(model=folder).postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
    assert found.score == Reranker.load(folder).rank(QUERY, ["title: river\n\nthe water"])[0].score


def test_three_are_kept_unless_told_otherwise(folder, nodes):
    assert len(IntelQuantizedRerank(model=folder).postprocess_nodes(nodes, query_str=QUERY)) == 3
    assert len(IntelQuantizedRerank(model=folder, top_n=None).postprocess_nodes(nodes, query_str=QUERY)) == 4
    assert IntelQuantizedRerank(model=folder).postprocess_nodes([], query_str=QUERY) == []


def test_without_a_query_it_says_what_to_pass(nodes):
    with pytest.raises(OptionError, match="query_str="):
        IntelQuantizedRerank(model="m").postprocess_nodes(nodes)


async def test_async_gives_the_same_and_leaves_the_event_loop_free(folder, nodes, monkeypatch):
    rerank = IntelQuantizedRerank(model=folder)
    expected = rerank.postprocess_nodes(nodes, query_str=QUERY)
    released = threading.Event()
    rank = Reranker.rank
    monkeypatch.setattr(Reranker, "rank", lambda *given, **more: (released.wait(30), rank(*given, **more))[1])
    ranking = asyncio.ensure_future(rerank.apostprocess_nodes(nodes, query_str=QUERY))
    await asyncio.sleep(0.05)
    assert not ranking.done()
    released.set()
    assert texts_of(await ranking) == texts_of(expected)


def test_the_kind_of_model_follows_from_its_folder(tiny_int8, tiny_cross_encoder_int8):
    assert isinstance(IntelQuantizedRerank(model=tiny_int8).reranker.model, Encoder)
    assert isinstance(IntelQuantizedRerank(model=tiny_cross_encoder_int8).reranker.model, CrossEncoder)


def test_nothing_is_loaded_before_it_is_needed(folder):
    with pytest.raises(ModelFilesError, match="no/such-model"):
        IntelQuantizedRerank(model="no/such-model", local_files_only=True).warm_up()
    IntelQuantizedRerank(model=folder).warm_up()


@pytest.mark.parametrize("wrong", [{"top_k": 3}, {"top_n": 0}, {"precision": "int4"}, {}])
def test_what_is_not_allowed_is_refused_when_written(wrong):
    with pytest.raises((ValidationError, OptionError)):
        IntelQuantizedRerank(**({"model": "m", **wrong} if wrong else {}))


def test_copies_rank_alike(folder, nodes):
    rerank = IntelQuantizedRerank(model=folder, top_n=2, num_threads=1)
    expected = texts_of(rerank.postprocess_nodes(nodes, query_str=QUERY))
    pickled = pickle.dumps(rerank)
    assert len(pickled) < 10_000
    again = [pickle.loads(pickled), IntelQuantizedRerank.from_dict(rerank.to_dict())]
    assert [texts_of(one.postprocess_nodes(nodes, query_str=QUERY)) for one in again] == [expected] * 2
    assert [(one.top_n, one.num_threads) for one in again] == [(2, 1)] * 2


def test_it_ranks_in_a_query_engine_what_a_retriever_found(tiny_int8, folder, monkeypatch):
    monkeypatch.setattr(Settings, "_llm", MockLLM())
    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in TEXTS], embed_model=IntelQuantizedEmbedding(model_name=str(tiny_int8))
    )
    engine = RetrieverQueryEngine(
        retriever=index.as_retriever(similarity_top_k=4),
        response_synthesizer=get_response_synthesizer(llm=MockLLM(), response_mode="no_text"),
        node_postprocessors=[IntelQuantizedRerank(model=folder, top_n=2)],
    )
    expected = [TEXTS[one.index] for one in Reranker.load(folder).rank(QUERY, TEXTS, top_n=2)]
    assert texts_of(engine.query(QUERY).source_nodes) == expected


def test_callbacks_and_instrumentation_see_it(folder, nodes):
    handler = LlamaDebugHandler(print_trace_on_end=False)
    seen = []

    class Handler(BaseEventHandler):
        def handle(self, event, **_):
            seen.append(event.class_name())

    dispatcher = get_dispatcher("intel_quantized_embeddings.integrations.llama_index_rerank")
    dispatcher.add_event_handler(Handler())
    try:
        rerank = IntelQuantizedRerank(model=folder, callback_manager=CallbackManager([handler]))
        best = rerank.postprocess_nodes(nodes, query_str=QUERY)
    finally:
        dispatcher.event_handlers.clear()
    ((_, ended),) = handler.get_event_pairs(CBEventType.RERANKING)
    assert ended.payload["nodes"] == best
    assert seen == ["ReRankStartEvent", "ReRankEndEvent"]
