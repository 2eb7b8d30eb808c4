"""What ingestion does of sparse models: it refuses them alone, and knows them in a hybrid store of langchain-qdrant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from intel_quantized_embeddings.encoders.sparse_encoder import SparseEncoder
from intel_quantized_embeddings.errors import OptionError, UnsupportedModelError
from intel_quantized_embeddings.models.hub import find_asked
from intel_quantized_embeddings.options import LoadOptions

if TYPE_CHECKING:
    from langchain_core.vectorstores import VectorStore


@contextmanager
def refusing_sparse(options: LoadOptions) -> Iterator[None]:
    """Load an encoder by some options inside; a sparse model is an UnsupportedModelError that tells the way."""
    try:
        yield
    except (OptionError, UnsupportedModelError) as exc:
        if options.pooling is not None or not find_asked(options).is_sparse:
            raise
        raise UnsupportedModelError(
            f"{os.fspath(options.model)} is a sparse model, and ingestion embeds by a dense one. Put its vectors "
            f"beside those of a dense model into Qdrant, in langchain-qdrant's hybrid mode: pass store= (--store) a "
            f"QdrantVectorStore with embedding=IntelQuantizedEmbeddings(...) and "
            f"sparse_embedding=IntelQuantizedSparseEmbeddings(...), as docs/sparse.md shows."
        ) from exc


def sparse_fingerprint(store: VectorStore) -> str | None:
    """Return the fingerprint of the sparse vectors of a hybrid store; None if it has none, or another library's."""
    mode = getattr(store, "retrieval_mode", None)
    if getattr(mode, "value", mode) != "hybrid":
        return None
    embeddings = getattr(store, "sparse_embeddings", None)
    encoder = getattr(embeddings, "encoder", None)
    if not isinstance(encoder, SparseEncoder):
        return None
    kept = getattr(embeddings, "max_active_dims", None)
    return encoder.fingerprint if kept is None else f"{encoder.fingerprint}-{kept}"
