"""LangChain's Qdrant: `IntelQuantizedSparseEmbeddings`, the sparse side of its hybrid search."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from intel_quantized_embeddings.errors import needs

with needs("langchain_qdrant", extra="qdrant", needed_for="IntelQuantizedSparseEmbeddings"):
    from langchain_qdrant.sparse_embeddings import SparseEmbeddings, SparseVector

from pydantic import AliasChoices, Field, field_validator

from intel_quantized_embeddings.encoders.shared import shared_sparse_encoder
from intel_quantized_embeddings.encoders.sparse_encoder import SparseEncoder, rows_of
from intel_quantized_embeddings.integrations.options import ModelOptions
from intel_quantized_embeddings.options import integer_option

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class IntelQuantizedSparseEmbeddings(ModelOptions, SparseEmbeddings):
    """int8 sparse embeddings on CPUs as langchain-qdrant's `SparseEmbeddings`.

    Takes a model and the options of `SparseEncoder.load`; unknown arguments are refused. Nothing is loaded before the
    first text. `max_active_dims` is the number of weights that each vector keeps, the largest; None for what the
    model's folder says.

    Example:
        >>> sparse = IntelQuantizedSparseEmbeddings(model="ibm-granite/granite-embedding-30m-sparse")  # doctest: +SKIP
        >>> store = QdrantVectorStore(  # doctest: +SKIP
        ...     client, "documents", embeddings, sparse_embedding=sparse, retrieval_mode=RetrievalMode.HYBRID
        ... )
    """

    model: str | os.PathLike[str] = Field(validation_alias=AliasChoices("model", "model_name"))
    max_active_dims: int | None = None

    @field_validator("max_active_dims", mode="before")
    @classmethod
    def _whole(cls, value: object) -> int | None:
        return integer_option("max_active_dims", value, least=1)

    @property
    def encoder(self) -> SparseEncoder:
        """The encoder, loaded when first asked for, with the errors of `SparseEncoder.load`."""
        return self._load_once(shared_sparse_encoder)

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Embed texts to be searched, one vector each, in order."""
        return _listed(self.encoder.encode_documents(texts, max_active_dims=self.max_active_dims))

    def embed_query(self, text: str) -> SparseVector:
        """Embed a text to search with."""
        return _listed(self.encoder.encode_queries([text], max_active_dims=self.max_active_dims))[0]

    async def aembed_documents(self, texts: list[str]) -> list[SparseVector]:
        """As `embed_documents`, on another thread: the event loop goes on meanwhile."""
        return await asyncio.to_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> SparseVector:
        """As `embed_query`, on another thread."""
        return await asyncio.to_thread(self.embed_query, text)

    def _model_id(self) -> str | os.PathLike[str]:
        return self.model


def _listed(vectors: csr_array) -> list[SparseVector]:
    return [SparseVector(indices=ids.tolist(), values=weights.tolist()) for ids, weights in rows_of(vectors)]
