"""A row an adapter: how tests construct it and what they call, whatever its framework calls that."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from intel_quantized_embeddings import Encoder

INTEGRATIONS = "intel_quantized_embeddings.integrations"


@dataclass(frozen=True, slots=True)
class Adapter:
    """One row.

    Attributes:
        name: Of the framework.
        library: What must be installed.
        make: Constructs it from a model and options.
        documents: Embeds texts to be searched.
        query: Embeds a text to search with.
        loader: Where its module finds the function that loads, as `monkeypatch.setattr` takes it; None where it is
            given a loaded encoder.
        adocuments: The same as `documents` for async code, where the framework has that.
        aquery: The same as `query` for async code.
        shown: Embeds texts and draws a progress bar, where the framework has that.
        number: Type of a vector's numbers.
        copies: Ways to send it to another process, by name.
        fields: Whether the options are fields, which can be changed.
        smaller: Whether it takes `vector_type`.
        takes: What `documents` is given in the end: "strings", "one or more" of them, or "documents" of its framework.
        takes_none: Whether it may be given no texts at all.
    """

    name: str
    library: str
    make: Callable[..., Any]
    documents: Callable[[Any, Any], Any]
    query: Callable[[Any, Any], Any]
    loader: str | None = None
    adocuments: Callable[[Any, list[str]], Awaitable[Any]] | None = None
    aquery: Callable[[Any, str], Awaitable[Any]] | None = None
    shown: Callable[..., Any] | None = None
    number: str = "float"
    copies: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    fields: bool = False
    smaller: bool = False
    takes: str = "strings"
    takes_none: bool = True


def _class(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"{INTEGRATIONS}.{module}"), name)


def _langchain(**options: Any) -> Any:
    return _class("langchain", "IntelQuantizedEmbeddings")(**options)


def _llama_index(*, model: Any = None, **options: Any) -> Any:
    named = {} if model is None else {"model_name": model}
    return _class("llama_index", "IntelQuantizedEmbedding")(**named, **options)


def _chroma(**options: Any) -> Any:
    return _class("chroma", "IntelQuantizedEmbeddingFunction")(**options)


def _sentence_transformers(*, model: Any, **options: Any) -> Any:
    return _class("sentence_transformers", "IntelQuantizedSentenceTransformer")(Encoder.load(model, **options))


class HaystackPair:
    """Both embedders, of the same options."""

    def __init__(self, *parts: Any, **options: Any) -> None:
        names = ("IntelQuantizedTextEmbedder", "IntelQuantizedDocumentEmbedder")
        self.text, self.document = parts or (_class("haystack", name)(**options) for name in names)

    @property
    def encoder(self) -> Encoder:
        encoder: Encoder = self.document.encoder
        assert self.text.encoder is encoder
        return encoder

    def warm_up(self) -> None:
        self.document.warm_up()
        self.text.warm_up()

    def copied(self) -> HaystackPair:
        return HaystackPair(*(type(one).from_dict(one.to_dict()) for one in (self.text, self.document)))


def _documents(texts: Sequence[Any]) -> list[Any]:
    document = importlib.import_module("haystack").Document
    return [document(content=text) for text in texts]


def _embedded(answer: dict[str, Any]) -> list[list[float]]:
    return [document.embedding for document in answer["documents"]]


async def _haystack_documents(made: HaystackPair, texts: list[str]) -> list[list[float]]:
    return _embedded(await made.document.run_async(_documents(texts)))


async def _haystack_query(made: HaystackPair, text: str) -> list[float]:
    vector: list[float] = (await made.text.run_async(text))["embedding"]
    return vector


def _pickled(made: Any) -> Any:
    return pickle.loads(pickle.dumps(made))


def _shown_by_langchain(made: Any, texts: list[str]) -> Any:
    return made.model_copy(update={"show_progress": True}).embed_documents(texts)


def _shown_by_haystack(made: HaystackPair, texts: list[str]) -> Any:
    document = copy.copy(made.document)
    document.progress_bar = True
    return _embedded(document.run(_documents(texts)))


ADAPTERS = [
    Adapter(
        name="langchain",
        library="langchain_core",
        make=_langchain,
        documents=lambda made, texts: made.embed_documents(texts),
        query=lambda made, text: made.embed_query(text),
        loader=f"{INTEGRATIONS}.options.shared_encoder",
        adocuments=lambda made, texts: made.aembed_documents(texts),
        aquery=lambda made, text: made.aembed_query(text),
        shown=_shown_by_langchain,
        copies={"pickle": _pickled},
        fields=True,
        smaller=True,
    ),
    Adapter(
        name="llama-index",
        library="llama_index.core",
        make=_llama_index,
        documents=lambda made, texts: made.get_text_embedding_batch(texts),
        query=lambda made, text: made.get_query_embedding(text),
        loader=f"{INTEGRATIONS}.options.shared_encoder",
        adocuments=lambda made, texts: made.aget_text_embedding_batch(texts),
        aquery=lambda made, text: made.aget_query_embedding(text),
        shown=lambda made, texts: made.get_text_embedding_batch(texts, show_progress=True),
        copies={
            "pickle": _pickled,
            "dictionary": lambda made: type(made).from_dict(made.to_dict()),
            "json": lambda made: type(made).from_json(made.to_json()),
        },
        fields=True,
        smaller=True,
    ),
    Adapter(
        name="haystack",
        library="haystack",
        make=HaystackPair,
        documents=lambda made, texts: _embedded(made.document.run(_documents(texts))),
        query=lambda made, text: made.text.run(text)["embedding"],
        loader=f"{INTEGRATIONS}.haystack.shared_encoder",
        adocuments=_haystack_documents,
        aquery=_haystack_query,
        shown=_shown_by_haystack,
        copies={"dictionary": HaystackPair.copied},
        smaller=True,
        takes="documents",
    ),
    Adapter(
        name="chroma",
        library="chromadb",
        make=_chroma,
        documents=lambda made, texts: made(texts),
        query=lambda made, text: made.embed_query([text])[0],
        loader=f"{INTEGRATIONS}.chroma.shared_encoder",
        number="float32",
        takes_none=False,
        copies={"configuration": lambda made: type(made).build_from_config(made.get_config())},
    ),
    Adapter(
        name="sentence-transformers",
        library="numpy",
        make=_sentence_transformers,
        documents=lambda made, texts: made.encode_document(texts),
        query=lambda made, text: made.encode_query(text),
        shown=lambda made, texts: made.encode_document(texts, show_progress_bar=True),
        number="float32",
        takes="one or more",
        copies={"pickle": _pickled},
    ),
]


def rows_where(wanted: Callable[[Adapter], Any]) -> pytest.MarkDecorator:
    """Parametrize a test over the adapters of which something holds."""
    rows = [row for row in ADAPTERS if wanted(row)]
    return pytest.mark.parametrize("adapter", rows, indirect=True, ids=lambda row: row.name)


every_adapter = rows_where(lambda row: True)
