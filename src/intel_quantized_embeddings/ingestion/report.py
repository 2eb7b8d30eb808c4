"""The report of a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from intel_quantized_embeddings.ingestion.problems import Problem
from intel_quantized_embeddings.reporting.terminal import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestionReport:
    """The result of `ingest`, or of a dry run.

    Attributes:
        chroma: Chroma's folder or address; None for another store.
        collection: The collection's name.
        store: The class of a LangChain store; None for Chroma.
        ledger: The ledger's file.
        encoder: The encoder's fingerprint.
        dry_run: Whether nothing was written.
        files: Number of files that were read, whole or in part.
        passed_over: Files of other kinds in the folders.
        documents: Files, pages of PDFs and lines of JSONL.
        chunks: Different chunks of the sources.
        repeated: Number of repetitions of chunks, each of which is stored once, with all its sources.
        added: Chunks embedded and stored.
        changed: Chunks of which only the metadata was written, if another file has them, say.
        unchanged: Chunks that were stored already.
        removed: Chunks that no file has any more.
        seconds: Time of embedding and storing.
        problems: Problems of reading and storing. Nothing of such a file was removed.
    """

    chroma: str | None = None
    collection: str | None = None
    store: str | None = None
    ledger: str | None = None
    encoder: str
    dry_run: bool
    files: int
    passed_over: int
    documents: int
    chunks: int
    repeated: int
    added: int
    changed: int
    unchanged: int
    removed: int
    seconds: float
    problems: tuple[Problem, ...]

    @property
    def complete(self) -> bool:
        """Whether everything was read and stored."""
        return not self.problems

    def to_mapping(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        kinds = f"; {self.passed_over:,} of other kinds passed over" if self.passed_over else ""
        again = f" (and {self.repeated:,} that repeat one)" if self.repeated else ""
        done = "would be added" if self.dry_run else "added"
        speed = f" in {self.seconds:.1f} s, {self.added / self.seconds:,.0f} a second" if self.seconds else ""
        place = f"{self.collection} in {self.chroma}" if self.chroma else f"{self.store} of {self.ledger}"
        lines = [
            f"{place}: {counted(self.files, 'file')}, "
            f"{counted(self.documents, 'document')}, {counted(self.chunks, 'chunk')}{again}{kinds}",
            f"{self.added:,} {done}{speed}; {self.changed:,} with new metadata, {self.removed:,} removed, "
            f"{self.unchanged:,} unchanged",
        ]
        return "\n".join([*lines, *(f"not read: {problem}" for problem in self.problems)])
