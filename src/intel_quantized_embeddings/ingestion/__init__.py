"""Files into a Chroma collection or any LangChain store: `iqe ingest` and `iqe query`.

    sources -> documents -> records (chunks with ids) -> plan (what is new, changed, gone) -> embedded, stored

`sources`, `documents`, `jsonl` and `reading` read, `splitting` makes records, `plan` decides, `run` carries out.
`destination` has the Protocols of a place to write to: `chroma_opening` and `chroma_store` implement them for Chroma,
`vector_store_opening`, `vector_store` and `vector_store_calls` for LangChain's stores, which have a `ledger`.
"""

from __future__ import annotations

from intel_quantized_embeddings.errors import needs

with needs("chromadb>=1.5", extra="ingest", needed_for="Ingestion", may_be_too_old=True):
    from chromadb.api.client import Client

    _ = Client.close  # before 1.5 an embedded database stayed open as long as the process

from intel_quantized_embeddings.ingestion.problems import Problem
from intel_quantized_embeddings.ingestion.report import IngestionReport
from intel_quantized_embeddings.ingestion.run import ingest
from intel_quantized_embeddings.ingestion.search import Passage, query

__all__ = ["IngestionReport", "Passage", "Problem", "ingest", "query"]
