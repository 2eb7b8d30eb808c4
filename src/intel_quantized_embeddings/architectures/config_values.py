"""The values of a `config.json`, checked as they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError

_MOST_LAYERS = 1000


def is_whole(value: Any) -> TypeGuard[int]:
    """Return whether a value is a whole number, which True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


class ConfigValues:
    """What a `config.json` holds, checked."""

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
        """Return a whole number that may be 0."""
        value = self._config.get(key, default)
        if not is_whole(value) or value < 0:
            raise self.damaged(f"has {key}={value!r}; a whole number of at least 0 is needed there.")
        return value

    def layers(self, key: str) -> int:
        """Return how many layers there are: something is kept of each."""
        count = self.size(key)
        if count > _MOST_LAYERS:
            raise self.damaged(f"has {key}={count}; at most {_MOST_LAYERS} are allowed.")
        return count

    def positive(self, key: str | float, *, default: float) -> float:
        """Return the number under a key, or the one that stands in the key's place."""
        if not isinstance(key, str):
            return key
        value = self._config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise DamagedFilesError(f"config.json of {self._where} has {key}={value!r}; a positive number is needed.")
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return whether something is so, which a file may leave out."""
        value = self._config.get(key, default)
        if not isinstance(value, bool):
            raise DamagedFilesError(f"config.json of {self._where} has {key}={value!r}; true or false is needed there.")
        return value

    def names(self, key: str, *, known: Sequence[str], count: int) -> tuple[str, ...] | None:
        """Return as many names as asked for, each a known one; None where the file has none."""
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
        """Return the values of an object in the file, none where it is not there."""
        value = self._config.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise DamagedFilesError(f"config.json of {self._where} has {key}={value!r}; an object is needed there.")
        return ConfigValues(value or {}, where=self._where)

    def __contains__(self, key: str) -> bool:
        return key in self._config

    def is_null(self, key: str) -> bool:
        """Return whether the file says null, which is not the same as nothing."""
        return key in self._config and self._config[key] is None

    def named(self, key: str) -> Any:
        """Return what stands under a key, unchecked; None where there is nothing."""
        return self._config.get(key)

    def refuse(self, why: str) -> UnsupportedModelError:
        """Return the error for a value that is not built in."""
        return UnsupportedModelError(f"config.json of {self._where} {why}")

    def damaged(self, why: str) -> DamagedFilesError:
        """Return the error for what can't be so."""
        return DamagedFilesError(f"config.json of {self._where} {why}")
