"""What `IntelQuantizedEmbedding` promises to LlamaIndex beyond what every adapter does."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading

import numpy as np
import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed: the `llama-index` extra brings it")

from llama_index.core import Document, Settings, StorageContext, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from intel_quantized_embeddings import Encoder, IntelQuantizedEmbedding
from intel_quantized_embeddings.errors import InvalidTextError
from support.each_runtime import each_runtime
from support.spy_encoder import SpyEncoder

TEXTS = ["the cat sat on the mat", "a cold river", "music and light in the old city", "why is the moon blue?"]
QUESTION = "what does the cat do?"


class SpiedEmbedding(IntelQuantizedEmbedding):
    """The adapter on an encoder that was loaded before."""

    _spy: SpyEncoder

    @property
    def encoder(self):
        return self._spy


@pytest.fixture
def embedding(tiny_int8, runtime) -> IntelQuantizedEmbedding:
    return IntelQuantizedEmbedding(model_name=str(tiny_int8), runtime=runtime)


@pytest.fixture
def make_spied(tiny_encoder):
    def make(**options) -> SpiedEmbedding:
        embedding = SpiedEmbedding(**options)
        embedding._spy = SpyEncoder(tiny_encoder)
        return embedding

    return make


@pytest.fixture
def as_document(tiny_encoder):
    return lambda text: tiny_encoder.encode_documents([text])[0].tolist()


@pytest.fixture
def as_query(tiny_encoder):
    return lambda text: tiny_encoder.encode_queries([text])[0].tolist()


@pytest.fixture
def settings(monkeypatch):
    """LlamaIndex's global settings, put back afterwards."""
    monkeypatch.setattr(Settings, "_embed_model", None)
    monkeypatch.setattr(Settings, "_callback_manager", None)
    return Settings


def best_first(encoder: Encoder, question: str) -> list[str]:
    """What a search must find, by brute force."""
    scores = encoder.encode_documents(TEXTS) @ encoder.encode_queries([question])[0]
    return [TEXTS[index] for index in np.argsort(-scores)]


class TestConstructing:
    def test_takes_a_path_and_keeps_its_text(self, tiny_int8, runtime, as_query):
        embedding = IntelQuantizedEmbedding(model_name=tiny_int8, runtime=runtime)
        assert embedding.model_name == str(tiny_int8)
        assert embedding.get_query_embedding("a cat") == as_query("a cat")


class TestCopies:
    def test_a_dictionary_round_trip_keeps_every_option(self, tiny_int8, runtime, tmp_path):
        embedding = IntelQuantizedEmbedding(
            model_name=tiny_int8,
            runtime=runtime,
            max_length=32,
            query_instruction="find ",
            cache_folder=tmp_path,
            embed_batch_size=7,
        )
        restored = IntelQuantizedEmbedding.from_dict(embedding.to_dict())
        assert restored.to_dict() == embedding.to_dict()
        assert restored.get_query_embedding(QUESTION) == embedding.get_query_embedding(QUESTION)

    def test_a_json_round_trip_keeps_every_option(self, tiny_int8, runtime, tmp_path):
        embedding = IntelQuantizedEmbedding(
            model_name=tiny_int8, runtime=runtime, cache_folder=tmp_path, normalize=True
        )
        assert IntelQuantizedEmbedding.from_json(embedding.to_json()).to_dict() == embedding.to_dict()

    @pytest.mark.parametrize("loaded", [False, True], ids=["before-loading", "after-loading"])
    def test_a_pickle_is_whole(self, tiny_int8, runtime, loaded, caplog):
        """LlamaIndex drops what does not pickle, and logs it; nothing of ours is dropped."""
        embedding = IntelQuantizedEmbedding(
            model_name=tiny_int8, runtime=runtime, max_length=32, embeddings_cache=SimpleKVStore()
        )
        if loaded:
            embedding.get_query_embedding(QUESTION)
        caplog.clear()  # loading may say what this CPU makes of int8
        with caplog.at_level(logging.DEBUG):
            restored = pickle.loads(pickle.dumps(embedding))
        assert caplog.records == []
        assert restored.embeddings_cache is not None
        options = {name: value for name, value in embedding.to_dict().items() if name != "embeddings_cache"}
        assert options.items() <= restored.to_dict().items()
        assert restored.get_text_embedding_batch(TEXTS) == embedding.get_text_embedding_batch(TEXTS)


class TestVectors:
    def test_have_the_instruction_of_their_kind(self, embedding, tiny_int8, runtime):
        bare = Encoder.load(tiny_int8, runtime=runtime, query_instruction="", document_instruction="")
        query, document = bare.encode_documents(["query: a cat", "document: a cat"]).tolist()
        assert embedding.get_query_embedding("a cat") == query
        assert embedding.get_agg_embedding_from_queries(["a cat"]) == pytest.approx(query)
        assert embedding.get_text_embedding("a cat") == document
        assert embedding.get_text_embedding_batch(["a cat"]) == [document]
        assert query != document


class TestBatches:
    def test_go_to_the_encoder_whole(self, make_spied):
        """LlamaIndex cuts to pieces of `embed_batch_size`; the encoder, which sorts by length, cuts better."""
        spied, texts = make_spied(), [f"text number {n}" for n in range(100)]
        assert spied.embed_batch_size == 2048
        spied.get_text_embedding_batch(texts)
        assert spied._spy.calls == [("documents", texts)]

    async def test_go_to_the_encoder_whole_from_async_code(self, make_spied):
        spied, texts = make_spied(), [f"text number {n}" for n in range(100)]
        await spied.aget_text_embedding_batch(texts)
        assert spied._spy.calls == [("documents", texts)]

    def test_a_given_batch_size_is_kept(self, make_spied):
        spied = make_spied(embed_batch_size=3)
        vectors = spied.get_text_embedding_batch(TEXTS)
        assert spied._spy.calls == [("documents", TEXTS[:3]), ("documents", TEXTS[3:])]
        assert vectors == spied._spy.real.encode_documents(TEXTS).tolist()


class TestAsync:
    @pytest.mark.parametrize("workers", [None, 2])
    async def test_pieces_come_back_in_order(self, tiny_int8, runtime, workers):
        embedding = IntelQuantizedEmbedding(
            model_name=tiny_int8, runtime=runtime, embed_batch_size=2, num_workers=workers
        )
        texts = [f"text number {n}" for n in range(9)]
        assert await embedding.aget_text_embedding_batch(texts) == embedding.get_text_embedding_batch(texts)

    @pytest.mark.parametrize(
        ("method", "given", "cached"),
        [
            ("aget_text_embedding", QUESTION, False),
            ("aget_text_embedding", QUESTION, True),
            ("aget_text_embedding_batch", TEXTS, True),
            ("aget_query_embedding", QUESTION, True),
        ],
    )
    async def test_the_event_loop_goes_on_meanwhile(self, make_spied, method, given, cached):
        """The encoder waits for a task of the loop, which it would never see if it held the loop."""
        spied = make_spied(embeddings_cache=SimpleKVStore() if cached else None)
        ticked = threading.Event()
        seen = []
        spied._spy.before_encoding = lambda: seen.append(ticked.wait(timeout=30))

        async def tick():
            while not spied._spy.calls:
                await asyncio.sleep(0.001)
            ticked.set()

        await asyncio.gather(getattr(spied, method)(given), tick())
        assert seen == [True]


class TestCache:
    """LlamaIndex keys its embeddings_cache by text alone, whatever the text is for."""

    def test_keeps_queries_and_documents_apart(self, make_spied, as_query, as_document):
        store = SimpleKVStore()
        spied = make_spied(embeddings_cache=store)
        for _ in range(2):
            assert spied.get_query_embedding("a cat") == as_query("a cat")
            assert spied.get_text_embedding("a cat") == as_document("a cat")
            assert spied.get_text_embedding_batch(["a cat"]) == [as_document("a cat")]
            assert spied.get_agg_embedding_from_queries(["a cat"]) == pytest.approx(as_query("a cat"))
        assert spied._spy.calls == [("queries", ["a cat"]), ("documents", ["a cat"])]

    async def test_keeps_them_apart_in_async_code(self, make_spied, as_query, as_document):
        spied = make_spied(embeddings_cache=SimpleKVStore())
        for _ in range(2):
            assert await spied.aget_query_embedding("a cat") == as_query("a cat")
            assert await spied.aget_text_embedding("a cat") == as_document("a cat")
            assert await spied.aget_text_embedding_batch(["a cat"]) == [as_document("a cat")]
        assert spied._spy.calls == [("queries", ["a cat"]), ("documents", ["a cat"])]

    async def test_keeps_them_apart_when_asked_at_the_same_time(self, embedding, as_query, as_document):
        embedding.embeddings_cache = SimpleKVStore()
        for _ in range(2):
            query, document, [batched] = await asyncio.gather(
                embedding.aget_query_embedding("a cat"),
                embedding.aget_text_embedding("a cat"),
                embedding.aget_text_embedding_batch(["a cat"]),
            )
            assert query == as_query("a cat")
            assert document == batched == as_document("a cat")

    def test_leaves_documents_where_llama_index_puts_them(self, make_spied, as_document):
        store = SimpleKVStore()
        spied = make_spied(embeddings_cache=store)
        spied.get_query_embedding("a question")
        spied.get_text_embedding_batch(["a document"])
        stored = store.get_all(collection="embeddings")
        assert {text: list(vectors.values()) for text, vectors in stored.items()} == {
            "a document": [as_document("a document")]
        }

    def test_uses_documents_that_llama_index_cached_before(self, make_spied, as_query):
        store = SimpleKVStore()
        store.put("a cat", {"any-id": [1.0, 2.0]}, collection="embeddings")
        spied = make_spied(embeddings_cache=store)
        assert spied.get_text_embedding_batch(["a cat"]) == [[1.0, 2.0]]
        assert spied.get_query_embedding("a cat") == as_query("a cat")

    def test_given_later_keeps_them_apart_too(self, embedding, as_query, as_document):
        embedding.embeddings_cache = SimpleKVStore()
        assert embedding.get_text_embedding("a cat") == as_document("a cat")
        assert embedding.get_query_embedding("a cat") == as_query("a cat")

    def test_of_another_type_is_refused(self):
        with pytest.raises(TypeError, match="BaseKVStore"):
            IntelQuantizedEmbedding(embeddings_cache={})


class TestInLlamaIndex:
    def test_an_index_over_chroma_finds_what_brute_force_finds(self, settings, embedding, tiny_encoder):
        chromadb = pytest.importorskip("chromadb", reason="chromadb comes with the `chroma` extra")
        stores = pytest.importorskip(
            "llama_index.vector_stores.chroma", reason="LlamaIndex's Chroma store comes with the `examples` extra"
        )
        settings.embed_model = embedding
        collection = chromadb.EphemeralClient().create_collection(
            f"llama-index-{embedding.runtime}", configuration={"hnsw": {"space": "cosine"}}
        )
        index = VectorStoreIndex(
            [TextNode(text=text) for text in TEXTS],
            storage_context=StorageContext.from_defaults(vector_store=stores.ChromaVectorStore(collection)),
        )
        found = index.as_retriever(similarity_top_k=len(TEXTS)).retrieve(QUESTION)
        assert [node.get_content() for node in found] == best_first(tiny_encoder, QUESTION)

    async def test_an_index_in_memory_finds_it_from_async_code(self, embedding, tiny_encoder):
        index = VectorStoreIndex([TextNode(text=text) for text in TEXTS], embed_model=embedding, use_async=False)
        found = await index.as_retriever(similarity_top_k=2).aretrieve(QUESTION)
        assert [node.get_content() for node in found] == best_first(tiny_encoder, QUESTION)[:2]

    def test_a_pipeline_embeds_and_its_cache_answers_the_second_run(self, make_spied, as_document):
        spied = make_spied()
        pipeline = IngestionPipeline(transformations=[spied])
        documents = [Document(text=text) for text in TEXTS]
        for _ in range(2):
            assert [node.embedding for node in pipeline.run(documents=documents)] == [as_document(t) for t in TEXTS]
        assert len(spied._spy.calls) == 1

    async def test_a_pipeline_embeds_from_async_code(self, embedding, as_document):
        nodes = await IngestionPipeline(transformations=[embedding]).arun(documents=[Document(text=t) for t in TEXTS])
        assert [node.embedding for node in nodes] == [as_document(text) for text in TEXTS]

    @pytest.mark.filterwarnings("ignore:Specified num_workers exceed")  # on a machine with one CPU
    @pytest.mark.timeout(180)
    @pytest.mark.parametrize(
        "loaded",
        [pytest.param(False, id="before-loading", marks=pytest.mark.slow), pytest.param(True, id="after-loading")],
    )
    def test_a_pipeline_embeds_in_several_processes(self, embedding, as_document, loaded):
        """`run` spawns them: each loads the model from its options."""
        if loaded:
            embedding.warm_up()
        nodes = IngestionPipeline(transformations=[embedding]).run(
            documents=[Document(text=text) for text in TEXTS], num_workers=2
        )
        assert [node.embedding for node in nodes] == [as_document(text) for text in TEXTS]

    @pytest.mark.filterwarnings("ignore:Specified num_workers exceed")  # on a machine with one CPU
    @pytest.mark.timeout(180)
    @each_runtime
    async def test_an_async_pipeline_embeds_in_forked_processes(self, embedding, as_document, monkeypatch):
        """`arun` forks them up to Python 3.13, in the middle of whatever this process was doing.

        TOKENIZERS_PARALLELISM=true would order the tokenizers library to use threads that a fork does not
        have, and hang; unset, it does without them.
        """
        monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
        texts = [f"text number {n}" for n in range(200)]
        embedding.get_text_embedding_batch(texts)
        nodes = await IngestionPipeline(transformations=[embedding]).arun(
            documents=[Document(text=text) for text in texts], num_workers=2
        )
        assert [node.embedding for node in nodes] == [as_document(text) for text in texts]


class TestObservability:
    def test_callbacks_see_queries_and_batches(self, tiny_int8, runtime, as_query, as_document):
        handler = LlamaDebugHandler(print_trace_on_end=False)
        embedding = IntelQuantizedEmbedding(
            model_name=tiny_int8, runtime=runtime, callback_manager=CallbackManager([handler])
        )
        embedding.get_query_embedding(QUESTION)
        embedding.get_text_embedding_batch(TEXTS)
        ends = [end.payload for _, end in handler.get_event_pairs(CBEventType.EMBEDDING)]
        assert [payload[EventPayload.CHUNKS] for payload in ends] == [[QUESTION], TEXTS]
        assert [payload[EventPayload.EMBEDDINGS] for payload in ends] == [
            [as_query(QUESTION)],
            [as_document(text) for text in TEXTS],
        ]

    def test_callbacks_of_the_settings_see_them_too(self, settings, embedding):
        handler = LlamaDebugHandler(print_trace_on_end=False)
        settings.embed_model = embedding
        settings.callback_manager = CallbackManager([handler])
        settings.embed_model.get_query_embedding(QUESTION)
        assert len(handler.get_event_pairs(CBEventType.EMBEDDING)) == 1

    async def test_instrumentation_sees_queries(self, embedding):
        seen = []

        class Handler(BaseEventHandler):
            def handle(self, event, **kwargs):
                if isinstance(event, EmbeddingEndEvent):
                    seen.append(event.chunks)

        root = get_dispatcher()
        handlers = list(root.event_handlers)
        root.add_event_handler(Handler())
        try:
            embedding.get_query_embedding(QUESTION)
            await embedding.aget_query_embedding(QUESTION)
        finally:
            root.event_handlers = handlers
        assert seen == [[QUESTION], [QUESTION]]


@pytest.mark.parametrize("bad", [None, float("nan"), 3])
async def test_what_is_not_text_is_refused_with_its_position_in_the_whole_list(tiny_int8, runtime, bad):
    """Not in the piece of `embed_batch_size` texts that LlamaIndex cuts."""
    embedding = IntelQuantizedEmbedding(model_name=str(tiny_int8), runtime=runtime, embed_batch_size=10)
    texts = ["fine"] * 25 + [bad]
    with pytest.raises(InvalidTextError, match="text 25 is"):
        embedding.get_text_embedding_batch(texts)
    with pytest.raises(InvalidTextError, match="text 25 is"):
        await embedding.aget_text_embedding_batch(texts)


def test_a_cache_still_has_what_the_users_store_has(tiny_int8, runtime, tmp_path):
    """SimpleKVStore's `persist` is reached through the embedding."""
    embedding = IntelQuantizedEmbedding(model_name=str(tiny_int8), runtime=runtime, embeddings_cache=SimpleKVStore())
    embedding.get_text_embedding("the cat")
    embedding.embeddings_cache.persist(str(tmp_path / "cache.json"))
    kept = SimpleKVStore.from_persist_path(str(tmp_path / "cache.json"))
    assert kept.get("the cat", collection="embeddings") is not None
