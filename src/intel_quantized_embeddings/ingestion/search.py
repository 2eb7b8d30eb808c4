"""`query`: search a collection that knows its encoder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.shared import shared_encoder
from intel_quantized_embeddings.errors import InvalidTextError, OptionError, OtherEncoderError
from intel_quantized_embeddings.ingestion.chroma_opening import database_may_exist, existing
from intel_quantized_embeddings.ingestion.chroma_store import retrying
from intel_quantized_embeddings.ingestion.places import PLACES, from_metadata
from intel_quantized_embeddings.integrations.chroma import FINGERPRINT
from intel_quantized_embeddings.integrations.chroma_collections import (
    check_encoder,
    connect,
    kept_config,
    no_collection,
)
from intel_quantized_embeddings.options import LoadOptions, integer_option
from intel_quantized_embeddings.texts import shown

if TYPE_CHECKING:
    from chromadb import Collection
    from typing_extensions import Unpack

    from intel_quantized_embeddings.options import LoadKeywords


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A chunk that was found.

    Attributes:
        id: The chunk's id in the collection.
        text: The chunk.
        distance: The distance of its vector from the question's, in the collection's space: by default 1 - cosine, or
            1 - product for a dot-product model.
        metadata: `source` and the other metadata of the first document that has it.
        places: The metadata of every document that has it, in order; empty for a record of another program.
    """

    id: str
    text: str
    distance: float
    metadata: Mapping[str, Any]
    places: tuple[Mapping[str, Any], ...]

    def to_mapping(self) -> dict[str, Any]:
        """Return the passage for JSON."""
        return dataclasses.asdict(self)


def query(
    question: str,
    *,
    chroma: str | os.PathLike[str],
    collection: str,
    k: int = 5,
    model: str | os.PathLike[str] | None = None,
    **options: Unpack[LoadKeywords],
) -> list[Passage]:
    """Find the chunks nearest to a question.

    Args:
        question: Any text.
        chroma: A folder, or the address of a server.
        collection: The collection's name.
        k: The largest number of passages.
        model: A folder or a hub id; None takes the encoder that the collection names.
        options: Those of `Encoder.load`; without a model, they override the collection's.

    Returns:
        The passages, the nearest first.

    Raises:
        OptionError: A value is not allowed, or there is no such collection.
        InvalidTextError: The question is not text.
        OtherEncoderError: The encoder is not the one that filled the collection.
        VectorStoreError: Chroma can't be reached or read.
        QuantizedEmbeddingsError: As `Encoder.load` lists them.
    """
    most = integer_option("k", k, least=1)
    if most is None:
        raise OptionError("k=None is not allowed; it is 1 or more.")
    if not isinstance(question, str):
        raise InvalidTextError(f"question is {shown(question)}; it must be a str.")
    if not database_may_exist(chroma):  # otherwise Chroma would make one
        raise OptionError(f"chroma={os.fspath(chroma)!r} has no database of Chroma's; `iqe ingest` makes one.")
    with closing(connect(chroma)) as client:
        found = retrying(lambda: existing(client, collection), patience_s=0)
        if found is None:
            raise OptionError(no_collection(client, collection))
        encoder = _encoder(found, model, dict(options))
        check_encoder(found, encoder)
        vectors = encoder.encode_queries([question])
        answer: Any = retrying(
            lambda: found.query(
                query_embeddings=vectors, n_results=most, include=["documents", "metadatas", "distances"]
            ),
            patience_s=0,
        )
    columns = (answer[name][0] for name in ("ids", "documents", "distances", "metadatas"))
    return [
        Passage(
            id=id,
            text=text or "",
            distance=distance,
            metadata={name: value for name, value in (metadata or {}).items() if name != PLACES},
            places=tuple(place.flat() for place in from_metadata(metadata or {})),
        )
        for id, text, distance, metadata in zip(*columns, strict=True)
    ]


def _encoder(collection: Collection, model: str | os.PathLike[str] | None, options: dict[str, Any]) -> Encoder:
    """Return the encoder asked for, or the one that a collection names."""
    if model is None:
        kept = kept_config(collection)
        if FINGERPRINT not in kept:
            raise OtherEncoderError(
                f"the collection {collection.name!r} does not say which encoder filled it; --model (model=) does not "
                f"help: its vectors may be any model's. Embed its texts with `iqe ingest`."
            )
        options = {name: value for name, value in kept.items() if name not in ("model", FINGERPRINT)} | options
        model = kept["model"]
    if not isinstance(model, (str, os.PathLike)):
        raise OptionError(f"model={model!r} is neither a folder nor a hub id.")
    return shared_encoder(LoadOptions.from_keywords(model, options))
