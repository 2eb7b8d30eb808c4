"""What `IntelQuantizedEmbeddingFunction` promises beyond what every adapter does, in Chroma's embedded client."""

from __future__ import annotations

import gc
import json
import shutil
import weakref

import numpy as np
import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `chroma` extra brings it")

from chromadb import PersistentClient
from chromadb.config import Settings

from intel_quantized_embeddings.errors import InvalidTextError, ModelFilesError, OptionError, OtherEncoderError
from intel_quantized_embeddings.integrations.chroma import IntelQuantizedEmbeddingFunction

TEXTS = ["the cat sat on the mat", "a cold river", "music and light in the old city"]
QUESTION = "what does the cat do?"


@pytest.fixture
def function(tiny_int8, runtime) -> IntelQuantizedEmbeddingFunction:
    return IntelQuantizedEmbeddingFunction(tiny_int8, runtime=runtime)


@pytest.fixture
def client(tmp_path):
    return PersistentClient(tmp_path / "chroma", settings=Settings(anonymized_telemetry=False))


@pytest.fixture
def collection(client, function):
    collection = client.create_collection("docs", embedding_function=function)
    collection.add(ids=["a", "b", "c"], documents=TEXTS)
    return collection


def kept(collection) -> dict:
    """What the database says of the function."""
    return collection.configuration_json["embedding_function"]["config"]


class TestVectors:
    def test_stored_ones_are_documents_and_asked_ones_queries(self, collection, tiny_encoder):
        documents = tiny_encoder.encode_documents(TEXTS)
        stored = collection.get(ids=["a", "b", "c"], include=["embeddings"])["embeddings"]
        np.testing.assert_allclose(stored, documents, atol=1e-6)
        found = collection.query(query_texts=[QUESTION], n_results=3)
        distances = dict(zip(found["ids"][0], found["distances"][0], strict=True))
        expected = 1 - documents @ tiny_encoder.encode_queries([QUESTION])[0]
        np.testing.assert_allclose([distances[key] for key in "abc"], expected, atol=1e-5)
        as_document = 1 - documents @ tiny_encoder.encode_documents([QUESTION])[0]
        assert not np.allclose(expected, as_document, atol=1e-3)  # or the line above would show nothing

    def test_what_is_not_text_is_refused(self, collection):
        with pytest.raises(InvalidTextError, match="text 0 is array"):
            collection.add(ids=["d"], images=[np.zeros((2, 2))])


class TestCollection:
    def test_compares_by_cosine_unless_told_otherwise(self, client, collection, function):
        assert collection.configuration_json["hnsw"]["space"] == "cosine"
        other = client.create_collection("others", embedding_function=function, configuration={"hnsw": {"space": "ip"}})
        assert other.configuration_json["hnsw"]["space"] == "ip"

    def test_opened_without_naming_the_function_embeds_the_same(self, client, collection):
        again = client.get_collection("docs")
        distances, expected = (c.query(query_texts=[QUESTION])["distances"][0] for c in (again, collection))
        assert distances == pytest.approx(expected, abs=1e-5)
        again.add(ids=["d"], documents=[TEXTS[0]])
        one, two = again.get(ids=["a", "d"], include=["embeddings"])["embeddings"]
        np.testing.assert_allclose(one, two, atol=1e-5)

    def test_is_served_by_one_encoder_for_all_its_calls(self, client, collection):
        """Chroma builds the function anew for every call; the model is loaded once."""
        first = client.get_collection("docs").configuration["embedding_function"]
        first.warm_up()
        assert client.get_collection("docs").configuration["embedding_function"].encoder is first.encoder

    def test_holds_the_models_of_the_last_two_that_were_asked_and_no_more(self, client, tiny_int8, runtime):
        """Chroma drops the function after each call; a model is held for the next one, not as long as the process."""

        def ask(number: int) -> weakref.ref:
            return weakref.ref(client.get_collection(f"docs-{number}").configuration["embedding_function"].encoder)

        for number in range(3):
            function = IntelQuantizedEmbeddingFunction(tiny_int8, runtime=runtime, max_length=32 + number)
            client.create_collection(f"docs-{number}", embedding_function=function)
        del function
        IntelQuantizedEmbeddingFunction.release()
        first, second = ask(0), ask(1)
        gc.collect()
        assert ask(0)() is first() is not None  # not loaded again
        third = ask(2)
        gc.collect()
        assert (second(), first() is None, third() is None) == (None, False, False)
        IntelQuantizedEmbeddingFunction.release()
        gc.collect()
        assert (first(), third()) == (None, None)


class TestConfiguration:
    def test_gives_the_same_function_back(self, tmp_path):
        options = {
            "runtime": "openvino",
            "precision": "fp32",
            "revision": "v1",
            "pooling": "cls",
            "normalize": False,
            "max_length": 32,
            "truncate_dim": 16,
            "query_instruction": "find ",
            "document_instruction": "",
        }
        function = IntelQuantizedEmbeddingFunction("me/model", fingerprint="f", **options)
        config = json.loads(json.dumps(function.get_config()))
        assert config == {**options, "model": "me/model", "fingerprint": "f"}
        built = IntelQuantizedEmbeddingFunction.build_from_config(config)
        assert built.options == function.options
        assert built.get_config() == config

    def test_keeps_nothing_of_the_machine_and_no_permission(self, tmp_path, client, tiny_int8, runtime):
        function = IntelQuantizedEmbeddingFunction(
            tiny_int8,
            runtime=runtime,
            cache_folder=tmp_path / "own-cache",
            num_threads=1,
            local_files_only=True,
            allow_torchscript=True,
            warm_shapes=False,
        )
        collection = client.create_collection("docs", embedding_function=function)
        assert not {"cache_folder", "num_threads", "local_files_only", "allow_torchscript"} & set(kept(collection))
        assert "own-cache" not in json.dumps(collection.configuration_json)

    def test_holds_the_absolute_path_of_a_folder(self, tiny_int8, monkeypatch):
        monkeypatch.chdir(tiny_int8.parent)
        function = IntelQuantizedEmbeddingFunction(tiny_int8.name)
        assert function.get_config()["model"] == str(tiny_int8)

    @pytest.mark.parametrize(
        ("change", "told"),
        [({"alow_torchscript": True}, "alow_torchscript"), ({"precision": "int9"}, "precision='int9'")],
    )
    def test_that_is_none_is_refused(self, function, change, told):
        with pytest.raises(OptionError, match=told):
            IntelQuantizedEmbeddingFunction.build_from_config({**function.get_config(), **change})

    def test_of_a_model_that_is_gone_is_read_and_only_embedding_fails(self, client, tmp_path, tiny_int8, runtime):
        folder = shutil.copytree(tiny_int8, tmp_path / "int8")
        function = IntelQuantizedEmbeddingFunction(folder, runtime=runtime)
        client.create_collection("docs", embedding_function=function)
        shutil.rmtree(folder)
        collection = client.get_collection("docs")
        assert collection.configuration["embedding_function"].name() == "intel_quantized"
        with pytest.raises(ModelFilesError, match="no folder"):
            collection.query(query_texts=[QUESTION])


class TestFingerprint:
    def test_is_kept_once_the_model_is_loaded(self, client, function, tiny_encoder):
        assert kept(client.create_collection("before", embedding_function=function))["fingerprint"] is None
        function.warm_up()
        assert kept(client.create_collection("after", embedding_function=function))["fingerprint"] == (
            tiny_encoder.fingerprint
        )

    def test_of_another_encoder_is_refused(self, function):
        other = IntelQuantizedEmbeddingFunction.build_from_config({**function.get_config(), "fingerprint": "another"})
        with pytest.raises(OtherEncoderError, match="filled by the encoder another"):
            other(["text"])


class TestChangingTheFunction:
    def test_into_one_with_other_vectors_is_refused_and_can_be_put_back(self, client, collection, function, runtime):
        other = IntelQuantizedEmbeddingFunction(function.options.model, runtime=runtime, query_instruction="find ")
        with pytest.raises(OptionError, match="query_instruction from None to 'find '"):
            collection.modify(configuration={"embedding_function": other})
        collection.modify(configuration={"embedding_function": function})  # as the error says
        assert kept(client.get_collection("docs"))["query_instruction"] is None

    def test_a_folder_may_move_where_both_have_the_fingerprint(self, client, tiny_int8, runtime, tmp_path):
        here = IntelQuantizedEmbeddingFunction(tiny_int8, runtime=runtime)
        there = IntelQuantizedEmbeddingFunction(shutil.copytree(tiny_int8, tmp_path / "moved"), runtime=runtime)
        here.warm_up()
        collection = client.create_collection("docs", embedding_function=here)
        with pytest.raises(OptionError, match="warm_up"):
            collection.modify(configuration={"embedding_function": there})
        there.warm_up()
        collection.modify(configuration={"embedding_function": there})
        assert kept(client.get_collection("docs"))["model"] == str(tmp_path / "moved")


@pytest.mark.parametrize(("option", "value"), [("model", None), ("fingerprint", 5), ("model_name", "me/model")])
def test_a_wrong_option_is_refused_at_once(option, value):
    with pytest.raises(OptionError, match=option):
        IntelQuantizedEmbeddingFunction(**{option: value})
