"""Open a LangChain `VectorStore` for a run: of the right encoder, locked, with unfinished writes undone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion.ledger import Ledger
from intel_quantized_embeddings.ingestion.sparse_models import refusing_sparse, sparse_fingerprint
from intel_quantized_embeddings.ingestion.vector_store import LedgeredStore
from intel_quantized_embeddings.ingestion.vector_store_calls import Save, StoreCalls
from intel_quantized_embeddings.integrations.langchain import IntelQuantizedEmbeddings
from intel_quantized_embeddings.options import LoadOptions
from intel_quantized_embeddings.vectors import VectorType

from langchain_core.vectorstores import VectorStore  # isort: skip  # after the import above


class VectorStoreDestination:
    """A `VectorStore` whose embeddings are this package's, and its ledger.

    Args:
        store: A store of any kind.
        ledger: The ledger's file.
        save: Called with a store that lives in memory to save it.

    Raises:
        OptionError: The store has other embeddings, or replaces its content with each batch.
    """

    def __init__(self, store: VectorStore, *, ledger: str | os.PathLike[str], save: Save | None) -> None:
        self._embeddings = _embeddings_of(store)
        if (type(store).__name__, getattr(store, "mode", None)) == ("LanceDB", "overwrite"):
            raise OptionError(
                "langchain-community's LanceDB with mode='overwrite', its default, replaces the whole table with every "
                "batch that is added. Pass mode='append' to it, or use langchain-lancedb."
            )
        self._store = store
        self._ledger = Path(ledger).expanduser().resolve()
        self._save = save

    @property
    def encoder(self) -> Encoder:
        """The encoder of the store's embeddings; a sparse model is an UnsupportedModelError."""
        with refusing_sparse(LoadOptions(**self._embeddings._load_options())):
            return self._embeddings.encoder

    @property
    def fingerprint(self) -> str:
        """The encoder's fingerprint, the type of vectors that are not float32, and a hybrid store's sparse model."""
        type_ = self._embeddings.vector_type
        more = [None if type_ == VectorType.FLOAT32.value else type_, sparse_fingerprint(self._store)]
        return "+".join([self.encoder.fingerprint, *(part for part in more if part is not None)])

    def names(self) -> dict[str, str]:
        """Return its names in a report."""
        return {"store": type(self._store).__name__, "ledger": os.fspath(self._ledger)}

    @contextmanager
    def opened_to_read(self, *, reindex: bool) -> Iterator[LedgeredStore | None]:
        """Read the ledger alone; see `Destination`."""
        if not self._ledger.exists():
            yield None
            return
        with closing(Ledger(self._ledger)) as ledger:
            store = self._ledgered(ledger)
            if not reindex:
                store.check_encoder()
            yield store

    @contextmanager
    def opened(self, *, reindex: bool) -> Iterator[LedgeredStore]:
        """Open the ledger, and undo unfinished writes of a killed run; see `Destination`."""
        with closing(Ledger(self._ledger)) as ledger:
            store = self._ledgered(ledger)
            store.open(reindex=reindex)
            yield store
            store.settle()

    def _ledgered(self, ledger: Ledger) -> LedgeredStore:
        calls = StoreCalls(self._store, key=ledger.key, fingerprint=self.fingerprint, save=self._save)
        return LedgeredStore(calls, ledger, fingerprint=self.fingerprint)


def _embeddings_of(store: VectorStore) -> IntelQuantizedEmbeddings:
    if not isinstance(store, VectorStore):
        raise OptionError(f"store={type(store).__name__} is not allowed; it is a LangChain VectorStore.")
    try:
        embeddings = store.embeddings
    except Exception:  # noqa: BLE001 - how some say that they have none
        embeddings = None
    if not isinstance(embeddings, IntelQuantizedEmbeddings):
        found = "no embeddings" if embeddings is None else f"the embeddings {type(embeddings).__name__}"
        raise OptionError(
            f"the store {type(store).__name__} has {found}; ingestion splits texts by the tokenizer of the encoder "
            f"that embeds them and keeps its fingerprint. Make the store with IntelQuantizedEmbeddings(model=...)."
        )
    return embeddings
