"""What can't be read, as lines for a person; and the one place that decides whose fault an error is."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from intel_quantized_embeddings.errors import (
    ForkedProcessError,
    MissingExtraError,
    ModelFilesError,
    OptionError,
    OtherEncoderError,
    VectorStoreError,
    one_line,
)
from intel_quantized_embeddings.texts import is_utf8

_Item = TypeVar("_Item")

# The end of the process or of the run, wherever it is raised. Libraries raise all else for what a file holds, some
# of it past `Exception`: a panic of Rust is a BaseException.
_ENDS = (
    *(MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit, CancelledError),
    # Of the encoder or the store, for every text alike.
    *(ForkedProcessError, MissingExtraError, ModelFilesError, OptionError, OtherEncoderError, VectorStoreError),
)
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A thing that could not be read or stored, and why.

    Attributes:
        place: A file, a folder, or `file:line`.
        reason: For a person.
    """

    place: str
    reason: str

    @classmethod
    def of(cls, place: object, exc: BaseException) -> Problem:
        """Make the problem that an error is for a file; the end of the run is no file's, and is raised again."""
        if isinstance(exc, _ENDS):
            raise exc
        return cls(place=printable(str(place)), reason=_reason(exc))

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class UnreadableError(Exception):
    """A file, or a part of it, is not what its name says; never leaves this package."""


def is_of_the_run(exc: BaseException) -> bool:
    """Return whether an error ends the run, whatever it did when it was raised, and is no file's or text's."""
    return isinstance(exc, _ENDS)


def do_in_parts(items: Sequence[_Item], do: Callable[[Sequence[_Item]], object]) -> list[tuple[_Item, BaseException]]:
    """Do something with all items at once; where that fails, with each half, down to those that it fails for.

    Returns:
        The items that it fails for, each with its error; what is the end of the run is raised.
    """
    if not items:
        return []
    try:
        do(items)
    except BaseException as exc:
        if isinstance(exc, _ENDS):
            raise
        if len(items) == 1:
            return [(items[0], exc)]
    else:
        return []
    half = len(items) // 2
    return do_in_parts(items[:half], do) + do_in_parts(items[half:], do)


def printable(text: str) -> str:
    """A text that any terminal and JSON take: on one line, without half a surrogate pair."""
    whole = text if is_utf8(text) else ascii(text)
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in whole)


def _reason(exc: BaseException) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        return printable(exc.strerror)
    try:
        told = one_line(exc)
    except Exception:  # noqa: BLE001 - an error that can't even be shown has a name
        told = ""
    if len(told) > _LONGEST_REASON:
        told = told[:_LONGEST_REASON] + " ..."
    if isinstance(exc, UnreadableError):
        return printable(told)
    return printable(f"{type(exc).__name__}: {told}" if told else type(exc).__name__)
