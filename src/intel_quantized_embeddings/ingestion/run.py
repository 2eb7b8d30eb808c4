"""`ingest`: bring a collection to hold what the sources hold."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.shared import shared_encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion.documents import read_file
from intel_quantized_embeddings.ingestion.opening import opened, opened_to_read
from intel_quantized_embeddings.ingestion.places import Document, from_metadata
from intel_quantized_embeddings.ingestion.plan import Plan, make_plan
from intel_quantized_embeddings.ingestion.problems import Problem, do_in_parts
from intel_quantized_embeddings.ingestion.report import IngestionReport
from intel_quantized_embeddings.ingestion.sources import FoundFiles, Places, find_files
from intel_quantized_embeddings.ingestion.splitting import ChunkSize, Record, RecordMaker, Splitter
from intel_quantized_embeddings.ingestion.store import Store
from intel_quantized_embeddings.options import DEFAULT_MODEL, LoadOptions, require_bool
from intel_quantized_embeddings.reporting.progress import progress_bar

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from intel_quantized_embeddings.options import LoadKeywords

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

    Only chunks that are new are embedded. A chunk that occurs more than once is stored once, with all its sources.
    Chunks that are gone from the sources of this run are removed; those of other sources are never touched.
    Interrupted at any moment and run again, it ends as if it had not been. What is wrong with one file is reported
    and stops nothing.

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
        What was done, and what could not be read or stored.

    Raises:
        OptionError: A value is not allowed, a source is not there, or reindexing would lose texts.
        OtherEncoderError: The collection was filled by another encoder.
        VectorStoreError: Chroma can't be reached or written; what was stored is kept.
        MissingExtraError: Something that is needed is not installed.
        QuantizedEmbeddingsError: As `Encoder.load` lists them.
    """
    if isinstance(sources, (str, os.PathLike)):
        raise OptionError(f"sources={sources!r} is not allowed; it is a list, as in ingest([{os.fspath(sources)!r}]).")
    if not isinstance(sources, Iterable):
        raise OptionError(f"sources={sources!r} is not allowed; it is a list of files and folders.")
    for name, flag in (("dry_run", dry_run), ("reindex", reindex), ("show_progress", show_progress)):
        require_bool(name, flag)
    if not isinstance(patience_s, (int, float)) or not 0 <= patience_s < math.inf:
        raise OptionError(f"patience_s={patience_s!r} is not allowed; it is a number of seconds, 0 or more.")
    load_options = LoadOptions.from_keywords(model, options)
    found = find_files(sources)
    encoder = shared_encoder(load_options)
    size = ChunkSize.settle(encoder, tokens=chunk_tokens, overlap=overlap_tokens)
    tokenizer = encoder.tokenizer
    maker = RecordMaker(Splitter(tokenizer.counter(), size, has_overlong_word=tokenizer.has_overlong_word()))
    held: dict[str, Any] = {"encoder": encoder, "reindex": reindex, "patience_s": patience_s}
    if dry_run:
        with opened_to_read(chroma, collection, **held) as store:
            read, stored = _prepare(found, maker, store, reindex=reindex, show_progress=show_progress)
        plan = read.plan(stored)
        done = _Done(plan=plan, removed=len(plan.remove), problems=(), seconds=0.0)
    else:
        with opened(chroma, collection, **held) as index:
            read, stored = _prepare(found, maker, index.store, reindex=reindex, show_progress=show_progress)
            if reindex:
                index.start_anew()
            done = _carry_out(read, stored, index.store, encoder, show_progress=show_progress)
    return IngestionReport(
        chroma=os.fspath(chroma),
        collection=collection,
        encoder=encoder.fingerprint,
        dry_run=dry_run,
        files=read.files,
        passed_over=found.passed_over,
        documents=read.documents,
        chunks=len(read.records),
        repeated=maker.repeated,
        added=len(done.plan.add),
        changed=len(done.plan.change),
        unchanged=done.plan.unchanged,
        removed=done.removed,
        seconds=round(done.seconds, 3),
        problems=(*read.problems, *done.problems),
    )


_Stored: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """The content of the files.

    Attributes:
        roots: What this run answers for,
        unsure: but for files and folders that were not read whole: what is stored of them may not be gone.
    """

    records: Sequence[Record]
    files: int
    documents: int
    problems: tuple[Problem, ...]
    roots: Sequence[str]
    unsure: Sequence[str]

    def answers_for(self) -> Callable[[str], bool]:
        """Make what tells whether all that a file holds is known."""
        roots, unsure = Places(self.roots), Places(self.unsure)
        return lambda source: roots.cover(source) and not unsure.cover(source)

    def plan(self, stored: _Stored, *, failed: Iterable[Record] = ()) -> Plan:
        """Compare with what is stored, without records that could not be."""
        without = {record.id for record in failed}
        sources = {place.source for record in failed for place in record.places}
        wanted = [record for record in self.records if record.id not in without]
        sure = replace(self, unsure=[*self.unsure, *sources])
        return make_plan(wanted, stored, answers_for=sure.answers_for())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """The outcome of writing."""

    plan: Plan
    removed: int
    problems: tuple[Problem, ...]
    seconds: float


def _prepare(
    found: FoundFiles, maker: RecordMaker, store: Store | None, *, reindex: bool, show_progress: bool
) -> tuple[_Read, _Stored]:
    """Read everything and see what is there."""
    stored = store.metadata_by_id() if store else {}
    places = {id: [place.source for place in from_metadata(metadata)] for id, metadata in stored.items()}
    read = _read(found, maker, kept_from={source for its in places.values() for source in its}, shown=show_progress)
    if not reindex:
        return read, stored
    answers_for = read.answers_for()
    lost = {
        id: [source for source in its if not answers_for(source)] or ["another program"]
        for id, its in places.items()
        if not its or not all(map(answers_for, its))
    }
    if lost:
        raise OptionError(_would_lose(lost))
    return read, {}


def _read(found: FoundFiles, maker: RecordMaker, *, kept_from: set[str], shown: bool) -> _Read:
    problems = list(found.problems)
    unsure = list(found.unlisted)
    documents = files = 0
    with progress_bar(found.files, shown=shown, unit="file", title="Reading") as advance:
        for file in found.files:
            good, wrong = _read_one(file, maker)
            problems += wrong
            unsure += [str(file)] if wrong else []
            documents += good
            files += bool(good or not wrong)
            if advance is not None:
                advance(1)
    for root in _empty_folders(found):
        place = Places([root])
        if any(map(place.cover, kept_from)):
            unsure.append(root)
            problems.append(Problem(place=root, reason=_EMPTIED))
    return _Read(
        records=maker.records(),
        files=files,
        documents=documents,
        problems=tuple(problems),
        roots=[str(root) for root in found.roots],
        unsure=unsure,
    )


def _read_one(file: Path, maker: RecordMaker) -> tuple[int, list[Problem]]:
    """Read a file and split what it holds: how many documents went well, and what did not."""
    good, wrong = 0, []
    for item in read_file(file):
        if isinstance(item, Document):
            try:
                maker.add(item)
                good += 1
            except BaseException as exc:  # noqa: BLE001 - `Problem.of` raises what is not the document's
                wrong.append(Problem.of(file, exc))
        else:
            wrong.append(item)
    return good, wrong


def _empty_folders(found: FoundFiles) -> Iterator[str]:
    for root in found.roots:
        place = Places([str(root)])
        if os.path.isdir(root) and not any(place.cover(str(file)) for file in found.files):
            yield str(root)


def _carry_out(read: _Read, stored: _Stored, store: Store, encoder: Encoder, *, show_progress: bool) -> _Done:
    """Add, change, remove."""
    started = time.perf_counter()
    plan = read.plan(stored)
    failed: list[tuple[Record, BaseException]] = []

    def embed_and_store(some: Sequence[Record]) -> None:
        store.write(some, encoder.encode_documents([record.text for record in some]))

    with progress_bar(plan.add, shown=show_progress, unit="text", title="Embedding") as advance:
        for start in range(0, len(plan.add), AT_ONCE):
            some = plan.add[start : start + AT_ONCE]
            failed += do_in_parts(some, embed_and_store)
            if advance is not None:
                advance(len(some))
    if failed:  # what should replace the older pieces of these files is not there
        plan = read.plan(stored, failed=[record for record, _ in failed])
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


def _would_lose(sources_by_id: Mapping[str, Sequence[str]]) -> str:
    sources = sorted({source for its in sources_by_id.values() for source in its})
    shown = ", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
    return (
        f"--reindex (reindex=True) would lose {len(sources_by_id):,} texts of the collection, which come from {shown}: "
        f"they are not among the sources of this run, or can't be read now. Name those sources too, or another "
        f"collection."
    )
