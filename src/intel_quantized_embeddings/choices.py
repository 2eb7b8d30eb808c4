"""Options that allow a few values: a user's word -> one of them, and what is neither True nor False."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from intel_quantized_embeddings.errors import OptionError

_Choice = TypeVar("_Choice", bound=Enum)


def chosen(kind: type[_Choice], value: str | Enum, *, option: str) -> _Choice:
    """Find a value's member.

    Args:
        kind: All there are, by their values.
        value: What the user wrote, or a member.
        option: What the option is called.

    Raises:
        OptionError: It is none of them.
    """
    try:
        return kind(value)
    except ValueError as exc:
        allowed = ", ".join(repr(member.value) for member in kind)
        raise OptionError(f"{option}={value!r} is not known; it is one of {allowed}.") from exc


def true_or_false(name: str, value: object) -> None:
    """Refuse what merely counts as true or false, such as "no", 1 or None.

    Raises:
        OptionError: It is not a bool.
    """
    if not isinstance(value, bool):
        raise OptionError(f"{name}={value!r} is not allowed; it is True or False.")


def or_(kind: type[Enum]) -> str:
    """Say what there is to choose from: "int8, bf16 or fp32"."""
    *first, last = (str(member.value) for member in kind)
    return f"{', '.join(first)} or {last}"
