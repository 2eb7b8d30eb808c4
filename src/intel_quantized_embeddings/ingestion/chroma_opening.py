"""Open a collection for a run: of the right encoder, locked against other runs, with a copy of its index."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from chromadb.errors import NotFoundError

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.shared import shared_encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion.chroma_store import ChromaStore, retrying
from intel_quantized_embeddings.ingestion.sparse_models import refusing_sparse
from intel_quantized_embeddings.integrations.chroma import SPACES
from intel_quantized_embeddings.integrations.chroma_collections import (
    check_encoder,
    connect,
    create_collection,
    is_address,
    other_space,
    take_collection,
)
from intel_quantized_embeddings.integrations.chroma_snapshots import DATABASE, IndexCopy, only_writer
from intel_quantized_embeddings.options import LoadOptions, require_text

if TYPE_CHECKING:
    from chromadb import Collection
    from chromadb.api import ClientAPI

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


def database_may_exist(chroma: str | os.PathLike[str]) -> bool:
    """Return whether a folder may hold a database; of an address it is not known before it is asked."""
    return is_address(chroma) or (_folder(chroma) / DATABASE).is_file()


class ChromaDestination:
    """A collection of a folder or a server.

    Args:
        chroma: A folder, or the address of a server.
        collection: The collection's name.
        options: The options of the encoder.
        patience_s: Seconds to wait for a server that went away.
    """

    def __init__(
        self, chroma: str | os.PathLike[str], collection: str, *, options: LoadOptions, patience_s: float
    ) -> None:
        self._chroma = chroma
        self._collection = collection
        self._options = options
        self._patience_s = patience_s

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder of the options; a sparse model is an UnsupportedModelError."""
        with refusing_sparse(self._options):
            return shared_encoder(self._options)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the encoder."""
        return self.encoder.fingerprint

    def names(self) -> dict[str, str]:
        """Return its names in a report."""
        return {"chroma": os.fspath(self._chroma), "collection": self._collection}

    @contextmanager
    def opened_to_read(self, *, reindex: bool) -> Iterator[ChromaStore | None]:
        """Open the collection if it is there; see `Destination`."""
        if not database_may_exist(self._chroma):
            yield None
            return
        with closing(connect(self._chroma)) as client:
            found = retrying(lambda: existing(client, self._collection), patience_s=self._patience_s)
            if found is not None and not reindex and found.count():
                check_encoder(found, self.encoder)
            held: dict[str, Any] = {"encoder": self.encoder, "patience_s": self._patience_s}
            yield ChromaStore(client, found, **held) if found is not None else None

    @contextmanager
    def opened(self, *, reindex: bool) -> Iterator[Index]:
        """Open the collection, and lock its folder against other runs; see `Destination`."""
        with ExitStack() as held:
            folder = None if is_address(self._chroma) else _folder(self._chroma)
            if folder is not None:
                held.enter_context(only_writer(folder))
            index = Index(
                self._chroma,
                folder=folder,
                name=self._collection,
                encoder=self.encoder,
                patience_s=self._patience_s,
            )
            try:
                index.open(reindex=reindex)
                yield index
            except BaseException as exc:
                index.close(whole=isinstance(exc, OptionError))  # a refusal, before any write
                raise
            index.close(whole=True)


class Index:
    """A collection that is open for writing.

    Attributes:
        store: The collection to write to.
    """

    def __init__(
        self, chroma: str | os.PathLike[str], *, folder: Path | None, name: str, encoder: Encoder, patience_s: float
    ) -> None:
        self._client = connect(chroma)
        self._folder = folder
        self._name = name
        self._encoder = encoder
        self._patience_s = patience_s
        self._copy: IndexCopy | None = None
        self._reindex = False
        self._collection: Collection | None = None

    def open(self, *, reindex: bool) -> None:
        """Open or make the collection; with `reindex` also one of another encoder, to be read."""
        self._reindex = reindex
        found = self._call(lambda: existing(self._client, self._name)) if reindex else None
        self._use(
            found or self._call(lambda: take_collection(self._client, self._name, encoder=self._encoder, create=True))
        )

    def start_anew(self) -> None:
        """Replace the collection by an empty one of this encoder, with the same settings.

        The space stays the same too, unless it does not fit the new model's similarity.
        """
        old = self._collection
        if old is None:
            return
        hnsw = old.configuration_json.get("hnsw")
        if hnsw and other_space(old, self._encoder):
            hnsw = hnsw | {"space": SPACES[self._encoder.settings.similarity]}
        self._call(lambda: self._client.delete_collection(self._name))
        self._release(whole=True)
        self._use(
            self._call(
                lambda: create_collection(
                    self._client, self._name, encoder=self._encoder, metadata=old.metadata, hnsw=hnsw
                )
            )
        )

    def close(self, *, whole: bool) -> None:
        """Close the collection; `whole` says whether every write succeeded."""
        self._client.close()
        self._release(whole=whole)

    def _use(self, collection: Collection) -> None:
        self._collection = collection
        if not self._reindex and (other := other_space(collection, self._encoder)):
            logger.warning("%s", other)
        if self._folder is not None:
            self._copy = IndexCopy(self._folder, str(collection.id))
        self.store = ChromaStore(
            self._client,
            collection,
            encoder=self._encoder,
            patience_s=self._patience_s,
            folder=self._folder,
            after_write=self._copy.renew if self._copy else lambda: None,
        )

    def _release(self, *, whole: bool) -> None:
        if self._copy is not None:
            self._copy.close(whole=whole)
            self._copy = None

    def _call(self, call: Callable[[], _Result]) -> _Result:
        return retrying(call, patience_s=self._patience_s, folder=self._folder)


def existing(client: ClientAPI, name: str) -> Collection | None:
    """Open a collection without checking its encoder; None if there is none."""
    require_text("collection", name)
    try:
        return client.get_collection(name, embedding_function=None)
    except NotFoundError:
        return None


def _folder(chroma: str | os.PathLike[str]) -> Path:
    return Path(chroma).expanduser().resolve()
