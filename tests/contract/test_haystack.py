"""What the Haystack components promise beyond what every adapter does, in Haystack's own pipelines."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

pytest.importorskip("haystack", reason="haystack-ai is not installed: the `haystack` extra brings it")

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.core.errors import DeserializationError
from haystack.document_stores.in_memory import InMemoryDocumentStore

from intel_quantized_embeddings import CrossEncoder, Reranker
from intel_quantized_embeddings.errors import InvalidTextError, ModelFilesError, OptionError
from intel_quantized_embeddings.integrations.haystack import (
    IntelQuantizedDocumentEmbedder,
    IntelQuantizedRanker,
    IntelQuantizedTextEmbedder,
)
from support.spy_encoder import SpyEncoder

COMPONENTS = [IntelQuantizedTextEmbedder, IntelQuantizedDocumentEmbedder, IntelQuantizedRanker]
MODULE = "intel_quantized_embeddings.integrations.haystack"
TEXTS = ["the cat sat on the mat", "a cold river", "music and light in the old city"]
QUESTION = "what does the cat do?"


@pytest.fixture
def documents() -> list[Document]:
    return [Document(content=text, meta={"n": place}) for place, text in enumerate(TEXTS)]


@pytest.fixture
def text_embedder(tiny_int8, runtime) -> IntelQuantizedTextEmbedder:
    return IntelQuantizedTextEmbedder(tiny_int8, runtime=runtime)


@pytest.fixture
def document_embedder(tiny_int8, runtime) -> IntelQuantizedDocumentEmbedder:
    return IntelQuantizedDocumentEmbedder(tiny_int8, runtime=runtime)


@pytest.fixture
def ranker(tiny_int8, runtime) -> IntelQuantizedRanker:
    return IntelQuantizedRanker(tiny_int8, runtime=runtime)


def spied(component, tiny_encoder, **calling):
    """The component on an encoder that notes its calls, and that encoder."""
    spy = SpyEncoder(tiny_encoder, **calling)
    component._model = Reranker(spy) if isinstance(component, IntelQuantizedRanker) else spy
    return component, spy


def expected_scores(encoder) -> np.ndarray:
    return encoder.encode_documents(TEXTS) @ encoder.encode_queries([QUESTION])[0]


class TestEmbedders:
    def test_documents_are_copied_with_all_they_have(self, document_embedder, documents):
        embedded = document_embedder.run(documents)["documents"]
        assert [document.embedding for document in documents] == [None] * 3
        assert [(d.id, d.content, d.meta) for d in embedded] == [(d.id, d.content, d.meta) for d in documents]

    def test_metadata_is_put_before_the_content(self, tiny_int8, tiny_encoder):
        embedder, spy = spied(
            IntelQuantizedDocumentEmbedder(
                tiny_int8, meta_fields_to_embed=["title", "year"], embedding_separator=" | "
            ),
            tiny_encoder,
        )
        embedder.run(
            [
                Document(content="text", meta={"year": 1999, "title": "Cats", "other": "x"}),
                Document(content="text", meta={"title": None}),
                Document(meta={"title": "only"}),
            ]
        )
        assert spy.calls == [("documents", ["Cats | 1999 | text", "text", "only | "])]

    def test_likely_mistakes_are_named(self, text_embedder, document_embedder, documents):
        for mistake in ("text", ["text"], documents[0]):
            with pytest.raises(InvalidTextError, match=r"list of haystack\.Document"):
                document_embedder.run(mistake)
        with pytest.raises(InvalidTextError, match="text 0 is"):
            text_embedder.run(documents)


class TestRanker:
    def test_sorts_by_cosine_and_says_it(self, ranker, documents, tiny_encoder):
        ranked = ranker.run(QUESTION, documents)["documents"]
        scores = expected_scores(tiny_encoder)
        best_first = [int(place) for place in np.argsort(-scores)]
        assert [document.meta["n"] for document in ranked] == best_first
        np.testing.assert_allclose([document.score for document in ranked], scores[best_first], atol=1e-6)
        assert [document.score for document in documents] == [None] * 3

    def test_keeps_what_was_asked_for(self, tiny_int8, runtime, documents, tiny_encoder):
        second = sorted(expected_scores(tiny_encoder))[1] - 1e-5
        ranker = IntelQuantizedRanker(tiny_int8, runtime=runtime, top_k=1, score_threshold=0.0)
        assert len(ranker.run(QUESTION, documents)["documents"]) == 1
        assert len(ranker.run(QUESTION, documents, top_k=3)["documents"]) == 3
        assert len(ranker.run(QUESTION, documents, top_k=3, score_threshold=second)["documents"]) == 2
        assert ranker.run(QUESTION, documents, score_threshold=1.1) == {"documents": []}
        assert ranker.run(QUESTION, []) == {"documents": []}

    def test_keeps_a_document_once_and_equal_ones_in_order(self, ranker):
        same = [Document(content="the cat sat", meta={"n": n}) for n in range(3)]
        ranked = ranker.run(QUESTION, [*same, same[0]])["documents"]
        assert [document.meta["n"] for document in ranked] == [0, 1, 2]

    def test_embeds_metadata_too(self, tiny_int8, tiny_encoder):
        ranker, spy = spied(IntelQuantizedRanker(tiny_int8, meta_fields_to_embed=["title"]), tiny_encoder)
        ranker.run(QUESTION, [Document(content="text", meta={"title": "Cats"})])
        assert sorted(spy.calls) == [("documents", ["Cats\ntext"]), ("queries", [QUESTION])]

    def test_takes_a_cross_encoder(self, tiny_cross_encoder_int8, documents):
        ranked = IntelQuantizedRanker(tiny_cross_encoder_int8).run(QUESTION, documents)["documents"]
        scores = CrossEncoder.load(tiny_cross_encoder_int8).score([(QUESTION, text) for text in TEXTS])
        assert [document.meta["n"] for document in ranked] == np.argsort(-scores).tolist()
        assert [document.score for document in ranked] == sorted(scores.tolist(), reverse=True)

    @pytest.mark.parametrize("top_k", [0, -1, 1.5, True])
    def test_a_wrong_number_is_refused(self, ranker, documents, top_k):
        with pytest.raises(OptionError, match="top_k"):
            IntelQuantizedRanker(top_k=top_k)
        with pytest.raises(OptionError, match="top_k"):
            ranker.run(QUESTION, documents, top_k=top_k)


@pytest.mark.parametrize("made", COMPONENTS)
class TestComponents:
    def test_constructing_loads_nothing_and_warming_up_does(self, made, tmp_path):
        component = made(tmp_path / "nowhere")
        with pytest.raises(ModelFilesError, match="nowhere"):
            component.warm_up()

    def test_warming_up_again_encodes_nothing(self, made, tiny_encoder):
        """A pipeline warms its components up in every run: no query may wait for that."""
        component, spy = spied(made(), tiny_encoder)
        component.warm_up()
        assert spy.calls == []

    async def test_warming_up_can_be_awaited(self, made, tiny_int8, runtime):
        component = made(tiny_int8, runtime=runtime)
        await component.warm_up_async()
        assert component._model is not None

    def test_a_wrong_option_is_refused_at_once(self, made):
        with pytest.raises(OptionError, match="precision='int9'"):
            made(precision="int9")
        with pytest.raises(OptionError, match="model=None"):
            made(None)
        with pytest.raises(OptionError, match=r"precison: no such option.*precision"):
            made(precison="int8")

    def test_round_trip_through_a_dictionary(self, made, tmp_path):
        options = {"precision": "fp32", "query_instruction": "find ", "max_length": 32, "cache_folder": tmp_path}
        own = {
            "meta_fields_to_embed": ["title"],
            "embedding_separator": " ",
            "progress_bar": True,
            "top_k": 3,
            "score_threshold": 0.5,
        }
        if made is IntelQuantizedTextEmbedder:
            own = {"vector_type": "int8"}
        elif made is IntelQuantizedDocumentEmbedder:
            del own["top_k"], own["score_threshold"]
            own["vector_type"] = "binary"
        else:
            del own["progress_bar"]
        described = made("me/model", **options, **own).to_dict()
        parameters = described["init_parameters"]
        assert {name: parameters[name] for name in (*options, *own)} == {
            **options,
            **own,
            "cache_folder": str(tmp_path),
        }
        assert made.from_dict(described).to_dict() == described

    def test_components_of_the_same_options_share_the_encoder(self, made, tiny_int8, runtime, text_embedder):
        component = made(tiny_int8, runtime=runtime)
        ranks = made is IntelQuantizedRanker
        assert (component.reranker.model if ranks else component.encoder) is text_embedder.encoder

    async def test_the_event_loop_goes_on_meanwhile(self, made, tiny_encoder, documents):
        """Encoding waits until the event loop has run something else; on the loop's own thread that never comes."""
        going_on = threading.Event()
        component, _ = spied(
            made(), tiny_encoder, before_encoding=lambda: going_on.wait(timeout=10) or pytest.fail("no")
        )
        asyncio.get_running_loop().call_later(0.01, going_on.set)
        given = {"text": QUESTION, "documents": documents, "query": QUESTION}
        taken = [name for name in given if name in component.__haystack_input__._sockets_dict]
        answer = await component.run_async(**{name: given[name] for name in taken})
        again = component.run(**{name: given[name] for name in taken})
        assert answer == again


class TestPipelines:
    @pytest.fixture
    def store(self) -> InMemoryDocumentStore:
        return InMemoryDocumentStore(embedding_similarity_function="cosine")

    @pytest.fixture
    def searching(self, store, text_embedder, ranker, document_embedder, documents) -> Pipeline:
        """Retrieval and reranking over a store that another pipeline filled."""
        indexing = Pipeline()
        indexing.add_component("embedder", document_embedder)
        indexing.add_component("writer", DocumentWriter(store))
        indexing.connect("embedder", "writer")
        assert indexing.run({"embedder": {"documents": documents}}) == {"writer": {"documents_written": 3}}
        searching = Pipeline()
        searching.add_component("embedder", text_embedder)
        searching.add_component("retriever", InMemoryEmbeddingRetriever(store))
        searching.add_component("ranker", ranker)
        searching.connect("embedder.embedding", "retriever.query_embedding")
        searching.connect("retriever", "ranker")
        return searching

    async def test_index_retrieve_and_rerank(self, searching, tiny_encoder):
        best = int(np.argmax(expected_scores(tiny_encoder)))
        asked = {"embedder": {"text": QUESTION}, "ranker": {"query": QUESTION}}
        for answer in (searching.run(asked), await searching.run_async(asked)):
            ranked = answer["ranker"]["documents"]
            assert ranked[0].meta["n"] == best
            assert len(ranked) == 3

    def test_are_written_as_yaml_and_read_where_the_module_is_allowed(self, searching):
        written = searching.dumps()
        with pytest.raises(DeserializationError, match="allow"):
            Pipeline.loads(written)
        again = Pipeline.loads(written, allowed_modules=[MODULE])
        assert again.dumps() == written
        assert again.get_component("ranker").options == searching.get_component("ranker").options
