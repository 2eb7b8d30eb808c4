"""The values of a `config.json`, checked as they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError

_MOST_LAYERS = 1000


def is_whole(value: Any) -> TypeGuard[int]:
    """Return whether a value is an integer; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


class ConfigValues:
    """The values of a `config.json`, checked when they are read."""

    def __init__(self, config: Mapping[str, Any], *, where: str) -> None:
        self._config = config
        self._where = where

    def size(self, key: str, *, default: int | None = None) -> int:
        value = self._config.get(key, default)
        if not is_whole(value) or value < 1:
            raise DamagedFilesError(
                f"config.json of {self._where} has {key}={value!r}; a positive integer is needed there."
            )
        return value

    def whole(self, key: str, *, default: int) -> int:
        """Return an integer of at least 0."""
        value = self._config.get(key, default)
        if not is_whole(value) or value < 0:
            raise self.damaged(f"has {key}={value!r}; an integer of at least 0 is needed there.")
        return value

    def layers(self, key: str) -> int:
        """Return the number of layers, which is limited because something is kept for each."""
        count = self.size(key)
        if count > _MOST_LAYERS:
            raise self.damaged(f"has {key}={count}; at most {_MOST_LAYERS} are allowed.")
        return count

    def positive(self, key: str | float, *, default: float) -> float:
        """Return the positive number under a key, or the default."""
        if not isinstance(key, str):
            return key
        value = self._config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise DamagedFilesError(f"config.json of {self._where} has {key}={value!r}; a positive number is needed.")
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return the true or false under a key, or the default."""
        value = self._config.get(key, default)
        if not isinstance(value, bool):
            raise DamagedFilesError(f"config.json of {self._where} has {key}={value!r}; true or false is needed there.")
        return value

    def names(self, key: str, *, known: Sequence[str], count: int) -> tuple[str, ...] | None:
        """Return a list of `count` known names; None if the file has no such key."""
        value = self._config.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != count:
            raise DamagedFilesError(f"config.json of {self._where} has {key}={value!r}; a list of {count} is needed.")
        for name in value:
            if name not in known:
                raise UnsupportedModelError(
                    f"config.json of {self._where} has {name!r} in {key}; built in are {', '.join(known)}."
                )
        return tuple(value)

    def section(self, key: str) -> ConfigValues:
        """Return the values of an object in the file; empty if it is not there."""
        value = self._config.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise DamagedFilesError(f"config.json of {self._where} has {key}={value!r}; an object is needed there.")
        return ConfigValues(value or {}, where=self._where)

    def of_layers(self, key: str, *, count: int, known: tuple[str, ...]) -> Mapping[int, ConfigValues]:
        """Return the objects that an object has by the numbers of layers, each with known keys alone."""
        found = {}
        section = self.section(key)
        for number in section._config:
            layer = int(number) if str(number).isdecimal() else count
            if layer >= count:
                raise self.damaged(f"has the layer {number!r} in {key}; the {count} layers have numbers from 0.")
            found[layer] = section.section(number)
            if unknown := [name for name in found[layer]._config if name not in known]:
                raise self.refuse(f"has {unknown[0]!r} in {key}; built in are {', '.join(known)}.")
        return found

    def __contains__(self, key: str) -> bool:
        return key in self._config

    def is_null(self, key: str) -> bool:
        """Return whether the file has the key with the value null."""
        return key in self._config and self._config[key] is None

    def named(self, key: str) -> Any:
        """Return the value under a key, unchecked; None if there is none."""
        return self._config.get(key)

    def refuse(self, why: str) -> UnsupportedModelError:
        """Return the error for a value that is not built in."""
        return UnsupportedModelError(f"config.json of {self._where} {why}")

    def damaged(self, why: str) -> DamagedFilesError:
        """Return the error for a value that no sound model has."""
        return DamagedFilesError(f"config.json of {self._where} {why}")
