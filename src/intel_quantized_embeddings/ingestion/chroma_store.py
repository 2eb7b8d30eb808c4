"""A Chroma collection for a run: calls are retried while a server is away, and errors become this package's."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from chromadb.errors import ChromaError, InvalidArgumentError, RateLimitError

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.errors import VectorStoreError
from intel_quantized_embeddings.ingestion.places import to_metadata
from intel_quantized_embeddings.ingestion.plan import MetadataChange
from intel_quantized_embeddings.ingestion.problems import UnreadableError
from intel_quantized_embeddings.ingestion.splitting import Record
from intel_quantized_embeddings.reporting.terminal import megabytes

if TYPE_CHECKING:
    from chromadb import Collection
    from chromadb.api import ClientAPI

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

# Records read at once. Writes are as large as Chroma allows, and no larger than a batch of embedding.
_PAGE = 10_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
# Chroma often does not name a full disk as the cause; with less free space than this it is the cause.
_NO_ROOM_BYTES = 8_000_000


def retrying(call: Callable[[], _Result], *, patience_s: float, folder: Path | None = None) -> _Result:
    """Call Chroma, again and again while its server is away.

    Repeating is safe: writes go to their ids, and deleted records stay deleted. An embedded database, which has a
    folder, is never away.

    Raises:
        VectorStoreError: The server stayed away, or Chroma refused.
    """
    given_up: float | None = None
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return call()
        except Exception as exc:
            if folder is not None or not _is_away(exc):
                if isinstance(exc, (ChromaError, OSError)) or type(exc) is Exception:
                    raise VectorStoreError(_refusal(exc, folder)) from exc
                raise
            now = time.monotonic()
            if given_up is None:
                given_up = now + patience_s
            if now >= given_up:
                raise VectorStoreError(
                    f"Chroma's server stayed away for {patience_s:.0f} s ({type(exc).__name__}: {exc}). What was "
                    f"stored is kept; run it again to go on."
                ) from exc
            logger.warning("Chroma's server does not answer (%s); trying again in %.1f s", exc, pause)
            time.sleep(min(pause, max(given_up - now, 0.0)))
            pause = min(2 * pause, _LONGEST_PAUSE_S)


class ChromaStore:
    """One collection, of a server that may be away for `patience_s`, or embedded in `folder`."""

    def __init__(
        self,
        client: ClientAPI,
        collection: Collection,
        *,
        encoder: Encoder,
        patience_s: float,
        folder: Path | None = None,
        after_write: Callable[[], None] = lambda: None,
    ) -> None:
        self._collection = collection
        self._encoder = encoder
        self._patience_s = patience_s
        self._folder = folder
        self._after_write = after_write
        self._most = self._call(client.get_max_batch_size)

    def metadata_by_id(self) -> dict[str, dict[str, Any]]:
        """Return the metadata of everything in the collection."""
        found: dict[str, dict[str, Any]] = {}
        while True:
            page = self._call(partial(self._collection.get, include=["metadatas"], limit=_PAGE, offset=len(found)))
            found |= {id: dict(kept or {}) for id, kept in zip(page["ids"], page["metadatas"] or [], strict=True)}
            if len(page["ids"]) < _PAGE:
                return found

    def write(self, records: Sequence[Record]) -> None:
        """Embed records and store them; existing ones are overwritten.

        Args:
            records: Any number of records; one that Chroma refuses is an UnreadableError.
        """
        vectors = self._encoder.encode_documents([record.text for record in records])

        def upsert(some: slice) -> None:
            self._collection.upsert(
                ids=[record.id for record in records[some]],
                embeddings=vectors[some],
                documents=[record.text for record in records[some]],
                metadatas=[to_metadata(record.places) for record in records[some]],
            )

        for some in self._slices(len(records)):
            self._write(partial(upsert, some))

    def change(self, changes: Sequence[MetadataChange]) -> None:
        """Give records other metadata; a record that Chroma refuses is an UnreadableError."""

        def update(some: slice) -> None:
            self._collection.update(
                ids=[change.id for change in changes[some]],
                metadatas=[dict(change.metadata) for change in changes[some]],
            )

        for some in self._slices(len(changes)):
            self._write(partial(update, some))

    def remove(self, ids: Sequence[str]) -> int:
        """Remove records; one that is still there is a VectorStoreError.

        Returns:
            The number of removed records. Chroma's own answer is the number that it was asked for.
        """
        gone = 0
        for some in self._slices(len(ids)):
            slice_ = list(ids[some])
            before = self._how_many(slice_)
            self._write(partial(self._collection.delete, ids=slice_))
            left = self._how_many(slice_)
            if left:
                raise VectorStoreError(f"Chroma still has {left:,} of {len(slice_):,} records that it was to remove.")
            gone += before
        return gone

    def _how_many(self, ids: list[str]) -> int:
        return len(self._call(lambda: self._collection.get(ids=ids, include=[]))["ids"])

    def _slices(self, length: int) -> list[slice]:
        return [slice(start, start + self._most) for start in range(0, length, self._most)]

    def _write(self, call: Callable[[], object]) -> None:
        try:
            self._call(call)
        except VectorStoreError as exc:
            if isinstance(exc.__cause__, InvalidArgumentError):  # a fault of the records, not of the store
                raise UnreadableError(f"Chroma does not take it: {exc.__cause__}") from exc
            raise
        except BaseException as exc:
            if type(exc).__name__ == "PanicException":  # an error of Rust, and of the store
                raise VectorStoreError(_refusal(exc, self._folder)) from exc
            raise
        self._after_write()

    def _call(self, call: Callable[[], _Result]) -> _Result:
        return retrying(call, patience_s=self._patience_s, folder=self._folder)


def _is_away(exc: Exception) -> bool:
    """Return whether trying again may help. Chroma's client raises a plain Exception for a proxy's answer."""
    return isinstance(exc, (httpx.TransportError, RateLimitError)) or type(exc) is Exception


def _refusal(exc: BaseException, folder: Path | None) -> str:
    told = f"Chroma did not do as asked ({type(exc).__name__}: {exc})."
    if folder is not None and folder.is_dir():
        free = shutil.disk_usage(folder).free
        if free < _NO_ROOM_BYTES:
            told += f" The disk of {folder} is full: it has {megabytes(free)} left. Make room and run it again."
    return f"{told} What was stored is kept."
