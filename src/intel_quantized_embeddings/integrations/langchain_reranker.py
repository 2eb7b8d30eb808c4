"""LangChain: `IntelQuantizedReranker`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from intel_quantized_embeddings.errors import InvalidTextError, needs

with needs("langchain_core", extra="langchain", needed_for="IntelQuantizedReranker"):
    from langchain_core.documents import BaseDocumentCompressor, Document

from pydantic import AliasChoices, Field

from intel_quantized_embeddings.integrations.options import RerankerOptions
from intel_quantized_embeddings.texts import require_listed, shown

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks


class IntelQuantizedReranker(RerankerOptions, BaseDocumentCompressor):
    """int8 reranking on CPUs as a LangChain document compressor, for `ContextualCompressionRetriever` or a chain.

    Takes a model, `top_n` and the options of `Reranker.load`; unknown arguments are refused. The model is taken as a
    cross-encoder if its `config.json` names a sequence classifier (`architectures`), else as a bi-encoder. Nothing
    is loaded before the first query.

    Example:
        >>> reranker = IntelQuantizedReranker(model="BAAI/bge-reranker-base", top_n=5)  # doctest: +SKIP
        >>> best = reranker.compress_documents(documents, "what is int8?")  # doctest: +SKIP
    """

    model: str | os.PathLike[str] = Field(validation_alias=AliasChoices("model", "model_name"))

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Put documents in order, the best first.

        Args:
            documents: A retriever's documents, which are not changed.
            query: The query.
            callbacks: Not used.

        Returns:
            Copies of the best `top_n`, each with its score as `relevance_score` in the metadata.

        Raises:
            InvalidTextError: The query is no text, or something is no document.
        """
        require_listed(documents, what="documents", expected="a list of documents is expected")
        documents = list(documents)
        for place, document in enumerate(documents):
            if not isinstance(document, Document):
                raise InvalidTextError(f"document {place} is {shown(document)}; LangChain's Document is expected.")
        texts = [document.page_content for document in documents]
        return [
            documents[one.index].model_copy(
                update={"metadata": {**documents[one.index].metadata, "relevance_score": one.score}}
            )
            for one in self.reranker.rank(query, texts, top_n=self.top_n)
        ]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """As `compress_documents`, on another thread: the event loop goes on meanwhile."""
        return await asyncio.to_thread(self.compress_documents, documents, query, callbacks)

    def _model_id(self) -> str | os.PathLike[str]:
        return self.model
