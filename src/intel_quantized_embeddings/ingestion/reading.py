"""Read the sources and compare them with the stored records: everything is read before anything is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion.destination import RecordStore
from intel_quantized_embeddings.ingestion.documents import read_file
from intel_quantized_embeddings.ingestion.places import Document, from_metadata
from intel_quantized_embeddings.ingestion.plan import Plan, make_plan
from intel_quantized_embeddings.ingestion.problems import Problem
from intel_quantized_embeddings.ingestion.sources import FoundFiles, Places
from intel_quantized_embeddings.ingestion.splitting import Record, RecordMaker
from intel_quantized_embeddings.reporting.progress import progress_bar

_EMPTIED = (
    "there is no file to read in it any more, and the collection has texts from it, which were kept: is a disk not "
    "mounted? To remove them, name the folder above it, or delete the collection"
)

Stored: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The content of the files.

    Attributes:
        roots: The sources of this run, whose missing files count as gone.
        unsure: Files and folders that were not read whole; their stored records are kept.
    """

    records: Sequence[Record]
    files: int
    documents: int
    problems: tuple[Problem, ...]
    roots: Sequence[str]
    unsure: Sequence[str]

    def answers_for(self) -> Callable[[str], bool]:
        """Return a function that says whether this run read all of a file."""
        roots, unsure = Places(self.roots), Places(self.unsure)
        return lambda source: roots.cover(source) and not unsure.cover(source)

    def plan(self, stored: Stored, *, failed: Iterable[Record] = ()) -> Plan:
        """Compare with the stored records, without records that could not be stored."""
        without = {record.id for record in failed}
        sources = {place.source for record in failed for place in record.places}
        wanted = [record for record in self.records if record.id not in without]
        sure = replace(self, unsure=[*self.unsure, *sources])
        return make_plan(wanted, stored, answers_for=sure.answers_for())


def read_all(
    found: FoundFiles, maker: RecordMaker, store: RecordStore | None, *, reindex: bool, show_progress: bool
) -> tuple[Content, Stored]:
    """Read all files and the stored records.

    Args:
        found: The files.
        maker: Makes records of documents.
        store: The store to write to; None if there is nothing yet.
        reindex: Whether the store will be emptied first, so that nothing counts as stored.
        show_progress: Draw a bar.

    Raises:
        OptionError: Emptying the store would lose texts that the sources don't have.
    """
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


def _read(found: FoundFiles, maker: RecordMaker, *, kept_from: set[str], shown: bool) -> Content:
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
    return Content(
        records=maker.records(),
        files=files,
        documents=documents,
        problems=tuple(problems),
        roots=[str(root) for root in found.roots],
        unsure=unsure,
    )


def _read_one(file: Path, maker: RecordMaker) -> tuple[int, list[Problem]]:
    """Read a file and split its documents; return their number, and the problems."""
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


def _would_lose(sources_by_id: Mapping[str, Sequence[str]]) -> str:
    sources = sorted({source for its in sources_by_id.values() for source in its})
    shown = ", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
    return (
        f"--reindex (reindex=True) would lose {len(sources_by_id):,} texts of the collection, which come from {shown}: "
        f"they are not among the sources of this run, or can't be read now. Name those sources too, or another "
        f"collection."
    )
