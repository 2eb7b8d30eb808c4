"""A collection opened for a run: the right encoder's, nobody else writing, a copy of its index at hand."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from chromadb.errors import NotFoundError

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion.store import Store, retrying
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

if TYPE_CHECKING:
    from chromadb import Collection
    from chromadb.api import ClientAPI

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


def database_may_exist(chroma: str | os.PathLike[str]) -> bool:
    """Return whether a folder may hold a database; of an address it is not known before it is asked."""
    return is_address(chroma) or (_folder(chroma) / DATABASE).is_file()


@contextmanager
def opened_to_read(
    chroma: str | os.PathLike[str], name: str, *, encoder: Encoder, reindex: bool, patience_s: float
) -> Iterator[Store | None]:
    """Open a collection to see what a run would do, None where there is none; nothing is made or changed.

    Raises:
        OtherEncoderError: Another encoder filled it, and it is not to be indexed anew.
        VectorStoreError: Chroma can't be reached or read.
    """
    if not database_may_exist(chroma):
        yield None
        return
    with closing(connect(chroma)) as client:
        collection = retrying(lambda: existing(client, name), patience_s=patience_s)
        if collection is not None and not reindex and collection.count():
            check_encoder(collection, encoder)
        yield Store(client, collection, patience_s=patience_s) if collection is not None else None


@contextmanager
def opened(
    chroma: str | os.PathLike[str], name: str, *, encoder: Encoder, reindex: bool, patience_s: float
) -> Iterator[Index]:
    """Open a collection to be filled, made where there is none; as `opened_to_read` otherwise.

    Raises:
        OtherEncoderError: Another encoder filled it.
        VectorStoreError: Chroma can't be reached or read, or another run is writing in its folder.
        OptionError: The name is not allowed.
    """
    with ExitStack() as held:
        folder = None if is_address(chroma) else _folder(chroma)
        if folder is not None:
            held.enter_context(only_writer(folder))
        index = Index(chroma, folder=folder, name=name, encoder=encoder, patience_s=patience_s)
        try:
            index.open(reindex=reindex)
            yield index
        except BaseException as exc:
            index.close(whole=isinstance(exc, OptionError))  # which is a refusal, before any write
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
        """Open or make the collection; with `reindex` one of another encoder too, to be read."""
        self._reindex = reindex
        found = self._call(lambda: existing(self._client, self._name)) if reindex else None
        self._use(
            found or self._call(lambda: take_collection(self._client, self._name, encoder=self._encoder, create=True))
        )

    def start_anew(self) -> None:
        """Replace the collection by an empty one that knows this encoder, with the same settings.

        It compares in the same way too, unless that would rank otherwise than the new model is made for.
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
        """Let go; `whole` where every write came back well."""
        self._client.close()
        self._release(whole=whole)

    def _use(self, collection: Collection) -> None:
        self._collection = collection
        if not self._reindex and (other := other_space(collection, self._encoder)):
            logger.warning("%s", other)
        if self._folder is not None:
            self._copy = IndexCopy(self._folder, str(collection.id))
        self.store = Store(
            self._client,
            collection,
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
    """Open a collection without asking for its encoder; None where there is none."""
    try:
        return client.get_collection(name, embedding_function=None)
    except NotFoundError:
        return None


def _folder(chroma: str | os.PathLike[str]) -> Path:
    return Path(chroma).expanduser().resolve()
