"""What a run has to do: the difference between what a collection holds and what it should hold. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intel_quantized_embeddings.ingestion.splitting import SOURCE, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataChange:
    """New metadata for a stored record.

    Attributes:
        id: Of the record.
        metadata: What is new or another; None for what goes, as Chroma wants it.
    """

    id: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, in this order: what is gone leaves only when what replaces it is there.

    Attributes:
        add: Records to embed and store.
        change: Records whose text is stored and whose metadata differs.
        remove: Ids of records that are gone.
        unchanged: How many stay as they are.
    """

    add: Sequence[Record]
    change: Sequence[MetadataChange]
    remove: Sequence[str]
    unchanged: int


def make_plan(
    wanted: Sequence[Record], stored: Mapping[str, Mapping[str, Any]], *, answers_for: Callable[[str], bool]
) -> Plan:
    """Compare.

    Args:
        wanted: What the sources hold now.
        stored: Metadata by id of everything in the collection.
        answers_for: Whether a file's records are removed when they are not wanted; of files that were not read
            whole, and of files outside this run's sources, none is.
    """
    wanted_ids = {record.id for record in wanted}
    change = []
    for record in wanted:
        if record.id in stored:
            differing = _differing(record.metadata, stored[record.id])
            if differing:
                change.append(MetadataChange(id=record.id, metadata=differing))
    add = [record for record in wanted if record.id not in stored]
    remove = [
        id
        for id, metadata in stored.items()
        if id not in wanted_ids and SOURCE in metadata and answers_for(metadata[SOURCE])
    ]
    return Plan(add=add, change=change, remove=remove, unchanged=len(wanted) - len(add) - len(change))


def _differing(wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    gone = dict.fromkeys(stored.keys() - wanted.keys())
    new = {
        name: value
        for name, value in wanted.items()
        # 1, 1.0 and True are equal in Python and three things in a collection.
        if name not in stored or type(stored[name]) is not type(value) or stored[name] != value
    }
    return gone | new
