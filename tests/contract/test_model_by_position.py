"""Every class that loads a model takes it as the first argument without a name, as `Encoder.load` does, or with one."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path

import pytest

from intel_quantized_embeddings.errors import OptionError

FIELDS = {
    "langchain.IntelQuantizedEmbeddings": "model",
    "langchain_reranker.IntelQuantizedReranker": "model",
    "langchain_qdrant.IntelQuantizedSparseEmbeddings": "model",
    "llama_index.IntelQuantizedEmbedding": "model_name",
    "llama_index_rerank.IntelQuantizedRerank": "model",
}
OTHERS = [
    "haystack.IntelQuantizedTextEmbedder",
    "haystack.IntelQuantizedDocumentEmbedder",
    "haystack.IntelQuantizedRanker",
    "chroma.IntelQuantizedEmbeddingFunction",
]


def loaded(name):
    module, _, attribute = name.partition(".")
    try:
        return getattr(importlib.import_module(f"intel_quantized_embeddings.integrations.{module}"), attribute)
    except ImportError as exc:
        pytest.skip(f"{exc}")


@pytest.mark.parametrize("name", FIELDS)
class TestFields:
    def test_the_model_needs_no_name(self, name):
        kind, field = loaded(name), FIELDS[name]
        by_position = kind("me/model", max_length=32)
        assert getattr(by_position, field) == "me/model"
        assert by_position.max_length == 32
        assert getattr(pickle.loads(pickle.dumps(by_position)), field) == "me/model"
        assert getattr(kind.model_validate({field: "me/model"}), field) == "me/model"
        assert getattr(kind(Path("folder")), field) in ("folder", Path("folder"))

    @pytest.mark.parametrize("given", ["model", "model_name"])
    def test_it_has_two_names(self, name, given):
        assert getattr(loaded(name)(**{given: "me/model"}), FIELDS[name]) == "me/model"

    def test_other_options_need_theirs(self, name):
        with pytest.raises(OptionError, match=f"{loaded(name).__name__}.*1 argument without a name.*2 were given"):
            loaded(name)("me/model", "int8")

    @pytest.mark.parametrize("twice", ["model", "model_name"])
    def test_it_is_given_once(self, name, twice):
        with pytest.raises(ValueError, match=twice):
            loaded(name)("me/model", **{twice: "me/other"})


@pytest.mark.parametrize("name", OTHERS)
def test_classes_without_fields_take_it_too(name):
    assert loaded(name)("me/model").options.model == "me/model"
