"""Documents, and the places of a piece of text in them: a collection has a piece once, with all its places."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Scalar = str | int | float | bool

# Kept with each record, beside the metadata of its first document.
SOURCE, CHUNK = "iqe_source", "iqe_chunk"
# Kept if a piece occurs more than once: the other places as JSON. With a list of some thousands of places, Chroma 1.5
# could never read or write the collection again.
PLACES = "iqe_places"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text with a place of its own: a file, a page of a PDF, or a line of a JSONL file.

    Attributes:
        text: The whole text, which will be split.
        source: The file's path.
        metadata: The metadata of each of its chunks.
    """

    text: str
    source: str
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A document that has a piece.

    Attributes:
        source: The file's path.
        chunk: The number of the piece's first occurrence in the document.
        metadata: The document's metadata.
    """

    source: str
    chunk: int
    metadata: Mapping[str, Scalar] = field(default_factory=dict)

    def flat(self) -> dict[str, Scalar]:
        """Return a record's metadata."""
        return {**self.metadata, SOURCE: self.source, CHUNK: self.chunk}


def to_metadata(places: Sequence[Place]) -> dict[str, Scalar]:
    """Make the metadata of a record: that of its first place, and the others as JSON; there must be a place."""
    first, *others = places
    kept = first.flat()
    if others:
        kept[PLACES] = json.dumps([place.flat() for place in others], ensure_ascii=False)
    return kept


def from_metadata(metadata: Mapping[str, Any]) -> list[Place]:
    """Read the places of a record; empty for a record of another program."""
    try:
        others = json.loads(metadata.get(PLACES, "[]"))
        flat = [metadata, *others]
        return [
            Place(
                source=one[SOURCE],
                chunk=one[CHUNK],
                metadata={name: value for name, value in one.items() if name not in (SOURCE, CHUNK, PLACES)},
            )
            for one in flat
            if isinstance(one[SOURCE], str)
        ]
    except (KeyError, TypeError, ValueError):
        return []


def merged(found: Iterable[Place], stored: Iterable[Place], *, answers_for: Callable[[str], bool]) -> list[Place]:
    """Merge the places of a piece in this run and in earlier ones, of any source.

    `answers_for` says whether this run read all of a file. Places are sorted by the file's path, so that the order of
    runs makes no difference.
    """
    now = list(found)
    seen = {_identity(place) for place in now}
    kept = [place for place in stored if not answers_for(place.source) and _identity(place) not in seen]
    return sorted([*now, *kept], key=lambda place: place.source)


def _identity(place: Place) -> tuple[str, str]:
    """Return the part of a place that stays if its document's other metadata change: a line's id or a page's number.

    Of other numbers, which Chroma may give back otherwise in their last bits, ten digits count.
    """
    fixed = {name: place.metadata[name] for name in ("id", "page") if name in place.metadata}
    told = fixed or place.metadata
    digits = {name: f"{value:.10g}" if isinstance(value, float) else value for name, value in told.items()}
    return place.source, json.dumps(digits, sort_keys=True)
