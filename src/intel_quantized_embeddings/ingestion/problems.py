"""Problems of files, as lines for people, and the decision whether an error is a file's or ends the run."""

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

# These end the process or the run wherever they are raised. Libraries raise all other errors for the content of a file,
# even BaseException: a panic of Rust is one.
_ENDS = (
    *(MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit, CancelledError),
    # Errors of the encoder or the store, the same for every text.
    *(ForkedProcessError, MissingExtraError, ModelFilesError, OptionError, OtherEncoderError, VectorStoreError),
)
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that could not be read or stored, and the reason.

    Attributes:
        place: A file, a folder, or `file:line`.
        reason: The reason, for people.
    """

    place: str
    reason: str

    @classmethod
    def of(cls, place: object, exc: BaseException) -> Problem:
        """Make a file's problem of an error; an error that ends the run is raised again."""
        if isinstance(exc, _ENDS):
            raise exc
        return cls(place=printable(str(place)), reason=_reason(exc))

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class UnreadableError(Exception):
    """A file, or a part of it, is not what its name says; never leaves this package."""


def is_of_the_run(exc: BaseException) -> bool:
    """Return whether an error ends the run, because it is not a fault of a file or text."""
    return isinstance(exc, _ENDS)


def do_in_parts(items: Sequence[_Item], do: Callable[[Sequence[_Item]], object]) -> list[tuple[_Item, BaseException]]:
    """Do something with all items at once; if that fails, with each half, down to the failing items.

    Returns:
        The failing items, each with its error; errors that end the run are raised.
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
    """Return a text in a form for any terminal and JSON: on one line, without halves of surrogate pairs."""
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
