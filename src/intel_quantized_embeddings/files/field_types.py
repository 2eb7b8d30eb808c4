"""Make dataclasses of JSON, by the types that their fields declare."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from typing import Any


def made_of(kind: Any, content: Any, *, at: str = "") -> Any:
    """Make a value of a type from JSON: a dataclass from an object, a tuple from a list, an enum from its value.

    Args:
        kind: The type; numbers and texts are taken as they are.
        content: The value from JSON.
        at: Its place in the file, for errors.

    Raises:
        TypeError: The content is of another type, lacks a field without a default, or has an unknown one.
        ValueError: The content is not a value of an enum, or the dataclass refuses it.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if content is None and types.NoneType in inner:
            return None
        (kind,) = (one for one in inner if one is not types.NoneType)
        return made_of(kind, content, at=at)
    if dataclasses.is_dataclass(kind):
        _require(isinstance(content, dict), content, kind, at)
        hints = typing.get_type_hints(kind)
        made = {
            name: made_of(hints.get(name, Any), value, at=f"{at}.{name}".removeprefix("."))
            for name, value in content.items()
        }
        return kind(**made)  # type: ignore[operator]  # a class, which is_dataclass leaves open
    if origin is tuple:
        several = inner[-1] is Ellipsis
        _require(isinstance(content, (list, tuple)) and (several or len(content) == len(inner)), content, kind, at)
        items = [inner[0]] * len(content) if several else inner
        return tuple(made_of(one, item, at=at) for one, item in zip(items, content, strict=True))
    if origin is dict:
        _require(isinstance(content, dict), content, kind, at)
        return {key: made_of(inner[1], value, at=f"{at}.{key}") for key, value in content.items()}
    if kind is not Any and issubclass(kind, Enum):
        return kind(content)
    wanted = (int, float) if kind is float else object if kind is Any else kind
    _require(isinstance(content, wanted) and (kind in (bool, Any) or not isinstance(content, bool)), content, kind, at)
    return content


def _require(is_so: bool, content: Any, kind: Any, at: str) -> None:
    if not is_so:
        expected = kind.__name__ if isinstance(kind, type) else kind
        raise TypeError(f"{at} is of type {type(content).__name__}; {expected} is expected")
