"""Whether what was read from a file has the types that its dataclass declares."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any


def require_types(value: Any, *, at: str = "") -> None:
    """Check every field of a dataclass that was made from a file, and of those inside it; `at` says where it stood.

    Raises:
        TypeError: A field has another type than it declares.
    """
    hints = typing.get_type_hints(type(value))
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        where = f"{at}.{field.name}" if at else field.name
        if not _fits(held, hints[field.name]):
            raise TypeError(f"{where} is of type {type(held).__name__}; {field.type} is expected")
        if dataclasses.is_dataclass(held):
            require_types(held, at=where)


def _fits(value: Any, hint: Any) -> bool:
    kind, inner = typing.get_origin(hint), typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if kind is dict:
        return isinstance(value, dict) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if kind is tuple:
        return isinstance(value, tuple) and all(_fits(item, inner[0]) for item in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
