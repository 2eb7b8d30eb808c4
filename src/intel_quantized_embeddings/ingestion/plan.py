"""The steps of a run: the difference between what a collection holds and what it should hold. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from intel_quantized_embeddings.ingestion.places import from_metadata, merged, to_metadata
from intel_quantized_embeddings.ingestion.splitting import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataChange:
    """New metadata for a stored record: new and changed keys, and None for removed ones, in Chroma's form.

    `source` is a file that has the record's text.
    """

    id: str
    metadata: Mapping[str, Any]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of a run, in this order: old chunks are removed only after their replacements are stored.

    Attributes:
        add: Records to embed and store.
        change: Records whose text is stored and whose metadata differs, if another file has the text, say.
        remove: Ids of records that no file has any more.
        unchanged: Number of wanted records that stay as they are.
    """

    add: Sequence[Record]
    change: Sequence[MetadataChange]
    remove: Sequence[str]
    unchanged: int


def make_plan(
    wanted: Sequence[Record], stored: Mapping[str, Mapping[str, Any]], *, answers_for: Callable[[str], bool]
) -> Plan:
    """Compare the wanted records with the stored ones.

    Args:
        wanted: The records of the sources now.
        stored: Metadata by id of everything in the collection.
        answers_for: Whether this run read all of a file, so that a record that was not found in it loses the place.
            Files that were not read whole, and files outside this run's sources, stay places.
    """
    answers_for = cache(answers_for)
    wanted_by_id = {record.id: record for record in wanted}
    changes: list[MetadataChange] = []
    remove: list[str] = []
    unchanged = 0
    for id, metadata in stored.items():
        places = from_metadata(metadata)
        record = wanted_by_id.get(id)
        if record is None and not places:
            continue  # a record of another program
        now = merged(record.places if record else (), places, answers_for=answers_for)
        if not now:
            remove.append(id)
            continue
        differing = _differing(to_metadata(now), metadata)
        if differing:
            changes.append(MetadataChange(id=id, metadata=differing, source=now[0].source))
        elif record is not None:
            unchanged += 1
    add = [record for record in wanted if record.id not in stored]
    return Plan(add=add, change=changes, remove=remove, unchanged=unchanged)


def _differing(wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    gone = dict.fromkeys(stored.keys() - wanted.keys())
    new = {name: value for name, value in wanted.items() if name not in stored or not _is_kept(value, stored[name])}
    return gone | new


def _is_kept(wanted: Any, stored: Any) -> bool:
    """Return whether a value is stored. 1, 1.0 and True are equal in Python and different in a collection.

    Chroma 1.5 gives a number back up to two floats beside itself.
    """
    if type(stored) is not type(wanted):
        return False
    near = isinstance(wanted, float) and abs(stored - wanted) <= 4 * math.ulp(wanted)
    return near or bool(stored == wanted)
