"""The Protocols of the place that a run writes to, which `chroma_opening` and `vector_store_opening` implement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.ingestion.plan import MetadataChange
from intel_quantized_embeddings.ingestion.splitting import Record


class RecordStore(Protocol):
    """The records of a place. A refusal of one record is an UnreadableError, any other error a VectorStoreError."""

    def metadata_by_id(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the metadata of all records."""

    def write(self, records: Sequence[Record]) -> None:
        """Embed records and store them; existing ones are overwritten."""

    def change(self, changes: Sequence[MetadataChange]) -> None:
        """Give records other metadata."""

    def remove(self, ids: Sequence[str]) -> int:
        """Remove records, and return their number."""


class OpenDestination(Protocol):
    """A place that is open for writing, locked against other runs.

    Attributes:
        store: Its records.
    """

    @property
    def store(self) -> RecordStore: ...

    def start_anew(self) -> None:
        """Empty the place and write the run's encoder into it; `store` is then that of the empty place."""


class Destination(Protocol):
    """The place of a run's records.

    Attributes:
        encoder: The encoder, loaded at first use.
        fingerprint: The encoder's fingerprint, with everything else that vectors depend on.
    """

    @property
    def encoder(self) -> Encoder: ...

    @property
    def fingerprint(self) -> str: ...

    def names(self) -> Mapping[str, str]:
        """Return its names in a report: `chroma` and `collection`, or `store` and `ledger`."""

    def opened_to_read(self, *, reindex: bool) -> AbstractContextManager[RecordStore | None]:
        """Open it to see what a run would do, without making or changing anything; None if there is nothing.

        Raises:
            OtherEncoderError: Another encoder filled it, and `reindex` is False.
            VectorStoreError: It can't be reached or read.
        """

    def opened(self, *, reindex: bool) -> AbstractContextManager[OpenDestination]:
        """Open it for writing, making it if it does not exist, and repairing it after a killed run.

        Raises:
            OtherEncoderError: Another encoder filled it, and `reindex` is False.
            VectorStoreError: It can't be reached or read, or another run is writing in it.
            OptionError: A name is not allowed.
        """
