"""What a run asks of the place it writes to: `chroma_opening` and `vector_store` are the two that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.ingestion.plan import MetadataChange
from intel_quantized_embeddings.ingestion.splitting import Record


class RecordStore(Protocol):
    """The records of a place. What it refuses of one record is an UnreadableError, all else a VectorStoreError."""

    def metadata_by_id(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the metadata of everything it holds."""

    def write(self, records: Sequence[Record]) -> None:
        """Embed records and store them; those that are there already are written over."""

    def change(self, changes: Sequence[MetadataChange]) -> None:
        """Give records other metadata."""

    def remove(self, ids: Sequence[str]) -> int:
        """Remove records, and return how many went."""


class OpenDestination(Protocol):
    """A place that is open for writing, by nobody else.

    Attributes:
        store: Its records.
    """

    @property
    def store(self) -> RecordStore: ...

    def start_anew(self) -> None:
        """Empty it and let it know the run's encoder; `store` is that of the empty place then."""


class Destination(Protocol):
    """Where a run's records go.

    Attributes:
        encoder: What embeds, loaded when first asked for.
        fingerprint: The encoder's, and of whatever else the vectors depend on.
    """

    @property
    def encoder(self) -> Encoder: ...

    @property
    def fingerprint(self) -> str: ...

    def names(self) -> Mapping[str, str]:
        """Return what a report calls it: `chroma` and `collection`, or `store` and `ledger`."""

    def opened_to_read(self, *, reindex: bool) -> AbstractContextManager[RecordStore | None]:
        """Open it to see what a run would do, None where there is nothing; nothing is made or changed.

        Raises:
            OtherEncoderError: Another encoder filled it, and it is not to be indexed anew.
            VectorStoreError: It can't be reached or read.
        """

    def opened(self, *, reindex: bool) -> AbstractContextManager[OpenDestination]:
        """Open it to be filled, made where there is none; what a killed run left is put right.

        Raises:
            OtherEncoderError: Another encoder filled it, and it is not to be indexed anew.
            VectorStoreError: It can't be reached or read, or another run is writing in it.
            OptionError: A name is not allowed.
        """
