"""Chroma collections that know their encoder and refuse any other.

The fingerprint is the one that `IntelQuantizedEmbeddingFunction` keeps in a collection's configuration. LangChain and
LlamaIndex fill a collection without asking its embedding function, so open it here first.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.errors import OptionError, OtherEncoderError, QuantizedEmbeddingsError, VectorStoreError
from intel_quantized_embeddings.integrations.chroma import FINGERPRINT, SPACES, IntelQuantizedEmbeddingFunction
from intel_quantized_embeddings.integrations.chroma_snapshots import repaired_after_kill
from intel_quantized_embeddings.options import require_path, require_text
from intel_quantized_embeddings.similarity import Similarity

import chromadb  # isort: skip  # after this package's import, whose error says what to install
from chromadb.config import Settings
from chromadb.errors import ChromaError, NotFoundError

if TYPE_CHECKING:
    from chromadb import Collection
    from chromadb.api import ClientAPI
    from chromadb.api.client import Client

# Chroma's port, for an address without one.
_PORTS = {"http": 8000, "https": 443}


def connect(chroma: str | os.PathLike[str]) -> Client:
    """Open a folder of Chroma's, made if it does not exist, or connect to a server.

    If `iqe ingest` was killed in the folder while Chroma wrote its index, the index is repaired first. Chroma's
    telemetry is off in the client. A server's credentials come from Chroma's own environment variables
    (`CHROMA_CLIENT_AUTH_PROVIDER`, `CHROMA_CLIENT_AUTH_CREDENTIALS`).

    Args:
        chroma: A folder, or an address such as "http://localhost:8000".

    Raises:
        OptionError: `chroma` is neither.
        VectorStoreError: The server does not answer, or the folder can't be opened.
    """
    at_address = is_address(chroma)
    place = os.fspath(chroma)
    try:
        if at_address:
            return _reach(place)
        folder = Path(place).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        with repaired_after_kill(folder.resolve()) as was_killed:
            client = chromadb.PersistentClient(folder.resolve(), settings=Settings(anonymized_telemetry=False))
            for collection in client.list_collections() if was_killed else ():
                collection.get(limit=1, include=[])  # brings its index up to date
        return cast("Client", client)
    except (ChromaError, ValueError, OSError) as exc:
        if isinstance(exc, QuantizedEmbeddingsError):
            raise
        raise VectorStoreError(f"Chroma at {place} can't be opened: {exc}") from exc


def is_address(chroma: str | os.PathLike[str]) -> bool:
    """Return whether this names a server, not a folder; another kind of address, or no path, is an OptionError."""
    require_path("chroma", chroma)
    place = os.fspath(chroma)
    scheme, separator, _ = place.partition("://")
    if separator and scheme not in _PORTS:
        raise OptionError(f"chroma={place!r} is not allowed; it is a folder, or http:// or https://.")
    if re.fullmatch(r"[\w.-]+:\d+", place) and not Path(place).exists():
        raise OptionError(
            f"chroma={place!r} is not a folder; for a server write http://{place}, for a folder ./{place}"
        )
    return bool(separator)


def open_collection(client: ClientAPI, name: str, *, encoder: Encoder, create: bool = False) -> Collection:
    """Open a collection that holds vectors of this encoder only.

    Args:
        client: From `connect`, or any client of Chroma.
        name: The collection's name.
        encoder: The encoder that will fill or query it: `Encoder.load(...)`, or the `encoder` of an adapter.
        create: Make it if it does not exist, with the similarity of the model's folder, usually the cosine.

    Warns:
        UserWarning: The collection compares by "ip" though the model's vectors have length 1, so thresholds on scores
            don't work. Or it does not compare by the model's similarity, and vectors differ in length.

    Returns:
        The collection, for `ChromaVectorStore(chroma_collection=...)`; for LangChain pass `client` and `name` to
        `Chroma(...)` after this.

    Raises:
        OtherEncoderError: Another encoder filled it, or it does not say which.
        OptionError: There is no such collection, or the name is not allowed.
        VectorStoreError: Chroma failed.
    """
    collection = take_collection(client, name, encoder=encoder, create=create)
    if space_of(collection) == "ip" and not encoder.settings.lengths_matter:
        warnings.warn(
            f"the collection {name!r} compares by 'ip': its distances are 1 - the dot product, below zero or above it "
            f"by rounding where a text is found by itself, and LangChain's relevance scores are then 0 or 1. Set no "
            f"threshold on its scores; make the collection with 'cosine' where vectors have length 1.",
            stacklevel=2,
        )
    if other := other_space(collection, encoder):
        warnings.warn(other, stacklevel=2)
    return collection


def other_space(collection: Collection, encoder: Encoder) -> str | None:
    """Return a message if a collection ranks by another similarity than its model's; None if not.

    Vectors of length 1 have the same order in every space.
    """
    settings, space = encoder.settings, space_of(collection)
    if settings.normalize or space == SPACES[settings.similarity]:
        return None
    return (
        f"the collection {collection.name!r} compares by {space!r}, and the vectors of {encoder.fingerprint} differ in "
        f"length and are to be compared by {settings.similarity.value}: it ranks otherwise than the model is made for. "
        f"Make it again with configuration={{'hnsw': {{'space': {SPACES[settings.similarity]!r}}}}}."
    )


def take_collection(client: ClientAPI, name: str, *, encoder: Encoder, create: bool = False) -> Collection:
    """Open a collection as `open_collection` does, without its warning, for callers that need no scores."""
    require_text("collection", name)
    function = IntelQuantizedEmbeddingFunction.of(encoder)
    try:
        collection = client.get_collection(name, embedding_function=function)  # type: ignore[arg-type]  # texts alone
    except NotFoundError as exc:
        if not create:
            raise OptionError(no_collection(client, name)) from exc
        return create_collection(client, name, encoder=encoder)
    except ValueError as exc:  # Chroma's error for a collection with another kind of function
        raise OtherEncoderError(f"the collection {name!r} belongs to another embedding function: {exc}") from exc
    if kept_fingerprint(collection) is None and collection.count() == 0:
        _adopt(collection, function)
    else:
        check_encoder(collection, encoder)
    return collection


def check_encoder(collection: Collection, encoder: Encoder) -> None:
    """Check that a collection holds vectors of this encoder.

    Raises:
        OtherEncoderError: Another encoder filled it, or it does not say which.
    """
    kept = kept_config(collection)
    found = kept.get(FINGERPRINT)
    if found == encoder.fingerprint:
        return
    filled = (
        f"was filled by the encoder {found} ({kept.get('model')})" if found else "does not say which encoder filled it"
    )
    ours = encoder.options.model if encoder.options else "no folder or id"
    raise OtherEncoderError(
        f"the collection {collection.name!r} {filled} and this one is {encoder.fingerprint} ({ours}): their vectors "
        f"don't compare. Use the encoder that filled it, choose another collection, or embed its texts again with "
        f"`iqe ingest ... --reindex` (reindex=True)."
    )


def create_collection(
    client: ClientAPI,
    name: str,
    *,
    encoder: Encoder,
    metadata: Mapping[str, Any] | None = None,
    hnsw: Mapping[str, Any] | None = None,
) -> Collection:
    """Make a collection that will know this encoder.

    `hnsw` are the index's settings; None takes Chroma's own with the space of the model's similarity. The errors are
    those of `open_collection`, and a VectorStoreError if there is a collection of this name.
    """
    if encoder.settings.similarity is Similarity.MANHATTAN and not hnsw:
        raise OptionError(
            f"the vectors of {encoder.fingerprint} are to be compared by Manhattan distance, which Chroma does not "
            f"have. Make the collection with the space 'l2' to compare by euclidean distance, or use another store."
        )
    try:
        return client.create_collection(
            name,
            embedding_function=IntelQuantizedEmbeddingFunction.of(encoder),  # type: ignore[arg-type]  # texts alone
            metadata=dict(metadata) if metadata else None,
            configuration={"hnsw": dict(hnsw)} if hnsw else None,  # type: ignore[arg-type]  # as Chroma wrote it
        )
    except ChromaError as exc:
        if "name" in str(exc) and "Expected" in str(exc):
            raise OptionError(f"collection={name!r} is not allowed. {exc}") from exc
        raise VectorStoreError(f"the collection {name!r} can't be made: {exc}") from exc


def space_of(collection: Collection) -> str:
    """Return the space of a collection: "cosine", "l2" or "ip"."""
    index = collection.configuration_json.get("hnsw") or collection.configuration_json.get("spann") or {}
    return str(index.get("space", "l2"))


def kept_fingerprint(collection: Collection) -> str | None:
    """Return the fingerprint of the encoder that filled a collection; None if it has none."""
    return kept_config(collection).get(FINGERPRINT) or None


def kept_config(collection: Collection) -> dict[str, Any]:
    """Return the configuration that `IntelQuantizedEmbeddingFunction` wrote into a collection; empty for others."""
    function = collection.configuration_json.get("embedding_function") or {}
    ours = function.get("name") == IntelQuantizedEmbeddingFunction.name()
    config: dict[str, Any] = function.get("config") or {} if ours else {}
    return config


def _adopt(collection: Collection, function: IntelQuantizedEmbeddingFunction) -> None:
    """Write the encoder into an existing empty collection."""
    try:
        collection.modify(configuration={"embedding_function": function})
    except ValueError as exc:
        raise OtherEncoderError(
            f"the collection {collection.name!r} is empty and was made for another embedding function, which Chroma "
            f"does not let go: {exc}. Delete it, or make it with embedding_function=None."
        ) from exc


def no_collection(client: ClientAPI, name: str) -> str:
    """Return the message for a collection that does not exist, with the names of those that do."""
    others = ", ".join(sorted(repr(collection.name) for collection in client.list_collections()))
    return f"collection={name!r} is not there; there {f'are {others}' if others else 'is none at all'}."


def _reach(address: str) -> Client:
    parts = urlsplit(address)
    if parts.username or not parts.hostname or parts.path.strip("/"):
        raise OptionError(
            f"chroma={address!r} is not allowed; it is http://HOST:PORT or https://HOST:PORT. Credentials come from "
            f"CHROMA_CLIENT_AUTH_PROVIDER and CHROMA_CLIENT_AUTH_CREDENTIALS."
        )
    client = chromadb.HttpClient(
        parts.hostname,
        parts.port or _PORTS[parts.scheme],
        ssl=parts.scheme == "https",
        settings=Settings(anonymized_telemetry=False),
    )
    return cast("Client", client)
