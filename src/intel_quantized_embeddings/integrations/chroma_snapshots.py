"""Copies of Chroma's embedded index, so that a process killed while the index is written loses nothing.

Chroma keeps texts, metadata and a log of vectors in SQLite, which survives a kill. Its vector index is in files that it
overwrites every thousand records; after a kill in between they are half old and half new, and opening them fails, ends
the process, or finds the wrong texts. Chroma first writes the files, then their position in the log (`max_seq_id`) into
SQLite, and only then clears the log. So a copy of the files from before is enough: if `max_seq_id` has not moved since,
the copy is put back and the log brings it up to date; if it has, the files are whole.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from intel_quantized_embeddings.errors import VectorStoreError

DATABASE = "chroma.sqlite3"
LOCK = "iqe-ingest.lock"
_COPIES = "iqe-ingest-copies"
_UNFINISHED = ".part"
_PATIENCE_S = 30.0  # waits for another connection that is writing


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Lock a Chroma folder against other runs, after repairing it if a run was killed.

    Raises:
        VectorStoreError: Another run holds it, it can't be written, or its files have an unknown layout.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as exc:
        raise VectorStoreError(f"another iqe ingest is writing in {folder}; wait for it to end.") from exc
    except OSError as exc:
        raise VectorStoreError(f"{folder} can't be written, or is not a folder: {exc}") from exc
    try:
        _put_back_all(folder)
        _remove_copies(folder)
        yield
    finally:
        lock.release()


@contextmanager
def repaired_after_kill(folder: Path) -> Iterator[bool]:
    """Repair a folder after a killed run, unless a run is at work; yields whether anything was repaired.

    The first reading of a collection then writes its index, so it belongs inside the `with` block: the copies are
    removed when that ends well. A database that can't be read is a VectorStoreError.
    """
    if not (folder / _COPIES).is_dir():
        yield False
        return
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(folder / LOCK, timeout=0))
        except Timeout:
            yield False
            return
        _put_back_all(folder)
        yield True
        _remove_copies(folder)


class IndexCopy:
    """A copy of one collection's index files in a folder of Chroma's, renewed whenever Chroma has written them.

    Raises:
        VectorStoreError: There is no room for it, or the files have an unknown layout.
    """

    def __init__(self, folder: Path, collection_id: str) -> None:
        self._folder = folder
        # Open until the end: closing any descriptor of the file in this process would drop the locks of Chroma's own
        # SQLite on it.
        self._database = _open(folder)
        self._segment = _vector_segment(self._database, collection_id)
        self._copy: Path | None = None
        self.renew()

    def renew(self) -> None:
        """Copy the files again if they were written since; without room for it that is a VectorStoreError."""
        position = _position(self._database, self._segment)
        copy = self._folder / _COPIES / f"{self._segment}@{position}"
        if copy == self._copy:
            return
        unfinished = copy.with_name(copy.name + _UNFINISHED)
        index = self._folder / self._segment
        try:
            unfinished.mkdir(parents=True)
            if index.is_dir():
                shutil.copytree(index, unfinished, dirs_exist_ok=True)
            unfinished.rename(copy)
        except (OSError, shutil.Error) as exc:
            raise VectorStoreError(f"no copy of Chroma's index could be made in {self._folder}: {exc}") from exc
        if self._copy is not None:
            shutil.rmtree(self._copy)
        self._copy = copy

    def close(self, *, whole: bool) -> None:
        """Close the copy after Chroma's client; remove it if every write succeeded (`whole`)."""
        self._database.close()
        if whole:
            _remove_copies(self._folder)


def _put_back_all(folder: Path) -> None:
    """Put back the copies of indexes that were being written when a run was killed."""
    copies = folder / _COPIES
    if not copies.is_dir():
        return
    with closing(_open(folder)) as database:
        for copy in sorted(copies.iterdir()):
            if copy.suffix == _UNFINISHED:  # killed while copying: the index was not being written
                continue
            segment, _, position = copy.name.rpartition("@")
            if _position(database, segment) == int(position):
                _put_back(copy, folder / segment)


def _put_back(copy: Path, index: Path) -> None:
    """Replace index files by their copy; if killed in between, the next run does it again."""
    shutil.rmtree(index, ignore_errors=True)
    if any(copy.iterdir()):
        shutil.copytree(copy, index)


def _remove_copies(folder: Path) -> None:
    """Remove all copies at once, as a later run after a kill sees it."""
    copies, going = folder / _COPIES, folder / (_COPIES + ".going")
    shutil.rmtree(going, ignore_errors=True)
    if copies.is_dir():
        copies.rename(going)
        shutil.rmtree(going)


def _position(database: sqlite3.Connection, segment: str) -> int:
    """Return the log position up to which a segment's files go."""
    rows = _ask(database, "SELECT seq_id FROM max_seq_id WHERE segment_id = ?", segment)
    return int(rows[0][0]) if rows else 0


def _vector_segment(database: sqlite3.Connection, collection_id: str) -> str:
    rows = _ask(database, "SELECT id FROM segments WHERE collection = ? AND scope = 'VECTOR'", collection_id)
    if len(rows) != 1:
        raise VectorStoreError(
            f"{DATABASE} has {len(rows)} vector segments for the collection {collection_id}, not one: this Chroma "
            f"keeps its index in a way that this version does not know."
        )
    return str(rows[0][0])


def _open(folder: Path) -> sqlite3.Connection:
    # Not read-only: SQLite must roll back the journal of a killed process before reading.
    database = (folder / DATABASE).resolve()
    try:
        return sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=_PATIENCE_S)
    except sqlite3.Error as exc:
        raise VectorStoreError(f"{database} can't be opened: {exc}") from exc


def _ask(database: sqlite3.Connection, query: str, parameter: str) -> list[Any]:
    try:
        return database.execute(query, (parameter,)).fetchall()
    except sqlite3.Error as exc:
        raise VectorStoreError(f"{DATABASE} can't be read as Chroma's: {exc}") from exc
