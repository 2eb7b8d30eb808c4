"""A ledger: an SQLite file with the content of a vector store.

LangChain's `VectorStore` adds and deletes; it does not list its content or name the encoder that filled it. The ledger
has both, with each piece's text and metadata. It notes every write before it begins and after it ended, so that a run
can undo the unfinished writes of a killed one.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import OptionError, VectorStoreError

# In the file's header: its application ("iqeL"), and the version of its tables.
_APPLICATION_ID, _FORMAT = 0x6971654C, 1
_TABLES = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # No metadata: the piece was begun and never finished.
    "CREATE TABLE pieces (id TEXT PRIMARY KEY, text TEXT NOT NULL, metadata TEXT, begun INTEGER NOT NULL)",
    "CREATE INDEX begun_pieces ON pieces (id) WHERE begun",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_FORMAT}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A text that a store holds, or is to hold.

    Attributes:
        id: A hash of the text.
        text: The text.
        metadata: The result of `places.to_metadata`; None for a piece that was never stored whole.
    """

    id: str
    text: str
    metadata: Mapping[str, Any] | None


class Ledger:
    """The ledger's file, locked against every other run until it is closed.

    Args:
        file: The file, which is made with its folder if it does not exist.

    Raises:
        OptionError: The file is something else.
        VectorStoreError: Another run holds it, or it can't be read or written.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        with self._told():
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                # From the first transaction on no other process can open it; the lock ends with the process.
                self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
                with self._transaction():
                    self._check_or_make()
            except BaseException:
                self._database.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def encoder(self) -> str | None:
        """The fingerprint of the encoder that filled the store; None for a new ledger."""
        rows = self._ask("SELECT value FROM about WHERE name = 'encoder'")
        return str(rows[0][0]) if rows else None

    @property
    def key(self) -> str:
        """The key by which this ledger's ids in a store differ from any other's, even for the same texts."""
        return str(self._ask("SELECT value FROM about WHERE name = 'key'")[0][0])

    def __len__(self) -> int:
        """The number of pieces that are stored whole."""
        return int(self._ask("SELECT count(*) FROM pieces WHERE metadata IS NOT NULL")[0][0])

    def metadata_by_id(self) -> dict[str, dict[str, Any]]:
        """Return the metadata of every piece that is stored whole."""
        rows = self._ask("SELECT id, metadata FROM pieces WHERE metadata IS NOT NULL ORDER BY rowid")
        return {id: json.loads(metadata) for id, metadata in rows}

    def pieces(self, ids: Iterable[str]) -> list[Piece]:
        """Return pieces as they were last stored, without unknown ones."""
        rows = [row for id in ids for row in self._ask("SELECT id, text, metadata FROM pieces WHERE id = ?", id)]
        return [Piece(id=id, text=text, metadata=json.loads(kept) if kept else None) for id, text, kept in rows]

    def whole(self) -> list[str]:
        """Return the ids of pieces that are stored whole and not being changed."""
        return [id for (id,) in self._ask("SELECT id FROM pieces WHERE metadata IS NOT NULL AND NOT begun")]

    def begun(self) -> list[str]:
        """Return the ids of pieces whose change was begun and did not end."""
        return [id for (id,) in self._ask("SELECT id FROM pieces WHERE begun ORDER BY rowid")]

    def begin(self, pieces: Iterable[Piece]) -> None:
        """Note, before the store is changed, that pieces will be written or removed; their metadata stay."""
        with self._told(), self._transaction():
            self._database.executemany(
                "INSERT INTO pieces (id, text, begun) VALUES (?, ?, 1) ON CONFLICT (id) DO UPDATE SET begun = 1",
                [(piece.id, piece.text) for piece in pieces],
            )

    def end(self, stored: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Note the pieces' state in the store: their metadata by id, None for a piece that it does not have."""
        kept = [(json.dumps(metadata), id) for id, metadata in stored.items() if metadata is not None]
        with self._told(), self._transaction():
            self._database.executemany("UPDATE pieces SET metadata = ?, begun = 0 WHERE id = ?", kept)
            gone = [(id,) for id, metadata in stored.items() if metadata is None]
            self._database.executemany("DELETE FROM pieces WHERE id = ?", gone)

    def take_encoder(self, fingerprint: str) -> None:
        """Note the encoder that fills the store from now on; all pieces count as begun, and are to be removed."""
        with self._told(), self._transaction():
            self._database.execute("INSERT OR REPLACE INTO about VALUES ('encoder', ?)", (fingerprint,))
            self._database.execute("UPDATE pieces SET metadata = NULL, begun = 1")

    def _check_or_make(self) -> None:
        found = self._database.execute("PRAGMA application_id").fetchone()[0]
        format = self._database.execute("PRAGMA user_version").fetchone()[0]
        if self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            for statement in _TABLES:
                self._database.execute(statement)
            self._database.execute("INSERT INTO about VALUES ('key', ?)", (secrets.token_hex(8),))
        elif found != _APPLICATION_ID:
            raise OptionError(f"ledger={str(self.file)!r} is another program's database; name a file of its own.")
        elif format != _FORMAT:
            raise OptionError(
                f"ledger={str(self.file)!r} has format {format}, and this version of intel-quantized-embeddings knows "
                f"{_FORMAT}: use the version that wrote it, or begin anew with an empty store and another ledger."
            )

    def _ask(self, query: str, *parameters: str) -> Sequence[Any]:
        with self._told():
            return self._database.execute(query, parameters).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN EXCLUSIVE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Map errors of SQLite and of making its folder to this package's."""
        try:
            yield
        except sqlite3.DatabaseError as exc:
            code = getattr(exc, "sqlite_errorcode", None)
            if code == sqlite3.SQLITE_BUSY:
                raise VectorStoreError(
                    f"another iqe ingest is using the ledger {self.file}; wait for it to end."
                ) from exc
            if code == sqlite3.SQLITE_NOTADB:
                raise OptionError(f"ledger={str(self.file)!r} is not a ledger: {exc}. Name a file of its own.") from exc
            raise VectorStoreError(f"the ledger {self.file} can't be read or written: {exc}") from exc
        except OSError as exc:
            if isinstance(exc, VectorStoreError):
                raise
            raise VectorStoreError(f"the ledger {self.file} can't be read or written: {exc}") from exc
