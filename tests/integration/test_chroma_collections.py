"""A Chroma collection that knows its encoder: opened by Chroma, LangChain and LlamaIndex, refused to any other."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `chroma` extra brings it")

import chromadb
from chromadb.config import Settings

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import OptionError, OtherEncoderError, VectorStoreError
from intel_quantized_embeddings.integrations.chroma_collections import (
    connect,
    create_collection,
    kept_fingerprint,
    open_collection,
)

TEXTS = ["the cat sat on the mat", "a cold river", "music and light in the old city"]


@pytest.fixture
def client(tmp_path):
    return connect(tmp_path / "chroma")


@pytest.fixture(scope="module")
def other_encoder(tiny_int8) -> Encoder:
    """The same weights, cutting texts earlier."""
    return Encoder.load(tiny_int8, max_length=32)


class TestOpening:
    def test_makes_a_collection_that_chroma_itself_can_ask(self, client, tiny_encoder):
        collection = open_collection(client, "docs", encoder=tiny_encoder, create=True)
        assert kept_fingerprint(collection) == tiny_encoder.fingerprint
        assert collection.configuration_json["hnsw"]["space"] == "cosine"
        collection.add(ids=["a", "b", "c"], documents=TEXTS)
        assert client.get_collection("docs").query(query_texts=[TEXTS[1]], n_results=1)["ids"] == [["b"]]

    def test_opens_it_again_with_the_same_encoder(self, client, tiny_encoder):
        made = open_collection(client, "docs", encoder=tiny_encoder, create=True)
        assert open_collection(client, "docs", encoder=tiny_encoder).id == made.id

    @pytest.mark.parametrize(("space", "warned"), [("ip", True), ("cosine", False), ("l2", False)])
    def test_warns_of_thresholds_where_scores_are_dot_products(self, client, tiny_encoder, space, warned):
        """LangChain's score of a text found by itself is 0 or 1 there, whichever way its product was rounded."""
        create_collection(client, "docs", encoder=tiny_encoder, hnsw={"space": space})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            open_collection(client, "docs", encoder=tiny_encoder)
        told = [str(warning.message) for warning in caught if "threshold" in str(warning.message)]
        assert bool(told) == warned
        assert all("'docs' compares by 'ip'" in message and "'cosine'" in message for message in told)

    def test_refuses_another_encoder_and_names_both_and_the_way_out(self, client, tiny_encoder, other_encoder):
        open_collection(client, "docs", encoder=tiny_encoder, create=True)
        with pytest.raises(OtherEncoderError) as refused:
            open_collection(client, "docs", encoder=other_encoder)
        for told in (tiny_encoder.fingerprint, other_encoder.fingerprint, "--reindex"):
            assert told in str(refused.value)

    def test_refuses_vectors_of_unknown_origin(self, client, tiny_encoder):
        unknown = client.create_collection("docs", embedding_function=None)
        unknown.add(ids=["a"], embeddings=[[0.5] * 32], documents=["text"])
        with pytest.raises(OtherEncoderError, match="does not say which encoder"):
            open_collection(client, "docs", encoder=tiny_encoder)

    def test_an_empty_collection_learns_its_encoder_and_keeps_its_settings(self, client, tiny_encoder, other_encoder):
        client.create_collection("docs", embedding_function=None, configuration={"hnsw": {"space": "ip"}})
        with pytest.warns(UserWarning, match="threshold"):
            opened = open_collection(client, "docs", encoder=tiny_encoder)
        assert opened.configuration_json["hnsw"]["space"] == "ip"
        with pytest.raises(OtherEncoderError, match=tiny_encoder.fingerprint):
            open_collection(client, "docs", encoder=other_encoder)

    def test_refuses_a_collection_of_another_embedding_function(self, client, tiny_encoder):
        client.create_collection("docs")  # Chroma's default model
        with pytest.raises(OtherEncoderError, match="another embedding function"):
            open_collection(client, "docs", encoder=tiny_encoder)

    def test_says_what_there_is_where_there_is_no_such_collection(self, client, tiny_encoder):
        with pytest.raises(OptionError, match="none at all"):
            open_collection(client, "docs", encoder=tiny_encoder)
        open_collection(client, "rivers", encoder=tiny_encoder, create=True)
        with pytest.raises(OptionError, match="'rivers'"):
            open_collection(client, "docs", encoder=tiny_encoder)

    def test_a_name_that_chroma_does_not_take_is_an_option_error(self, client, tiny_encoder):
        with pytest.raises(OptionError, match="collection='d'"):
            open_collection(client, "d", encoder=tiny_encoder, create=True)

    def test_a_second_of_the_same_name_is_not_made(self, client, tiny_encoder):
        create_collection(client, "docs", encoder=tiny_encoder, metadata={"of": "rivers"})
        with pytest.raises(VectorStoreError, match="already exists"):
            create_collection(client, "docs", encoder=tiny_encoder)


class TestLangChain:
    @pytest.fixture
    def adapter(self):
        pytest.importorskip("langchain_chroma", reason="langchain-chroma comes with the `examples` extra")
        from intel_quantized_embeddings import IntelQuantizedEmbeddings

        return IntelQuantizedEmbeddings

    def test_fills_and_asks_a_collection_that_was_opened_first(self, client, adapter, tiny_int8):
        from langchain_chroma import Chroma

        embeddings = adapter(model=str(tiny_int8))
        open_collection(client, "docs", encoder=embeddings.encoder, create=True)
        store = Chroma(client=client, collection_name="docs", embedding_function=embeddings)
        store.add_texts(TEXTS)
        assert store.similarity_search(TEXTS[1], k=1)[0].page_content == TEXTS[1]
        # LangChain left what the collection knows as it was.
        open_collection(client, "docs", encoder=embeddings.encoder)
        with pytest.raises(OtherEncoderError):
            open_collection(client, "docs", encoder=adapter(model=str(tiny_int8), max_length=32).encoder)


class TestLlamaIndex:
    def test_fills_and_asks_a_collection_that_was_opened_first(self, client, tiny_int8):
        pytest.importorskip("llama_index.vector_stores.chroma", reason="it comes with the `examples` extra")
        from llama_index.core import StorageContext, VectorStoreIndex
        from llama_index.core.schema import TextNode
        from llama_index.vector_stores.chroma import ChromaVectorStore

        from intel_quantized_embeddings import IntelQuantizedEmbedding

        embedding = IntelQuantizedEmbedding(model_name=str(tiny_int8))
        collection = open_collection(client, "docs", encoder=embedding.encoder, create=True)
        storage = StorageContext.from_defaults(vector_store=ChromaVectorStore(chroma_collection=collection))
        index = VectorStoreIndex(
            [TextNode(text=text) for text in TEXTS], storage_context=storage, embed_model=embedding
        )
        assert index.as_retriever(similarity_top_k=1).retrieve(TEXTS[1])[0].text == TEXTS[1]
        other = IntelQuantizedEmbedding(model_name=str(tiny_int8), max_length=32)
        with pytest.raises(OtherEncoderError):
            open_collection(client, "docs", encoder=other.encoder)


class TestConnecting:
    @pytest.mark.parametrize(
        "address",
        ["ftp://somewhere", "localhost:8000", "http://me:secret@localhost:8000", "http://localhost:8000/path"],
    )
    def test_refuses_what_is_neither_a_folder_nor_an_address(self, address):
        with pytest.raises(OptionError, match="http://"):
            connect(address)

    def test_says_that_a_server_does_not_answer(self):
        with pytest.raises(VectorStoreError, match=r"127\.0\.0\.1:9 can't be opened"):
            connect("http://127.0.0.1:9")

    def test_says_that_a_folder_is_open_with_other_settings_in_this_process(self, tmp_path):
        chromadb.PersistentClient(tmp_path, settings=Settings(anonymized_telemetry=False, allow_reset=True))
        with pytest.raises(VectorStoreError, match="different settings"):
            connect(tmp_path)


def test_only_an_encoder_that_says_how_it_was_loaded_can_be_kept(client, tiny_encoder):
    import copy

    made_by_hand = copy.copy(tiny_encoder)
    made_by_hand._options = None
    with pytest.raises(OptionError, match=r"Encoder\.load"):
        open_collection(client, "docs", encoder=made_by_hand, create=True)


def test_the_kept_configuration_is_json_with_plain_values(client, tiny_encoder):
    collection = open_collection(client, "docs", encoder=tiny_encoder, create=True)
    config = collection.configuration_json["embedding_function"]["config"]
    assert json.loads(json.dumps(config)) == config
    assert not [value for value in config.values() if isinstance(value, np.generic)]
