"""What `IntelQuantizedEmbeddings` promises beyond LangChain's own tests."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed: the `langchain` extra brings it")

from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore

from intel_quantized_embeddings import Encoder, IntelQuantizedEmbeddings
from intel_quantized_embeddings.errors import InvalidTextError, ModelFilesError
from intel_quantized_embeddings.vectors import to_binary, to_int8
from support.each_runtime import each_runtime
from support.spy_encoder import SpyEncoder

TEXTS = ["the cat sat on the mat", "a cold river", "music and light in the old city", "why is the moon blue?"]
QUESTION = "what does the cat do?"


class SpiedEmbeddings(IntelQuantizedEmbeddings):
    """The adapter on an encoder that was loaded before."""

    _spy: SpyEncoder

    @property
    def encoder(self):
        return self._spy


@pytest.fixture
def embeddings(tiny_int8, runtime) -> IntelQuantizedEmbeddings:
    return IntelQuantizedEmbeddings(model=tiny_int8, runtime=runtime)


@pytest.fixture
def spied(tiny_encoder) -> SpiedEmbeddings:
    embeddings = SpiedEmbeddings()
    embeddings._spy = SpyEncoder(tiny_encoder)
    return embeddings


@pytest.fixture(scope="module")
def bare_encoder(tiny_int8, runtime) -> Encoder:
    """The same model without instructions."""
    return Encoder.load(tiny_int8, runtime=runtime, query_instruction="", document_instruction="")


def is_loaded(embeddings: IntelQuantizedEmbeddings) -> bool:
    return embeddings._loaded is not None


class TestConstructing:
    def test_touches_nothing_until_the_first_text(self):
        embeddings = IntelQuantizedEmbeddings(model="no/such-model", local_files_only=True)
        assert not is_loaded(embeddings)
        with pytest.raises(ModelFilesError, match="no/such-model"):
            embeddings.embed_query("text")

    def test_warm_up_loads_and_so_finds_what_is_missing(self, embeddings, tmp_path):
        embeddings.warm_up()
        assert is_loaded(embeddings)
        with pytest.raises(ModelFilesError, match="nowhere"):
            IntelQuantizedEmbeddings(model=tmp_path / "nowhere").warm_up()

    def test_without_arguments_means_bge_small_in_int8_on_its_own_runtime(self):
        embeddings = IntelQuantizedEmbeddings()
        assert (embeddings.model, embeddings.precision, embeddings.runtime) == (
            "BAAI/bge-small-en-v1.5",
            "int8",
            None,
        )

    def test_takes_model_and_model_name(self, tiny_int8, runtime):
        assert IntelQuantizedEmbeddings(model=tiny_int8, runtime=runtime) == IntelQuantizedEmbeddings(
            model_name=tiny_int8, runtime=runtime
        )

    def test_refuses_both_names_at_once(self):
        with pytest.raises(ValueError, match="model_name"):
            IntelQuantizedEmbeddings(model="a/b", model_name="c/d")

    def test_refuses_an_unknown_argument(self):
        with pytest.raises(ValueError, match="precison"):
            IntelQuantizedEmbeddings(precison="int8")

    @pytest.mark.parametrize(
        ("option", "value", "allowed"),
        [
            ("precision", "int9", "'int8', 'bf16', 'fp32'"),
            ("pooling", "average", "'cls'"),
            ("runtime", "onnx", "'openvino'"),
            ("vector_type", "int4", "'float32', 'int8', 'binary'"),
        ],
    )
    def test_refuses_a_misspelt_option_naming_what_is_allowed(self, option, value, allowed):
        with pytest.raises(ValueError, match=f"{option}='{value}'.*{allowed}"):
            IntelQuantizedEmbeddings(**{option: value})


class TestChangingAnOption:
    def test_is_checked_like_one_given_at_first(self, embeddings):
        with pytest.raises(ValueError, match="int9"):
            embeddings.precision = "int9"
        with pytest.raises(ValueError, match="precison"):
            embeddings.precison = "int8"

    def test_is_followed_by_the_next_text(self, embeddings, bare_encoder):
        embeddings.warm_up()
        embeddings.query_instruction = ""
        assert embeddings.embed_query(QUESTION) == bare_encoder.encode_queries([QUESTION])[0].tolist()

    def test_is_followed_by_a_copy_with_changes(self, embeddings, bare_encoder):
        with_instruction = embeddings.embed_query(QUESTION)
        changed = embeddings.model_copy(update={"query_instruction": ""})
        assert changed.embed_query(QUESTION) == bare_encoder.encode_queries([QUESTION])[0].tolist()
        assert embeddings.embed_query(QUESTION) == with_instruction


class TestCopies:
    @each_runtime
    @pytest.mark.parametrize("loaded", [False, True], ids=["before-loading", "after-loading"])
    def test_a_pickle_loads_nothing_until_used_and_gives_the_same_vectors(self, embeddings, loaded):
        if loaded:
            embeddings.warm_up()
        restored = pickle.loads(pickle.dumps(embeddings))
        assert not is_loaded(restored)
        assert restored.model_dump() == embeddings.model_dump()
        assert restored.embed_documents(TEXTS) == embeddings.embed_documents(TEXTS)

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
    def test_a_copy_before_loading_loads_nothing(self, embeddings, copied):
        other = copied(embeddings)
        assert not is_loaded(other)
        assert other.embed_query(QUESTION) == embeddings.embed_query(QUESTION)

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
    def test_a_copy_after_loading_shares_the_encoder(self, embeddings, copied):
        embeddings.warm_up()
        assert copied(embeddings).encoder is embeddings.encoder


class TestVectors:
    def test_are_the_encoders_in_lists_of_python_floats(self, embeddings, tiny_encoder):
        documents, query = embeddings.embed_documents(TEXTS), embeddings.embed_query(QUESTION)
        assert {type(number) for vector in [*documents, query] for number in vector} == {float}
        assert documents == tiny_encoder.encode_documents(TEXTS).tolist()
        assert query == tiny_encoder.encode_queries([QUESTION])[0].tolist()

    @pytest.mark.parametrize("kind", ["int8", "binary"])
    async def test_come_smaller_where_asked_for(self, tiny_int8, runtime, tiny_encoder, kind):
        embeddings = IntelQuantizedEmbeddings(model=tiny_int8, runtime=runtime, vector_type=kind)
        make = {"int8": to_int8, "binary": to_binary}[kind]
        documents = make(tiny_encoder.encode_documents(TEXTS)).tolist()
        assert embeddings.embed_documents(TEXTS) == documents == await embeddings.aembed_documents(TEXTS)
        query = make(tiny_encoder.encode_queries([QUESTION]))[0].tolist()
        assert embeddings.embed_query(QUESTION) == query == await embeddings.aembed_query(QUESTION)
        assert {type(number) for number in query} == {int}

    def test_have_the_instruction_of_their_kind(self, embeddings, bare_encoder):
        text = "the cat sat"
        query, document = bare_encoder.encode_documents([f"query: {text}", f"document: {text}"]).tolist()
        assert embeddings.embed_query(text) == query
        assert embeddings.embed_documents([text]) == [document]
        assert query != document

    def test_a_given_instruction_replaces_the_models(self, tiny_int8, runtime, bare_encoder):
        embeddings = IntelQuantizedEmbeddings(
            model=tiny_int8, runtime=runtime, query_instruction="find ", document_instruction=""
        )
        assert embeddings.embed_query("a cat") == bare_encoder.encode_queries(["find a cat"])[0].tolist()
        assert embeddings.embed_documents(["a cat"]) == bare_encoder.encode_documents(["a cat"]).tolist()

    def test_texts_reach_the_encoder_unaltered(self, spied):
        texts = ["two\nlines", "  spaces around ", "\ttab\r\n", "UPPER \u00e9e\u0301", ""]
        spied.embed_documents(texts)
        spied.embed_query(texts[0])
        assert spied._spy.calls == [("documents", texts), ("queries", texts[:1])]

    def test_of_no_texts_are_an_empty_list(self, embeddings):
        assert embeddings.embed_documents([]) == []

    def test_of_an_empty_text_are_finite_and_of_length_one(self, embeddings):
        for vector in (embeddings.embed_query(""), *embeddings.embed_documents([""])):
            assert np.isfinite(vector).all()
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)

    def test_what_is_not_text_is_named_by_its_position(self, embeddings):
        with pytest.raises(InvalidTextError, match="text 1 is 5 of type int"):
            embeddings.embed_documents(["one", 5])
        with pytest.raises(InvalidTextError, match="text 0 is None"):
            embeddings.embed_query(None)

    def test_one_string_for_a_list_is_refused_not_embedded_letter_by_letter(self, embeddings):
        with pytest.raises(InvalidTextError, match="list of strings"):
            embeddings.embed_documents("cat")

    def test_cut_texts_are_logged_once_a_call_with_their_number(self, embeddings, caplog):
        embeddings.warm_up()
        caplog.clear()  # loading may say what this CPU makes of int8
        with caplog.at_level(logging.WARNING, logger="intel_quantized_embeddings"):
            embeddings.embed_documents(["stone " * 200, "short", "river " * 200])
        assert [record.getMessage() for record in caplog.records] == [
            f"2 of 3 texts are longer than {embeddings.encoder.max_length} tokens; what is beyond was cut"
        ]

    def test_no_progress_bar_unless_asked_for(self, tiny_int8, runtime, capsys):
        IntelQuantizedEmbeddings(model=tiny_int8, runtime=runtime).embed_documents(TEXTS)
        assert capsys.readouterr().err == ""
        IntelQuantizedEmbeddings(model=tiny_int8, runtime=runtime, show_progress=True).embed_documents(TEXTS)
        assert "4/4" in capsys.readouterr().err


class TestAsync:
    async def test_vectors_are_those_of_the_sync_methods(self, embeddings):
        assert await embeddings.aembed_documents(TEXTS) == embeddings.embed_documents(TEXTS)
        assert await embeddings.aembed_query(QUESTION) == embeddings.embed_query(QUESTION)

    @pytest.mark.parametrize(("method", "given"), [("aembed_documents", TEXTS), ("aembed_query", QUESTION)])
    async def test_the_event_loop_goes_on_meanwhile(self, spied, method, given):
        """The encoder waits for a task of the loop, which it would never see if it held the loop."""
        ticked = threading.Event()
        seen = []
        spied._spy.before_encoding = lambda: seen.append(ticked.wait(timeout=30))

        async def tick():
            while not spied._spy.calls:
                await asyncio.sleep(0.001)
            ticked.set()

        await asyncio.gather(getattr(spied, method)(given), tick())
        assert seen == [True]


@each_runtime
def test_many_threads_at_once_load_once_and_get_the_right_vectors(tiny_int8, runtime, tiny_encoder):
    embeddings = IntelQuantizedEmbeddings(model=tiny_int8, runtime=runtime)
    texts = [
        [f"the {color} {thing} number {n}" for color in ("red", "blue") for thing in ("cat", "dog")] for n in range(8)
    ]
    barrier = threading.Barrier(8)

    def embed(own):
        barrier.wait()
        encoder = embeddings.encoder
        return encoder, [embeddings.embed_documents(own) for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(embed, texts))
    assert len({id(encoder) for encoder, _ in results}) == 1
    for own, (_, repeated) in zip(texts, results, strict=True):
        assert repeated == [tiny_encoder.encode_documents(own).tolist()] * 5


def best_first(encoder: Encoder, question: str) -> list[str]:
    """What a search must find, by brute force."""
    scores = encoder.encode_documents(TEXTS) @ encoder.encode_queries([question])[0]
    return [TEXTS[index] for index in np.argsort(-scores)]


class TestInLangChain:
    def test_retrieves_from_memory_in_a_chain(self, embeddings, tiny_encoder):
        store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
        chain = store.as_retriever(search_kwargs={"k": 2}) | RunnableLambda(
            lambda found: [document.page_content for document in found]
        )
        assert chain.invoke(QUESTION) == best_first(tiny_encoder, QUESTION)[:2]

    async def test_retrieves_from_memory_in_an_async_chain(self, embeddings, tiny_encoder):
        store = await InMemoryVectorStore.afrom_texts(TEXTS, embeddings)
        chain = store.as_retriever(search_kwargs={"k": 2}) | RunnableLambda(
            lambda found: [document.page_content for document in found]
        )
        assert await chain.ainvoke(QUESTION) == best_first(tiny_encoder, QUESTION)[:2]

    def test_a_chroma_collection_on_disk_is_searched_alike_when_opened_again(self, embeddings, tiny_encoder, tmp_path):
        chroma = pytest.importorskip("langchain_chroma", reason="langchain-chroma comes with the `examples` extra")

        def opened(embeddings):
            return chroma.Chroma(
                "texts",
                embedding_function=embeddings,
                persist_directory=str(tmp_path),
                collection_configuration={"hnsw": {"space": "cosine"}},
            )

        def search(store):
            return [
                (document.page_content, pytest.approx(distance, abs=1e-5))
                for document, distance in store.similarity_search_with_score(QUESTION, k=len(TEXTS))
            ]

        store = opened(embeddings)
        store.add_documents([Document(page_content=text) for text in TEXTS])
        found = search(store)
        assert [text for text, _ in found] == best_first(tiny_encoder, QUESTION)

        again = opened(pickle.loads(pickle.dumps(embeddings)))
        assert again.similarity_search_with_score(QUESTION, k=1)[0][0].page_content == found[0][0]
        assert [(text, distance.expected) for text, distance in search(again)] == found
