"""A LangChain `VectorStore` for a run, with a ledger of its content.

    begun in the ledger -> deleted and added in the store -> saved, if the store must be -> ended in the ledger

An id is a hash of its text, so a piece that a killed run had begun can be deleted and restored, whether it was added,
half added, changed or removed. Then the next run goes on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.errors import OptionError, OtherEncoderError
from intel_quantized_embeddings.ingestion.ledger import Ledger, Piece
from intel_quantized_embeddings.ingestion.places import to_metadata
from intel_quantized_embeddings.ingestion.plan import MetadataChange
from intel_quantized_embeddings.ingestion.problems import UnreadableError, is_of_the_run
from intel_quantized_embeddings.ingestion.splitting import Record
from intel_quantized_embeddings.ingestion.vector_store_calls import ENCODER, StoreCalls, told

if TYPE_CHECKING:
    from langchain_core.documents import Document

logger = logging.getLogger(__name__)

# Pieces that are read, deleted and restored together.
_AT_ONCE = 512
# A store that must be saved is written whole each time, so it is saved only after growing by this part.
_SAVED_PART = 8
# After this many refused pieces in a row the store is at fault, not the pieces.
_MOST_REFUSED = 20


class LedgeredStore:
    """A vector store and its open ledger.

    Args:
        calls: The store.
        ledger: Its ledger.
        fingerprint: The fingerprint of the run's encoder.
    """

    def __init__(self, calls: StoreCalls, ledger: Ledger, *, fingerprint: str) -> None:
        self._calls = calls
        self._ledger = ledger
        self._fingerprint = fingerprint
        self._held = 0
        self._empty = False  # before anything is added, some stores have no table and can't delete
        self._refused = 0  # pieces, one after another
        # Changes of the store since the ledger was last written: metadata by id, None for removed pieces.
        self._unsettled: dict[str, Mapping[str, Any] | None] = {}

    @property
    def store(self) -> LedgeredStore:
        """The store itself, which stays the same when it is emptied."""
        return self

    def check_encoder(self) -> None:
        """Check that the ledger is of this encoder, or new; otherwise it is an OtherEncoderError."""
        kept = self._ledger.encoder
        if kept not in (None, self._fingerprint):
            raise OtherEncoderError(
                f"the store of the ledger {self._ledger.file} was filled by the encoder {kept} and this one is "
                f"{self._fingerprint}: their vectors don't compare. Use the encoder that filled it, choose another "
                f"store and ledger, or embed its texts again with `iqe ingest ... --reindex` (reindex=True)."
            )

    def open(self, *, reindex: bool) -> None:
        """Check the encoder, and reconcile store and ledger, unless `reindex` will do that later."""
        self._held = len(self._ledger)
        if not self._held:
            found = self._calls.any_record()
            self._empty = found is None
            if self._ledger.encoder is None:
                self._check_is_new(found)
        if reindex:
            return
        self.check_encoder()
        if self._ledger.encoder is None:
            self._ledger.take_encoder(self._fingerprint)
        if self._calls.can_tell:
            self._begin_what_is_lost()
        self._undo(self._ledger.begun())
        self.settle()

    def start_anew(self) -> None:
        """Remove all pieces of the ledger; records of other programs stay."""
        self._ledger.take_encoder(self._fingerprint)
        self._held = 0
        self._undo(self._ledger.begun())
        self.settle()

    def metadata_by_id(self) -> dict[str, dict[str, Any]]:
        """Return the metadata of the ledger's pieces."""
        return self._ledger.metadata_by_id()

    def write(self, records: Sequence[Record]) -> None:
        """See `RecordStore`; the store embeds."""
        self._put([Piece(id=record.id, text=record.text, metadata=to_metadata(record.places)) for record in records])
        self._held += len(records)

    def change(self, changes: Sequence[MetadataChange]) -> None:
        """See `RecordStore`. A `VectorStore` can't change metadata alone, so these are embedded again."""
        for start in range(0, len(changes), _AT_ONCE):
            some = {change.id: change.metadata for change in changes[start : start + _AT_ONCE]}
            self._put([_changed(piece, some[piece.id]) for piece in self._ledger.pieces(some)])

    def remove(self, ids: Sequence[str]) -> int:
        """See `RecordStore`."""
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            self._ledger.begin(self._ledger.pieces(some))
            self._calls.delete(some)
            self._held -= len(some)
            self._is_now(dict.fromkeys(some))
        return len(ids)

    def settle(self) -> None:
        """Save changes: in the store, then in the ledger."""
        if self._unsettled:
            self._calls.save()
            self._ledger.end(self._unsettled)
            self._unsettled.clear()

    def _is_now(self, metadata_by_id: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Record changes of the store, and save them at once, or, if it is saved whole, when there are enough."""
        self._unsettled |= metadata_by_id
        enough = max(_AT_ONCE, self._held // _SAVED_PART) if self._calls.must_be_saved else 1
        if len(self._unsettled) >= enough:
            self.settle()

    def _put(self, pieces: Sequence[Piece]) -> None:
        """Store pieces, replacing those with their ids; if that fails, all of it is undone."""
        self._ledger.begin(pieces)
        self._delete(pieces)
        try:
            self._calls.add(pieces)
        except Exception as exc:
            if is_of_the_run(exc):
                raise
            if isinstance(exc, OSError):
                raise self._calls.error("did not take what was to be stored", exc) from exc
            self._undo_refused(pieces, exc)
            raise UnreadableError(f"{self._calls.name} does not take it: {told(exc)}") from exc
        self._empty = False
        self._refused = 0
        self._is_now({piece.id: piece.metadata for piece in pieces})

    def _undo_refused(self, pieces: Sequence[Piece], exc: Exception) -> None:
        """Undo a refused write; too many refusals in a row, or a failing undo, are errors of the store."""
        if self._empty:
            self._empty = self._calls.any_record() is None
        self._undo([piece.id for piece in pieces])
        self._refused += len(pieces) == 1
        if self._refused >= _MOST_REFUSED:
            raise self._calls.error(f"refused {self._refused} texts one after another", exc) from exc

    def _delete(self, pieces: Sequence[Piece]) -> None:
        if not self._empty:
            self._calls.delete([piece.id for piece in pieces])

    def _undo(self, ids: Sequence[str]) -> None:
        """Restore pieces to their state in the ledger."""
        for start in range(0, len(ids), _AT_ONCE):
            pieces = self._ledger.pieces(ids[start : start + _AT_ONCE])
            self._delete(pieces)
            whole = [piece for piece in pieces if piece.metadata is not None]
            if whole:
                with self._calls.failing("did not take back what it held"):
                    self._calls.add(whole)
                self._empty = False
            self._is_now({piece.id: piece.metadata for piece in pieces})

    def _begin_what_is_lost(self) -> None:
        """Note as begun the ledger's pieces that the store lacks, as after restoring the store from a copy."""
        ids = self._ledger.whole()
        lost = [id for start in range(0, len(ids), _AT_ONCE) for id in self._lacking(ids[start : start + _AT_ONCE])]
        if lost:
            logger.warning(
                "%s lacks %d of the %d pieces that %s lists; they are put back",
                *(self._calls.name, len(lost), len(ids), self._ledger.file),
            )
            self._ledger.begin(self._ledger.pieces(lost))

    def _lacking(self, ids: Sequence[str]) -> list[str]:
        there = {id: document.metadata.get(ENCODER) for id, document in self._calls.found(ids).items()}
        return [id for id in ids if there.get(id) != self._fingerprint]

    def _check_is_new(self, document: Document | None) -> None:
        """Check by one of its records that a store with a new ledger was not filled through another ledger."""
        filled = document.metadata.get(ENCODER) if document else None
        if filled is not None:
            raise (OptionError if filled == self._fingerprint else OtherEncoderError)(
                f"{self._calls.name} holds what `iqe ingest` stored by the encoder {filled}, and the ledger "
                f"{self._ledger.file} is new. Name the ledger that belongs to the store, or an empty store."
            )


def _changed(piece: Piece, changes: Mapping[str, Any]) -> Piece:
    metadata = {**(piece.metadata or {}), **changes}
    kept = {name: value for name, value in metadata.items() if value is not None}
    return Piece(id=piece.id, text=piece.text, metadata=kept)
