"""The calls to a LangChain `VectorStore`: `add_texts` with ids, `delete`, and `get_by_ids` if it has that."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from langchain_core.vectorstores import VectorStore

from intel_quantized_embeddings.errors import OptionError, VectorStoreError, one_line
from intel_quantized_embeddings.ingestion.ledger import Piece
from intel_quantized_embeddings.ingestion.problems import is_of_the_run
from intel_quantized_embeddings.ingestion.splitting import record_id

if TYPE_CHECKING:
    from langchain_core.documents import Document

logger = logging.getLogger(__name__)

# Kept with each record, so that a store without its ledger still names its encoder.
ENCODER = "iqe_encoder"

Save = Callable[[VectorStore], object]


class StoreCalls:
    """A vector store, whose errors are VectorStoreErrors, but for those of adding, which may be the texts' fault.

    Args:
        store: A store of any kind.
        key: Part of every id, because some stores have one space of ids for all collections of a database:
            langchain-postgres's overwrites and deletes records of other collections that have the same id.
        fingerprint: Kept with each record.
        save: Saves its content; None if the store needs no saving.

    Attributes:
        name: Its class, for messages.
        can_tell: Whether it can look up ids.
        must_be_saved: Whether its content is lost with the process unless it is saved.
    """

    def __init__(self, store: VectorStore, *, key: str, fingerprint: str, save: Save | None) -> None:
        self._store = store
        self._key = key
        self._fingerprint = fingerprint
        self._save = save
        self.name = type(store).__name__
        self.can_tell = type(store).get_by_ids is not VectorStore.get_by_ids
        self.must_be_saved = save is not None

    def add(self, pieces: Sequence[Piece]) -> None:
        """Embed pieces and add them; errors of the store are raised unchanged.

        Raises:
            OptionError: The store gave them other ids; they are deleted again.
        """
        ids = [self._id(piece.id) for piece in pieces]
        given = self._store.add_texts(
            [piece.text for piece in pieces],
            metadatas=[{**(piece.metadata or {}), ENCODER: self._fingerprint} for piece in pieces],
            ids=ids,
        )
        if [_plain(id) for id in given] != ids:
            self._store.delete(ids=list(given))
            raise OptionError(
                f"{self.name} stores texts under ids of its own, not under those that it is given, so they could not "
                f"be found again. Use another store."
            )

    def delete(self, ids: Sequence[str]) -> None:
        """Delete what it has of ids; some refuse to delete what they don't have."""
        if self.can_tell:
            there = self.found(ids)
            ids = [id for id in ids if id in there]
        if not ids:
            return
        with self.failing("did not delete what was to go"):
            deleted = self._store.delete(ids=[self._id(id) for id in ids])
        if deleted is False:
            raise VectorStoreError(f"{self.name} did not delete {len(ids):,} pieces, and does not say why.")

    def found(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return the existing ids among some; only if `can_tell`."""
        ours = {self._id(id): id for id in ids}
        with self.failing("did not say what it holds"):
            documents = self._store.get_by_ids(list(ours))
        # langchain-qdrant leaves out the id.
        return {
            record_id(document.page_content) if document.id is None else ours[_plain(document.id)]: document
            for document in documents
        }

    def any_record(self) -> Document | None:
        """Return any record; None if there is none, or if the store can't be searched, as without a table."""
        try:
            found = self._store.similarity_search("a", k=1)
        except Exception as exc:
            if is_of_the_run(exc):
                raise
            logger.debug("%s can't be searched yet: %s", self.name, told(exc))
            return None
        return found[0] if found else None

    def save(self) -> None:
        """Save the store's content."""
        if self._save is not None:
            with self.failing("could not be saved"):
                self._save(self._store)

    def _id(self, id: str) -> str:
        """Return the id in the store: 32 hexadecimal digits, which stores that want UUIDs accept too."""
        return hashlib.sha256(f"{self._key} {id}".encode()).hexdigest()[:32]

    @contextmanager
    def failing(self, what: str) -> Iterator[None]:
        """Map errors to the store's; an error that ends the run is raised unchanged."""
        try:
            yield
        except Exception as exc:
            if is_of_the_run(exc):
                raise
            raise self.error(what, exc) from exc

    def error(self, what: str, exc: Exception) -> VectorStoreError:
        """Make the error about the store's failure."""
        return VectorStoreError(f"{self.name} {what} ({told(exc)}). What was stored is kept; run it again to go on.")


def told(exc: Exception) -> str:
    """Return an error of another library on one line."""
    message = one_line(exc)
    return f"{type(exc).__name__}: {message[:300]}" if message else type(exc).__name__


def _plain(id: object) -> str:
    """Return an id as it was given: stores that keep UUIDs write them with hyphens."""
    return str(id).replace("-", "").lower()
