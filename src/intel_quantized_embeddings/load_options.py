"""The options of `Encoder.load`, checked before anything is looked up or downloaded."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from intel_quantized_embeddings.choices import true_or_false
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.model_files import DEFAULT_MODEL
from intel_quantized_embeddings.pooling import Pooling
from intel_quantized_embeddings.runtimes.base import Precision, RuntimeName


class LoadKeywords(TypedDict, total=False):
    """The options of `Encoder.load` as keyword arguments, for type checkers: `**options: Unpack[LoadKeywords]`."""

    runtime: str
    precision: str
    revision: str | None
    cache_folder: str | os.PathLike[str] | None
    local_files_only: bool
    num_threads: int | None
    pooling: str | None
    normalize: bool | None
    max_length: int | None
    truncate_dim: int | None
    query_instruction: str | None
    document_instruction: str | None
    allow_torchscript: bool
    warm_shapes: bool


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What to load and how; `None` means what the model's own folder says.

    Raises:
        OptionError: A value is not allowed.
    """

    model: str | os.PathLike[str] = DEFAULT_MODEL
    runtime: str = RuntimeName.OPENVINO.value
    precision: str = Precision.INT8.value
    revision: str | None = None
    cache_folder: str | os.PathLike[str] | None = None
    local_files_only: bool = False
    num_threads: int | None = None
    pooling: str | None = None
    normalize: bool | None = None
    max_length: int | None = None
    truncate_dim: int | None = None
    query_instruction: str | None = None
    document_instruction: str | None = None
    allow_torchscript: bool = False
    warm_shapes: bool = True

    @classmethod
    def from_keywords(cls, model: str | os.PathLike[str], keywords: Mapping[str, Any]) -> LoadOptions:
        """Take what a class of an integration was given beside its own arguments.

        Args:
            model: A folder or a hub id.
            keywords: The other options by name.

        Raises:
            OptionError: A name is unknown, or a value is not allowed.
        """
        if not isinstance(model, (str, os.PathLike)):
            raise OptionError(f"model={model!r} is neither a folder nor a hub id like {DEFAULT_MODEL!r}.")
        unknown = ", ".join(name for name in keywords if name not in LoadKeywords.__annotations__)
        if unknown:
            raise OptionError(f"{unknown}: no such option. There are model, {', '.join(LoadKeywords.__annotations__)}.")
        return cls(model=os.fspath(model), **keywords)

    def __post_init__(self) -> None:
        """Check every value; enums and numpy's integers become plain ones."""
        self._set("runtime", RuntimeName.parse(self.runtime).value)
        self._set("precision", Precision.parse(self.precision).value)
        if self.pooling is not None:
            self._set("pooling", Pooling.parse(self.pooling).value)
        self._set("num_threads", whole_number("num_threads", self.num_threads, least=1))
        self._set("max_length", whole_number("max_length", self.max_length, least=3))
        self._set("truncate_dim", whole_number("truncate_dim", self.truncate_dim, least=1))
        for name in ("query_instruction", "document_instruction", "revision"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise OptionError(f"{name}={value!r} is not allowed; it is a str or None.")
        if self.normalize is not None:
            true_or_false("normalize", self.normalize)
        for name in ("local_files_only", "allow_torchscript", "warm_shapes"):
            true_or_false(name, getattr(self, name))
        if self.cache_folder is not None and not isinstance(self.cache_folder, (str, os.PathLike)):
            raise OptionError(f"cache_folder={self.cache_folder!r} is not allowed; it is a path or None.")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def whole_number(name: str, value: object, *, least: int) -> int | None:
    """Take a number that may be numpy's, or None.

    Raises:
        OptionError: It is no whole number, or below `least`.
    """
    if value is None:
        return None
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # whatever is no integer raises
    except TypeError as exc:
        raise OptionError(f"{name}={value!r} is not allowed; it is a whole number.") from exc
    if isinstance(value, bool) or number < least:
        raise OptionError(f"{name}={value!r} is not allowed; it is {least} or more.")
    return number
