"""LangChain: `IntelQuantizedEmbeddings`."""

from __future__ import annotations

import asyncio
import os

from intel_quantized_embeddings.errors import needs
from intel_quantized_embeddings.options import DEFAULT_MODEL

with needs("langchain_core", extra="langchain", needed_for="IntelQuantizedEmbeddings"):
    from langchain_core.embeddings import Embeddings

from pydantic import AliasChoices, Field

from intel_quantized_embeddings.integrations.options import EncoderOptions


class IntelQuantizedEmbeddings(EncoderOptions, Embeddings):
    """int8 embeddings on CPUs as LangChain `Embeddings`.

    Takes a model and the options of `Encoder.load`; unknown arguments are refused. Nothing is loaded
    before the first text. Texts are passed on unchanged, with the model's own instructions before
    queries and documents.

    Example:
        >>> embeddings = IntelQuantizedEmbeddings(model="BAAI/bge-small-en-v1.5")  # doctest: +SKIP
        >>> len(embeddings.embed_query("what is int8?"))  # doctest: +SKIP
        384
    """

    model: str | os.PathLike[str] = Field(default=DEFAULT_MODEL, validation_alias=AliasChoices("model", "model_name"))
    show_progress: bool = False

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts to be searched, one vector each, in order."""
        return self._listed(self.encoder.encode_documents(texts, show_progress=self.show_progress))

    def embed_query(self, text: str) -> list[float]:
        """Embed a text to search with."""
        return self._listed(self.encoder.encode_queries([text]))[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As `embed_documents`, on another thread: the event loop goes on meanwhile."""
        return await asyncio.to_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """As `embed_query`, on another thread."""
        return await asyncio.to_thread(self.embed_query, text)

    def _model_id(self) -> str | os.PathLike[str]:
        return self.model
