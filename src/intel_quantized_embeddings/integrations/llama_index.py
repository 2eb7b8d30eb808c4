"""LlamaIndex: `IntelQuantizedEmbedding`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

from intel_quantized_embeddings.errors import needs
from intel_quantized_embeddings.options import DEFAULT_MODEL

with needs("llama_index.core", extra="llama-index", needed_for="IntelQuantizedEmbedding"):
    from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
    from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

from pydantic import AliasChoices, BeforeValidator, Field, field_validator

from intel_quantized_embeddings.integrations.options import EncoderOptions
from intel_quantized_embeddings.texts import check_texts, require_listed

# LlamaIndex cuts its input into pieces before an embedder sees it; the largest piece that it allows leaves batching to
# the encoder, which sorts by length.
LARGEST_PIECE = 2048

# LlamaIndex keeps a model's name as text.
PathOrId = Annotated[str, BeforeValidator(lambda value: os.fspath(value) if isinstance(value, os.PathLike) else value)]

_embedding_a_query: ContextVar[bool] = ContextVar("embedding_a_query", default=False)


@contextmanager
def _caching_queries() -> Iterator[None]:
    token = _embedding_a_query.set(True)
    try:
        yield
    finally:
        _embedding_a_query.reset(token)


class _KindAwareCache(BaseKVStore):
    """An `embeddings_cache` that keeps queries in a collection of their own.

    LlamaIndex keys its cache by text alone, so a query would get the document vector of the same text,
    which has another instruction. Documents stay where LlamaIndex puts them.
    """

    def __init__(self, store: BaseKVStore) -> None:
        self._store = store

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        self._store.put(key, val, _collection(collection))

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        await self._store.aput(key, val, _collection(collection))

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        return self._store.get(key, _collection(collection))

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        return await self._store.aget(key, _collection(collection))

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        return self._store.get_all(_collection(collection))

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        return await self._store.aget_all(_collection(collection))

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        return self._store.delete(key, _collection(collection))

    def put_all(self, *arguments: Any, **options: Any) -> None:
        self._store.put_all(*arguments, **options)

    async def aput_all(self, *arguments: Any, **options: Any) -> None:
        await self._store.aput_all(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the user's store, such as SimpleKVStore's `persist`."""
        if name == "_store":  # not set yet while unpickling
            raise AttributeError(name)
        return getattr(self._store, name)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        return await self._store.adelete(key, _collection(collection))


def _checked(texts: Iterable[str]) -> list[str]:
    """Return checked texts before LlamaIndex cuts them into pieces: positions are those of the caller's list."""
    require_listed(texts)
    listed = list(texts)
    check_texts(listed)
    return listed


def _collection(name: str) -> str:
    return f"{name}_of_queries" if _embedding_a_query.get() else name


class IntelQuantizedEmbedding(EncoderOptions, BaseEmbedding):
    """int8 embeddings on CPUs as a LlamaIndex embedding, for `Settings.embed_model`.

    Takes `model_name` and the options of `Encoder.load`; unknown arguments are refused. Nothing is
    loaded before the first text.

    Example:
        >>> Settings.embed_model = IntelQuantizedEmbedding(model_name="BAAI/bge-small-en-v1.5")  # doctest: +SKIP
    """

    model_name: PathOrId = Field(default=DEFAULT_MODEL, validation_alias=AliasChoices("model_name", "model"))
    embed_batch_size: int = Field(default=LARGEST_PIECE, gt=0, le=LARGEST_PIECE)

    @field_validator("embeddings_cache", mode="after")
    @classmethod
    def _keep_kinds_apart(cls, value: object) -> object:
        if isinstance(value, BaseKVStore) and not isinstance(value, _KindAwareCache):
            return _KindAwareCache(value)
        return value

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class in serialized pipelines."""
        return "IntelQuantizedEmbedding"

    def get_query_embedding(self, query: str) -> Embedding:
        """Embed a text to search with."""
        with _caching_queries():
            return super().get_query_embedding(query)

    async def aget_query_embedding(self, query: str) -> Embedding:
        """As `get_query_embedding`, on another thread."""
        with _caching_queries():
            return await super().aget_query_embedding(query)

    def get_text_embedding_batch(self, texts: list[str], show_progress: bool = False, **kwargs: Any) -> list[Embedding]:
        """Embed texts to be searched, one vector each, in order."""
        return super().get_text_embedding_batch(_checked(texts), show_progress=show_progress, **kwargs)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """As `get_text_embedding_batch`, on another thread."""
        return await super().aget_text_embedding_batch(_checked(texts), show_progress=show_progress, **kwargs)

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._listed(self.encoder.encode_queries([query]))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._listed(self.encoder.encode_documents(texts))

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    def _model_id(self) -> str:
        return self.model_name
