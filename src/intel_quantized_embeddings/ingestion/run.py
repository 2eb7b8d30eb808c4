"""`ingest`: bring a collection to hold what the sources hold."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.encoder import Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion.documents import Document, Problem, read_file
from intel_quantized_embeddings.ingestion.opening import looked_at, opened
from intel_quantized_embeddings.ingestion.plan import Plan, make_plan
from intel_quantized_embeddings.ingestion.report import IngestionReport
from intel_quantized_embeddings.ingestion.sources import FoundFiles, covers, find_files
from intel_quantized_embeddings.ingestion.splitting import SOURCE, ChunkSize, Record, RecordMaker, Splitter
from intel_quantized_embeddings.ingestion.store import Store
from intel_quantized_embeddings.integrations.shared_encoders import shared_encoder
from intel_quantized_embeddings.load_options import LoadOptions
from intel_quantized_embeddings.model_files import DEFAULT_MODEL
from intel_quantized_embeddings.progress import progress_bar

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from intel_quantized_embeddings.load_options import LoadKeywords

# Embedded and stored together: what a kill loses at most.
AT_ONCE = 512
PATIENCE_S = 60.0

_EMPTIED = (
    "there is no file to read in it any more, and the collection has texts from it, which were kept: is a disk not "
    "mounted? To remove them, name the folder above it, or delete the collection"
)


def ingest(
    sources: Iterable[str | os.PathLike[str]],
    *,
    chroma: str | os.PathLike[str],
    collection: str,
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    chunk_tokens: int | None = None,
    overlap_tokens: int | None = None,
    dry_run: bool = False,
    reindex: bool = False,
    patience_s: float = PATIENCE_S,
    show_progress: bool = False,
    **options: Unpack[LoadKeywords],
) -> IngestionReport:
    """Read files, split them, and bring a Chroma collection to hold exactly their chunks.

    Only chunks that are new are embedded. Chunks that are gone from the sources of this run are removed; those of
    other sources are never touched. Interrupted at any moment and run again, it ends as if it had not been.

    Args:
        sources: Files (.md .txt .rst .html .py .pdf .jsonl) and folders of them.
        chroma: A folder, or the address of a server, "http://HOST:PORT".
        collection: Its name; made where there is none.
        model: A folder or a hub id, as for `Encoder.load`.
        chunk_tokens: Longest chunk in tokens; None takes 256 or what the model reads, whichever is less.
        overlap_tokens: Shared by neighbouring chunks at most; None takes an eighth of a chunk.
        dry_run: Only say what would be done.
        reindex: Embed everything again: the collection is emptied first, and may be another encoder's.
        patience_s: How long a server that went away is waited for.
        show_progress: Draw bars on the terminal.
        options: Those of `Encoder.load`.

    Returns:
        What was done, and what could not be read.

    Raises:
        OptionError: A value is not allowed, a source is not there, or reindexing would lose texts.
        OtherEncoderError: The collection was filled by another encoder.
        VectorStoreError: Chroma can't be reached or written; what was stored is kept.
        MissingExtraError: Something that is needed is not installed.
        QuantizedEmbeddingsError: As `Encoder.load` lists them.
    """
    if isinstance(sources, (str, os.PathLike)):
        raise OptionError(f"sources={sources!r} is not allowed; it is a list, as in ingest([{os.fspath(sources)!r}]).")
    load_options = LoadOptions.from_keywords(model, options)
    found = find_files(sources)
    encoder = shared_encoder(load_options)
    size = ChunkSize.settle(encoder, tokens=chunk_tokens, overlap=overlap_tokens)
    maker = RecordMaker(Splitter(encoder.tokenizer.counter(), size))
    held: dict[str, Any] = {"encoder": encoder, "reindex": reindex, "patience_s": patience_s}
    if dry_run:
        with looked_at(chroma, collection, **held) as store:
            read, plan = _prepare(found, maker, store, reindex=reindex, show_progress=show_progress)
        seconds = 0.0
    else:
        with opened(chroma, collection, **held) as index:
            read, plan = _prepare(found, maker, index.store, reindex=reindex, show_progress=show_progress)
            if reindex:
                index.start_anew()
            seconds = _carry_out(plan, index.store, encoder, show_progress=show_progress)
    return IngestionReport(
        chroma=os.fspath(chroma),
        collection=collection,
        encoder=encoder.fingerprint,
        dry_run=dry_run,
        files=read.files,
        passed_over=found.passed_over,
        documents=read.documents,
        chunks=len(read.records),
        added=len(plan.add),
        changed=len(plan.change),
        unchanged=plan.unchanged,
        removed=len(plan.remove),
        seconds=round(seconds, 3),
        problems=read.problems,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What the files gave.

    Attributes:
        unsure: Files and folders that were not read whole: what is stored of them may not be gone.
    """

    records: Sequence[Record]
    files: int
    documents: int
    problems: tuple[Problem, ...]
    unsure: Sequence[str]


def _prepare(
    found: FoundFiles, maker: RecordMaker, store: Store | None, *, reindex: bool, show_progress: bool
) -> tuple[_Read, Plan]:
    """Read everything and see what is to be done."""
    stored = store.metadata_by_id() if store else {}
    kept_from = {str(metadata[SOURCE]) for metadata in stored.values() if SOURCE in metadata}
    read = _read(found, maker, kept_from=kept_from, show_progress=show_progress)
    roots = [str(root) for root in found.roots]

    def answers_for(source: str) -> bool:
        return covers(roots, source) and not covers(read.unsure, source)

    if reindex:
        lost = [id for id, metadata in stored.items() if not answers_for(str(metadata.get(SOURCE, "")))]
        if lost:
            raise OptionError(_would_lose(lost, stored))
        stored = {}
    return read, make_plan(read.records, stored, answers_for=answers_for)


def _read(found: FoundFiles, maker: RecordMaker, *, kept_from: set[str], show_progress: bool) -> _Read:
    records: list[Record] = []
    problems = list(found.problems)
    unsure = [problem.place for problem in problems]
    documents = files = 0
    with progress_bar(found.files, shown=show_progress, unit="file", title="Reading") as advance:
        for file in found.files:
            read = list(read_file(file))
            wrong = [item for item in read if isinstance(item, Problem)]
            good = [item for item in read if isinstance(item, Document)]
            records += maker.records(good)
            problems += wrong
            unsure += [str(file)] if wrong else []
            documents += len(good)
            files += bool(good or not wrong)
            if advance is not None:
                advance(1)
    for root in map(str, _empty_folders(found)):
        if any(covers([root], source) for source in kept_from):
            unsure.append(root)
            problems.append(Problem(place=root, reason=_EMPTIED))
    return _Read(records=records, files=files, documents=documents, problems=tuple(problems), unsure=unsure)


def _empty_folders(found: FoundFiles) -> Iterator[os.PathLike[str]]:
    files = [str(file) for file in found.files]
    for root in found.roots:
        if root.is_dir() and not any(covers([str(root)], file) for file in files):
            yield root


def _carry_out(plan: Plan, store: Store, encoder: Encoder, *, show_progress: bool) -> float:
    """Add, change, remove; gives the seconds it took."""
    started = time.perf_counter()
    with progress_bar(plan.add, shown=show_progress, unit="text", title="Embedding") as advance:
        for start in range(0, len(plan.add), AT_ONCE):
            some = plan.add[start : start + AT_ONCE]
            store.write(some, encoder.encode_documents([record.text for record in some]))
            if advance is not None:
                advance(len(some))
    store.change(plan.change)
    store.remove(plan.remove)
    return time.perf_counter() - started


def _would_lose(ids: Sequence[str], stored: Mapping[str, Mapping[str, Any]]) -> str:
    sources = sorted({str(stored[id].get(SOURCE, "another program")) for id in ids})
    shown = ", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
    return (
        f"--reindex (reindex=True) would lose {len(ids):,} texts of the collection, which come from {shown}: they are "
        f"not among the sources of this run, or can't be read now. Name those sources too, or another collection."
    )
