"""Checks of texts: a text is a string with a UTF-8 form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from reprlib import Repr

from intel_quantized_embeddings.errors import InvalidTextError, OptionError


def is_listed(value: object, *, dimensions: Sequence[int] = (1,)) -> bool:
    """Return whether a value is a sequence of items: not a single text, a table or a set.

    Args:
        value: The value.
        dimensions: Allowed numbers of dimensions of an array. pandas' tables have two, and their items are the names of
            their columns.
    """
    if getattr(value, "ndim", 1) not in dimensions:
        return False
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping, set, frozenset))


def require_listed(
    value: object,
    *,
    what: str = "texts",
    expected: str = "a list of strings is expected",
    dimensions: Sequence[int] = (1,),
) -> None:
    """Check that a value is a sequence of items; the InvalidTextError says `what` it is and what is `expected`."""
    if not is_listed(value, dimensions=dimensions):
        raise InvalidTextError(f"{what} is {shown(value)}; {expected}.")


def require_token_ids(value: object) -> None:
    """Check that a value is a sequence of texts' token ids, which may be an array of two dimensions."""
    dimensions = (1, 2) if hasattr(value, "dtype") else (1,)
    require_listed(value, what="token_ids", expected="a list of lists of ids is expected", dimensions=dimensions)


def check_texts(texts: Sequence[object]) -> None:
    """Check that every item is a string with a UTF-8 form; the InvalidTextError names its position."""
    for position, text in enumerate(texts):
        utf8(text, position=position)


def check_instruction(instruction: object) -> None:
    """Check that an instruction is a string with a UTF-8 form."""
    if not isinstance(instruction, str):
        raise OptionError(f"instruction={shown(instruction)} is not allowed; it is a str, '' for none.")
    if not is_utf8(instruction):
        raise OptionError(f"the instruction {shown(instruction)} has half of a surrogate pair: it has no UTF-8 form.")


def is_utf8(text: str) -> bool:
    """Return whether a text has no half of a surrogate pair, which JSON and file names can spell and UTF-8 can't."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object) -> str:
    """Return a value as messages show it: its beginning, whatever its size."""
    short = Repr()
    short.maxother = short.maxstring = 80
    return short.repr(value)


def utf8(text: object, *, position: int, kind: str = "text") -> bytes:
    """Return a text's bytes in UTF-8; without these it is an InvalidTextError that names its `kind` and `position`."""
    if not isinstance(text, str):
        raise InvalidTextError(
            f"{kind} {position} is {shown(text)} of type {type(text).__name__}; every text must be a str."
        )
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise InvalidTextError(
            f"{kind} {position} has the lone surrogate {text[exc.start]!r} at character {exc.start}, which has no "
            f"UTF-8 form. Clean it with text.encode('utf-8', 'replace').decode()."
        ) from exc
