"""The retired classes under their old names: only the import line changes."""

from __future__ import annotations

import pickle

import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import OptionError, UnsupportedModelError

pytestmark = pytest.mark.ipex

TEXTS = ["the cat sat on the mat", "a cold river"]
QUESTION = "what does the cat do?"


@pytest.fixture(params=["QuantizedBiEncoderEmbeddings", "OpenVINOEmbeddings", "OpenVINOBgeEmbeddings"])
def langchain_class(request):
    pytest.importorskip("langchain_core", reason="the langchain extra is not installed")
    from intel_quantized_embeddings.integrations import retired_langchain

    return getattr(retired_langchain, request.param)


@pytest.fixture(params=["IntelEmbedding", "OpenVINOEmbedding"])
def llama_index_class(request):
    pytest.importorskip("llama_index.core", reason="the llama-index extra is not installed")
    from intel_quantized_embeddings.integrations import retired_llama_index

    return getattr(retired_llama_index, request.param)


def construct(retired, model, **options):
    """With the one DeprecationWarning, which points at this line."""
    with pytest.warns(DeprecationWarning, match=f"{retired.__name__} is retired. Use IntelQuantized") as warned:
        made = retired(**{first_argument(retired): model}, **options)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    return made


def first_argument(retired):
    return {
        "QuantizedBiEncoderEmbeddings": "model_name",
        "IntelEmbedding": "folder_name",
        "OpenVINOEmbedding": "model_id_or_path",
    }.get(retired.__name__, "model_name_or_path")


def expected_encoder(tiny, retired, **changed):
    pooling = "mean" if retired.__name__ == "QuantizedBiEncoderEmbeddings" else "cls"
    return Encoder.load(
        tiny,
        precision="fp32",
        pooling=pooling,
        normalize=pooling == "cls",
        **{"query_instruction": "", "document_instruction": "", **changed},
    )


def test_langchains_give_the_vectors_of_the_old_defaults(langchain_class, tiny):
    embeddings = construct(langchain_class, tiny, runtime="native", precision="fp32", max_length=64)
    question = "Represent this question for searching relevant passages: " if "Bge" in langchain_class.__name__ else ""
    encoder = expected_encoder(tiny, langchain_class, query_instruction=question, max_length=64)
    assert embeddings.embed_documents(TEXTS) == encoder.encode_documents(TEXTS).tolist()
    assert embeddings.embed_query(QUESTION) == encoder.encode_queries([QUESTION])[0].tolist()
    assert embeddings.encoder.settings == encoder.settings


def test_llama_indexs_give_the_vectors_of_the_old_defaults(llama_index_class, tiny):
    embedding = construct(
        llama_index_class, tiny, runtime="native", precision="fp32", query_instruction="ask:", text_instruction="text"
    )
    encoder = expected_encoder(tiny, llama_index_class, query_instruction="ask: ", document_instruction="text ")
    assert embedding.get_text_embedding_batch(TEXTS) == encoder.encode_documents(TEXTS).tolist()
    assert embedding.get_query_embedding(QUESTION) == encoder.encode_queries([QUESTION])[0].tolist()


def test_they_are_the_new_classes_and_live_like_them(langchain_class, tiny):
    from intel_quantized_embeddings import IntelQuantizedEmbeddings

    embeddings = construct(langchain_class, tiny, precision="fp32")
    assert isinstance(embeddings, IntelQuantizedEmbeddings)
    assert pickle.loads(pickle.dumps(embeddings)) == embeddings
    assert embeddings.model_copy(update={"pooling": "cls"}).pooling == "cls"


def test_llama_index_stores_and_restores_them(llama_index_class, tiny):
    embedding = construct(llama_index_class, tiny, query_instruction="ask:")
    stored = embedding.to_dict()
    with pytest.warns(DeprecationWarning, match="is retired"):
        assert llama_index_class.from_dict(stored).to_dict() == stored


def test_what_cannot_be_honoured_is_an_option_error(langchain_class, tiny):
    with pytest.raises(OptionError, match="CPUs only"):
        langchain_class(**{first_argument(langchain_class): tiny}, model_kwargs={"device": "GPU"})


def test_an_argument_that_nobody_had_is_refused(langchain_class, tiny):
    with pytest.deprecated_call(), pytest.raises(ValueError, match="max_sequence"):
        langchain_class(**{first_argument(langchain_class): tiny}, max_sequence=3)


@pytest.mark.usefixtures("ipex_installed")
def test_intels_folders_open_as_before_once_their_code_is_trusted(like_optimum_intels):
    """The example of the old class's docstring, and what the error says to add."""
    pytest.importorskip("langchain_core", reason="the langchain extra is not installed")
    from intel_quantized_embeddings.integrations.retired_langchain import QuantizedBiEncoderEmbeddings

    folder = str(like_optimum_intels[0])
    with pytest.deprecated_call():
        closed = QuantizedBiEncoderEmbeddings(folder, encode_kwargs={"normalize_embeddings": True})
    with pytest.raises((OptionError, UnsupportedModelError), match="allow_torchscript=True"):
        closed.embed_query(QUESTION)
    with pytest.deprecated_call():
        opened = QuantizedBiEncoderEmbeddings(
            folder, encode_kwargs={"normalize_embeddings": True}, allow_torchscript=True
        )
    assert opened.encoder.settings.pooling.value == "mean"
    assert sum(number**2 for number in opened.embed_query(QUESTION)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "value", "today"),
    [
        ("max_seq_len", 128, "it is max_length="),
        ("pooling_strategy", "cls", "it is pooling="),
        ("model_name_or_path", "a/b", "it is model="),
        ("embed_instruction", "text: ", "it is document_instruction="),
        ("encode_kwargs", {"normalize_embeddings": True}, "it is normalize=, pooling=, show_progress="),
        ("padding", True, "leave it out"),
    ],
)
def test_an_old_argument_on_the_new_class_is_refused_by_its_new_name(name, value, today):
    """It could not mean there what it meant: the old classes' defaults are not those of the new one."""
    pytest.importorskip("langchain_core", reason="the langchain extra is not installed")
    from intel_quantized_embeddings import IntelQuantizedEmbeddings

    with pytest.raises(ValueError, match=f"{name}= is an argument of a class that is retired.*{today}"):
        IntelQuantizedEmbeddings(**{name: value})


@pytest.mark.parametrize(
    ("name", "today"), [("folder_name", "it is model_name="), ("text_instruction", "it is document_instruction=")]
)
def test_an_old_argument_on_llama_indexs_new_class_too(name, today):
    pytest.importorskip("llama_index.core", reason="the llama-index extra is not installed")
    from intel_quantized_embeddings import IntelQuantizedEmbedding

    with pytest.raises(ValueError, match=f"{name}= is an argument of a class that is retired.*{today}"):
        IntelQuantizedEmbedding(**{name: "x"})
