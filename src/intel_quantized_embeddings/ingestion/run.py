"""`ingest`: make a collection or a store hold the chunks of the sources."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion.chroma_opening import ChromaDestination
from intel_quantized_embeddings.ingestion.destination import Destination, RecordStore
from intel_quantized_embeddings.ingestion.plan import Plan
from intel_quantized_embeddings.ingestion.problems import Problem, do_in_parts
from intel_quantized_embeddings.ingestion.reading import Content, Stored, read_all
from intel_quantized_embeddings.ingestion.report import IngestionReport
from intel_quantized_embeddings.ingestion.sources import find_files
from intel_quantized_embeddings.ingestion.splitting import ChunkSize, Record, RecordMaker, Splitter
from intel_quantized_embeddings.options import DEFAULT_MODEL, LoadOptions, require_bool, require_path, require_text
from intel_quantized_embeddings.reporting.progress import progress_bar

if TYPE_CHECKING:
    from langchain_core.vectorstores import VectorStore
    from typing_extensions import Unpack

    from intel_quantized_embeddings.ingestion.vector_store_calls import Save
    from intel_quantized_embeddings.options import LoadKeywords

# Records embedded and stored together: the most that a kill loses, but for stores that are saved whole.
AT_ONCE = 512
PATIENCE_S = 60.0


def ingest(
    sources: Iterable[str | os.PathLike[str]],
    *,
    chroma: str | os.PathLike[str] | None = None,
    collection: str | None = None,
    model: str | os.PathLike[str] | None = None,
    store: VectorStore | None = None,
    ledger: str | os.PathLike[str] | None = None,
    save: Save | None = None,
    chunk_tokens: int | None = None,
    overlap_tokens: int | None = None,
    dry_run: bool = False,
    reindex: bool = False,
    patience_s: float | None = None,
    show_progress: bool = False,
    **options: Unpack[LoadKeywords],
) -> IngestionReport:
    """Read files, split them, and bring a Chroma collection or a LangChain store to hold exactly their chunks.

    Only chunks that are new are embedded. A chunk that occurs more than once is stored once, with all its sources.
    Chunks that are gone from the sources of this run are removed; those of other sources are never touched.
    Interrupted at any moment and run again, it ends like an uninterrupted run. A problem of one file is reported and
    stops nothing.

    It writes to Chroma (`chroma`, `collection`, `model` and its options) or to any vector store of LangChain's
    (`store`, `ledger`) whose embeddings are `IntelQuantizedEmbeddings`, which then replace `model`.

    Args:
        sources: Files (.md .txt .rst .html .py .pdf .jsonl) and folders of them.
        chroma: A folder, or the address of a server, "http://HOST:PORT".
        collection: The collection's name; it is made if it does not exist.
        model: A folder or a hub id, as for `Encoder.load`; None takes BGE-small v1.5.
        store: The vector store.
        ledger: A file that remembers the content of the store, made if it does not exist: one for each store, kept as
            long as the store.
        save: Called with a store that lives in memory to save it, whole or not at all: at the end, and before that each
            time it has grown by an eighth and by 512 chunks.
        chunk_tokens: Longest chunk in tokens; None takes 256 or what the model reads, whichever is less.
        overlap_tokens: The most tokens that neighbouring chunks share; None takes an eighth of a chunk.
        dry_run: Only report what would be done.
        reindex: Embed everything again, after removing the stored chunks, which may be of another encoder.
        patience_s: Seconds to wait for a server of Chroma's that went away; None takes 60.
        show_progress: Draw bars on the terminal.
        options: Those of `Encoder.load`.

    Returns:
        The report, with problems of reading and storing.

    Raises:
        OptionError: A value is not allowed, a source is not there, or reindexing would lose texts.
        OtherEncoderError: The collection or store was filled by another encoder.
        VectorStoreError: The store can't be reached or written; stored chunks are kept.
        MissingExtraError: A needed library is not installed.
        QuantizedEmbeddingsError: As `Encoder.load` lists them.
    """
    if isinstance(sources, (str, os.PathLike)):
        raise OptionError(f"sources={sources!r} is not allowed; it is a list, as in ingest([{os.fspath(sources)!r}]).")
    if not isinstance(sources, Iterable):
        raise OptionError(f"sources={sources!r} is not allowed; it is a list of files and folders.")
    for name, flag in (("dry_run", dry_run), ("reindex", reindex), ("show_progress", show_progress)):
        require_bool(name, flag)
    if store is None:
        _refuse("without store=", ledger=ledger, save=save)
        into = _chroma(chroma, collection, model, patience_s, options)
    else:
        _refuse("with store=", chroma=chroma, collection=collection, model=model, patience_s=patience_s, **options)
        into = _vector_store(store, ledger, save)
    found = find_files(sources)
    encoder = into.encoder
    size = ChunkSize.settle(encoder, tokens=chunk_tokens, overlap=overlap_tokens)
    tokenizer = encoder.tokenizer
    maker = RecordMaker(Splitter(tokenizer.counter(), size, has_overlong_word=tokenizer.has_overlong_word()))
    if dry_run:
        with into.opened_to_read(reindex=reindex) as there:
            content, stored = read_all(found, maker, there, reindex=reindex, show_progress=show_progress)
        plan = content.plan(stored)
        done = _Done(plan=plan, removed=len(plan.remove), problems=(), seconds=0.0)
    else:
        with into.opened(reindex=reindex) as index:
            content, stored = read_all(found, maker, index.store, reindex=reindex, show_progress=show_progress)
            if reindex:
                index.start_anew()
            done = _carry_out(content, stored, index.store, show_progress=show_progress)
    return IngestionReport(
        **into.names(),
        encoder=into.fingerprint,
        dry_run=dry_run,
        files=content.files,
        passed_over=found.passed_over,
        documents=content.documents,
        chunks=len(content.records),
        repeated=maker.repeated,
        added=len(done.plan.add),
        changed=len(done.plan.change),
        unchanged=done.plan.unchanged,
        removed=done.removed,
        seconds=round(done.seconds, 3),
        problems=(*content.problems, *done.problems),
    )


def _chroma(
    chroma: str | os.PathLike[str] | None,
    collection: str | None,
    model: str | os.PathLike[str] | None,
    patience_s: float | None,
    options: LoadKeywords,
) -> Destination:
    if chroma is None or collection is None:
        raise OptionError(
            "no place to write to is named; give chroma= and collection= (--chroma, --collection) or store= and "
            "ledger= (--store, --ledger)."
        )
    require_path("chroma", chroma)
    require_text("collection", collection)
    patience_s = PATIENCE_S if patience_s is None else patience_s
    if not isinstance(patience_s, (int, float)) or not 0 <= patience_s < math.inf:
        raise OptionError(f"patience_s={patience_s!r} is not allowed; it is a number of seconds, 0 or more.")
    load_options = LoadOptions.from_keywords(DEFAULT_MODEL if model is None else model, options)
    return ChromaDestination(chroma, collection, options=load_options, patience_s=patience_s)


def _vector_store(store: VectorStore, ledger: str | os.PathLike[str] | None, save: Save | None) -> Destination:
    from intel_quantized_embeddings.ingestion.vector_store_opening import VectorStoreDestination

    if not isinstance(ledger, (str, os.PathLike)):
        raise OptionError(f"ledger={ledger!r} is not allowed; it is a file that remembers what the store holds.")
    require_path("ledger", ledger)
    if save is not None and not callable(save):
        raise OptionError(f"save={save!r} is not allowed; it is called with the store.")
    return VectorStoreDestination(store, ledger=ledger, save=save)


def _refuse(where: str, **given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise OptionError(
                f"{name}={value!r} is not allowed {where}: a store brings its own model and is named "
                f"with ledger=, Chroma is named with chroma= and collection=."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """The outcome of writing."""

    plan: Plan
    removed: int
    problems: tuple[Problem, ...]
    seconds: float


def _carry_out(content: Content, stored: Stored, store: RecordStore, *, show_progress: bool) -> _Done:
    """Add, change, remove."""
    started = time.perf_counter()
    plan = content.plan(stored)
    failed: list[tuple[Record, BaseException]] = []

    with progress_bar(plan.add, shown=show_progress, unit="text", title="Embedding") as advance:
        for start in range(0, len(plan.add), AT_ONCE):
            some = plan.add[start : start + AT_ONCE]
            failed += do_in_parts(some, store.write)
            if advance is not None:
                advance(len(some))
    if failed:  # the pieces that should replace the older ones of these files are missing
        plan = content.plan(stored, failed=[record for record, _ in failed])
    unchangeable = do_in_parts(plan.change, store.change)
    problems = [
        *(Problem.of(_where(record), exc) for record, exc in failed),
        *(Problem.of(change.source, exc) for change, exc in unchangeable),
    ]
    removed = store.remove(plan.remove)
    return _Done(
        plan=plan, removed=removed, problems=tuple(dict.fromkeys(problems)), seconds=time.perf_counter() - started
    )


def _where(record: Record) -> str:
    first, *others = record.places
    return f"{first.source}, piece {first.chunk}" + (f", and {len(others):,} places more" if others else "")
