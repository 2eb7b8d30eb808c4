"""Haystack 3: `IntelQuantizedTextEmbedder`, `IntelQuantizedDocumentEmbedder` and `IntelQuantizedRanker`."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import reprlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.reranker import Reranker
from intel_quantized_embeddings.encoders.shared import shared_encoder, shared_reranker
from intel_quantized_embeddings.errors import InvalidTextError, OptionError, needs
from intel_quantized_embeddings.options import DEFAULT_MODEL, LoadOptions
from intel_quantized_embeddings.vectors import VectorType

with needs("haystack", extra="haystack", needed_for="IntelQuantizedTextEmbedder"):
    from haystack import Document, component, default_from_dict, default_to_dict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self, Unpack

    from intel_quantized_embeddings.options import LoadKeywords


class _ModelComponent:
    """The options of `Encoder.load`, checked at once, and their model, loaded at first use.

    Components of one process with the same options share the model. (The decorator makes each class anew, so
    subclasses call this by its name instead of `super()`.)
    """

    # Arguments of a component beside the options, kept as attributes of their names.
    _own: tuple[str, ...] = ()

    def __init__(self, model: str | os.PathLike[str], **options: Unpack[LoadKeywords]) -> None:
        self.options = LoadOptions.from_keywords(model, options)
        self._model: Any = None

    def warm_up(self) -> None:
        """Load now (downloading and quantizing if necessary); a pipeline calls this in every run."""
        if self._model is None:
            self._use_once()

    async def warm_up_async(self) -> None:
        """As `warm_up`, on another thread: the event loop goes on meanwhile."""
        await asyncio.to_thread(self.warm_up)

    def to_dict(self) -> dict[str, Any]:
        """Describe the component, as a pipeline's YAML holds it."""
        options = {name: os.fspath(v) if isinstance(v, os.PathLike) else v for name, v in vars(self.options).items()}
        return default_to_dict(self, **options, **{name: getattr(self, name) for name in self._own})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build a component from the result of `to_dict`."""
        return default_from_dict(cls, data)

    def _use_once(self) -> None:
        raise NotImplementedError


class _EmbeddingComponent(_ModelComponent):
    _own: tuple[str, ...] = ("vector_type",)

    def __init__(self, model: str | os.PathLike[str], vector_type: str, **options: Unpack[LoadKeywords]) -> None:
        _ModelComponent.__init__(self, model, **options)
        self.vector_type = VectorType.parse(vector_type).value  # a component's state is plain

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded at first use, with the errors of `Encoder.load`."""
        if self._model is None:
            self._model = shared_encoder(self.options)
        return cast("Encoder", self._model)

    def _listed(self, vectors: NDArray[np.float32]) -> list[list[float]]:
        return VectorType(self.vector_type).listed(vectors, lengths_matter=self.encoder.settings.lengths_matter)

    def _use_once(self) -> None:
        self.encoder.encode_queries(["warm up"])


@component
class IntelQuantizedTextEmbedder(_EmbeddingComponent):
    """Embed a text to search with, on CPUs in int8.

    Args:
        model: A folder or a hub id.
        vector_type: "float32", or "int8" or "binary" for stores that take these; see `VectorType`.
        options: Those of `Encoder.load`. The model's query instruction is put before the text.

    Raises:
        OptionError: A value is not allowed.

    Example:
        >>> IntelQuantizedTextEmbedder("BAAI/bge-small-en-v1.5").run("what is int8?")["embedding"]  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        vector_type: str = VectorType.FLOAT32.value,
        **options: Unpack[LoadKeywords],
    ) -> None:
        _EmbeddingComponent.__init__(self, model, vector_type, **options)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Embed a text to search with; the vector comes under "embedding".

        Raises:
            InvalidTextError: It is not text.
        """
        return {"embedding": self._listed(self.encoder.encode_queries([text]))[0]}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        """As `run`, on another thread."""
        return await asyncio.to_thread(self.run, text)


@component
class IntelQuantizedDocumentEmbedder(_EmbeddingComponent):
    """Embed documents to be searched, on CPUs in int8.

    Args:
        model: A folder or a hub id.
        meta_fields_to_embed: Fields of a document's metadata to put before its content, if it has them.
        embedding_separator: Text between these fields.
        progress_bar: Draw a bar on the terminal.
        vector_type: As in the text embedder.
        options: Those of `Encoder.load`. The model's document instruction is put before the whole.

    Raises:
        OptionError: A value is not allowed.

    Example:
        >>> embedder = IntelQuantizedDocumentEmbedder(meta_fields_to_embed=["title"])  # doctest: +SKIP
        >>> embedder.run([Document(content="The Danube flows.", meta={"title": "Rivers"})])  # doctest: +SKIP
    """

    _own = ("meta_fields_to_embed", "embedding_separator", "progress_bar", "vector_type")

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        progress_bar: bool = False,
        vector_type: str = VectorType.FLOAT32.value,
        **options: Unpack[LoadKeywords],
    ) -> None:
        _EmbeddingComponent.__init__(self, model, vector_type, **options)
        self.meta_fields_to_embed = _names(meta_fields_to_embed)
        self.embedding_separator = embedding_separator
        self.progress_bar = progress_bar

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Embed documents, all in one call: the encoder makes its own batches.

        Args:
            documents: The documents, which are not changed.

        Returns:
            Copies with their vectors, in order, under "documents".

        Raises:
            InvalidTextError: It is not a list of documents.
        """
        texts = _texts(documents, self.meta_fields_to_embed, self.embedding_separator)
        vectors = self.encoder.encode_documents(texts, show_progress=self.progress_bar)
        pairs = zip(documents, self._listed(vectors), strict=True)
        return {"documents": [dataclasses.replace(document, embedding=vector) for document, vector in pairs]}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """As `run`, on another thread."""
        return await asyncio.to_thread(self.run, documents)


@component
class IntelQuantizedRanker(_ModelComponent):
    """Sort documents by the scores of another model than the one that found them.

    Args:
        model: A folder or a hub id, of a bi-encoder or a cross-encoder: see `Reranker.load`.
        top_k: How many documents to keep.
        score_threshold: Leave out documents with a lower score; None keeps them.
        meta_fields_to_embed: Fields of a document's metadata to put before its content, where it has them.
        embedding_separator: What stands between them.
        options: Those of `Reranker.load`. A bi-encoder's instructions are put before the query and each document.

    Raises:
        OptionError: A value is not allowed.

    Example:
        >>> ranker = IntelQuantizedRanker("BAAI/bge-reranker-base", top_k=3)  # doctest: +SKIP
        >>> ranker.run(query="Where does the river end?", documents=found)["documents"]  # doctest: +SKIP
    """

    _own = ("top_k", "score_threshold", "meta_fields_to_embed", "embedding_separator")

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        top_k: int = 10,
        score_threshold: float | None = None,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        **options: Unpack[LoadKeywords],
    ) -> None:
        _ModelComponent.__init__(self, model, **options)
        self.meta_fields_to_embed = _names(meta_fields_to_embed)
        self.embedding_separator = embedding_separator
        self.top_k = _positive(top_k)
        self.score_threshold = score_threshold

    @property
    def reranker(self) -> Reranker:
        """The reranker, loaded at first use, with the errors of `Reranker.load`."""
        if self._model is None:
            self._model = shared_reranker(self.options)
        return cast("Reranker", self._model)

    def _use_once(self) -> None:
        self.reranker.score("warm up", ["warm up"])

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None, score_threshold: float | None = None
    ) -> dict[str, Any]:
        """Sort documents.

        Args:
            query: The text to search for.
            documents: The documents, which are not changed. Of several with one id, the best is kept.
            top_k: Instead of the ranker's own.
            score_threshold: Instead of the ranker's own.

        Returns:
            Copies with their scores, best first, under "documents": a bi-encoder's cosines, or its folder's
            similarity, or a cross-encoder's scores. Equal scores keep their order.

        Raises:
            OptionError: `top_k` is not positive.
            InvalidTextError: `query` is not text, or `documents` not a list of documents.
        """
        most = self.top_k if top_k is None else _positive(top_k)
        least = self.score_threshold if score_threshold is None else score_threshold
        kept: dict[str, Document] = {}
        for ranked in self.reranker.rank(query, _texts(documents, self.meta_fields_to_embed, self.embedding_separator)):
            if least is None or ranked.score >= least:
                document = documents[ranked.index]
                kept.setdefault(document.id, dataclasses.replace(document, score=ranked.score))
        return {"documents": list(kept.values())[:most]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None, score_threshold: float | None = None
    ) -> dict[str, Any]:
        """As `run`, on another thread."""
        return await asyncio.to_thread(self.run, query, documents, top_k, score_threshold)


def _texts(documents: list[Document], fields: Sequence[str], separator: str) -> list[str]:
    """Return the text to embed of each document: fields of its metadata, if it has them, then its content."""
    if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
        raise InvalidTextError(
            f"documents is {reprlib.repr(documents)}; a list of haystack.Document is expected. "
            f"IntelQuantizedTextEmbedder takes a text."
        )
    return [
        separator.join([*(str(one.meta[name]) for name in fields if one.meta.get(name) is not None), one.content or ""])
        for one in documents
    ]


def _names(fields: Sequence[str] | None) -> list[str]:
    if isinstance(fields, str):
        raise OptionError(f"meta_fields_to_embed={fields!r} is not allowed; it is a list of names.")
    return list(fields or [])


def _positive(top_k: int) -> int:
    if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
        raise OptionError(f"top_k={top_k!r} is not allowed; it is 1 or more.")
    return top_k
