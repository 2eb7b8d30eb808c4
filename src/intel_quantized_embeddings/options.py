"""Every option of loading, with its values and checks, which run before anything is looked up or downloaded."""

from __future__ import annotations

import dataclasses
import inspect
import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from intel_quantized_embeddings.errors import OptionError

if TYPE_CHECKING:
    from typing_extensions import Self

DEFAULT_MODEL = "BAAI/bge-small-en-v1.5"

# The most threads of a call, native/src/api.cpp's too: more than any machine has cores for.
MOST_THREADS = 1024


class Choice(str, Enum):
    """A word that an option takes: `class Precision(Choice, option="precision")`."""

    def __init_subclass__(cls, *, option: str) -> None:
        super().__init_subclass__()
        cls._option = option  # type: ignore[attr-defined]  # declared here it would be a member

    @classmethod
    def parse(cls, value: str | Enum) -> Self:
        """Turn a user's word into a member; the OptionError lists them."""
        try:
            return cls(value)
        except ValueError as exc:
            allowed = ", ".join(repr(member.value) for member in cls)
            raise OptionError(f"{cls._option}={value!r} is not known; it is one of {allowed}.") from exc  # type: ignore[attr-defined]


def require_bool(name: str, value: object) -> None:
    """Refuse everything but True and False, such as "no", 1 or None."""
    if not isinstance(value, bool):
        raise OptionError(f"{name}={value!r} is not allowed; it is True or False.")


def require_path(name: str, value: object) -> None:
    """Refuse what can't be a path, and an empty one.

    That is the current folder to the system, and as a rule a variable of a script that is not set.
    """
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(path, str) or "\0" in path:
        raise OptionError(f"{name}={value!r} is not allowed; it is a path.")
    if not path:
        raise OptionError(f"{name}={value!r} is not allowed; it is a path. Write '.' for the current folder.")
    try:
        Path(path).expanduser()
    except RuntimeError as exc:  # ~name of nobody
        raise OptionError(
            f"{name}={value!r} is not allowed; it is a path, and {path.split('/')[0]} is no user."
        ) from exc


def require_text(name: str, value: object) -> None:
    """Refuse everything but a str."""
    if not isinstance(value, str):
        raise OptionError(f"{name}={value!r} is not allowed; it is a str.")


def listed_choices(kind: type[Enum]) -> str:
    """List the values to choose from: "int8, bf16 or fp32"."""
    *first, last = (str(member.value) for member in kind)
    return f"{', '.join(first)} or {last}"


def integer_option(name: str, value: object, *, least: int, most: int | None = None) -> int | None:
    """Return an integer of `least` to `most`, also numpy's, as an int, or None; anything else is an OptionError."""
    if value is None:
        return None
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # whatever is not an integer raises
    except TypeError as exc:
        raise OptionError(f"{name}={value!r} is not allowed; it is an integer.") from exc
    if isinstance(value, bool) or number < least or (most is not None and number > most):
        allowed = "or more" if most is None else f"to {most}"
        raise OptionError(f"{name}={value!r} is not allowed; it is {least} {allowed}.")
    return number


class RuntimeName(Choice, option="runtime"):
    """The runtimes. They are chosen by name or by the model's folder, never by what happens to be installed."""

    NATIVE = "native"
    OPENVINO = "openvino"
    IPEX = "ipex"


DEFAULT_RUNTIME = RuntimeName.NATIVE


class Precision(Choice, option="precision"):
    """The arithmetic of the encoder's layers. Vectors come out as float32 in each."""

    INT8 = "int8"
    BF16 = "bf16"
    FP32 = "fp32"


class Pooling(Choice, option="pooling"):
    """The pooling modes of sentence-transformers, over the text's own tokens: padding is left out.

    CLS: the first token's vector. MEAN: the mean. LAST: the last token's, as decoder models use. MAX: the greatest of
    each number. MEAN_SQRT_LENGTH: the sum divided by the root of the number of tokens. WEIGHTED_MEAN: the mean, the
    n-th token counting n times.
    """

    CLS = "cls"
    MEAN = "mean"
    LAST = "last"
    MAX = "max"
    MEAN_SQRT_LENGTH = "mean_sqrt_len_tokens"
    WEIGHTED_MEAN = "weightedmean"

    @classmethod
    def parse_several(cls, value: str | Enum) -> tuple[Self, ...]:
        """Turn words joined by "+" into members, whose vectors are concatenated."""
        words = value.split("+") if isinstance(value, str) and not isinstance(value, Enum) else [value]
        return tuple(cls.parse(word) for word in words)


class ScoringKeywords(TypedDict, total=False):
    """The options of `CrossEncoder.load` as keyword arguments, for type checkers: `**options: Unpack[...]`."""

    runtime: str | None
    precision: str
    revision: str | None
    cache_folder: str | os.PathLike[str] | None
    local_files_only: bool
    num_threads: int | None
    instruction_set: str | None
    max_length: int | None
    warm_shapes: bool


class SparseKeywords(ScoringKeywords, total=False):
    """The options of `SparseEncoder.load` as keyword arguments, for type checkers."""

    query_instruction: str | None
    document_instruction: str | None


class LoadKeywords(ScoringKeywords, total=False):
    """The options of `Encoder.load` as keyword arguments, for type checkers."""

    pooling: str | None
    normalize: bool | None
    truncate_dim: int | None
    query_instruction: str | None
    document_instruction: str | None
    allow_torchscript: bool


def _shown(text: str, *, moves_vectors: bool = True, flag: str | None = None, unit: str = "N") -> dict[str, Any]:
    """Return an option's metadata: for `iqe COMMAND --help`, its text, its flag if not its name, and its value's unit.

    `moves_vectors` says whether vectors depend on the option: a Chroma collection keeps those that do.
    """
    return {"help": text, "moves_vectors": moves_vectors, "flag": flag, "unit": unit}


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """A model and how to load it; `None` takes what the model's own folder says. `Encoder.load` explains each.

    Raises:
        OptionError: A value is not allowed.
    """

    model: str | os.PathLike[str] = field(default=DEFAULT_MODEL, metadata=_shown("a folder or a hub id"))
    runtime: str | None = field(
        default=None,
        metadata=_shown(
            f"{listed_choices(RuntimeName)}; what the folder was made for, else {DEFAULT_RUNTIME.value}, when left out",
            unit="NAME",
        ),
    )
    precision: str = field(
        default=Precision.INT8.value,
        metadata=_shown(f"{listed_choices(Precision)} ({Precision.INT8.value} when left out)", unit="NAME"),
    )
    revision: str | None = field(default=None, metadata=_shown("branch, tag or commit on the hub", unit="REVISION"))
    cache_folder: str | os.PathLike[str] | None = field(
        default=None, metadata=_shown("where the hub's files and int8 models are kept", moves_vectors=False, unit="DIR")
    )
    local_files_only: bool = field(default=False, metadata=_shown("never ask the hub", moves_vectors=False))
    num_threads: int | None = field(
        default=None, metadata=_shown("for one call; one a core", moves_vectors=False, flag="--threads")
    )
    instruction_set: str | None = field(
        default=None,
        metadata=_shown("which instructions the native runtime uses", moves_vectors=False, unit="NAME"),
    )
    pooling: str | None = field(
        default=None,
        metadata=_shown(f"{listed_choices(Pooling)}, instead of what the model's folder says", unit="NAME"),
    )
    normalize: bool | None = field(default=None, metadata=_shown("whether vectors have length 1"))
    max_length: int | None = field(
        default=None, metadata=_shown("instead of what the model's folder says", unit="TOKENS")
    )
    truncate_dim: int | None = field(default=None, metadata=_shown("keep that many first numbers of each vector"))
    query_instruction: str | None = field(default=None, metadata=_shown("put before every query", unit="TEXT"))
    document_instruction: str | None = field(default=None, metadata=_shown("put before every document", unit="TEXT"))
    allow_torchscript: bool = field(
        default=False, metadata=_shown("open TorchScript, which is code, that others made", moves_vectors=False)
    )
    warm_shapes: bool = field(
        default=True, metadata=_shown("run the lengths of single texts while loading", moves_vectors=False)
    )

    @classmethod
    def from_keywords(cls, model: str | os.PathLike[str], keywords: Mapping[str, Any]) -> LoadOptions:
        """Make options from a model and an integration's keyword arguments; an unknown name is an OptionError."""
        if not isinstance(model, (str, os.PathLike)):
            raise OptionError(f"model={model!r} is neither a folder nor a hub id like {DEFAULT_MODEL!r}.")
        allowed = [option.name for option in dataclasses.fields(cls)]
        unknown = ", ".join(name for name in keywords if name not in allowed)
        if unknown:
            raise OptionError(f"{unknown}: no such option. There are {', '.join(allowed)}.")
        return cls(model=os.fspath(model), **keywords)

    def __post_init__(self) -> None:
        """Check every value, and turn words into enums and numpy's integers into ints."""
        if self.runtime is not None:
            self._set("runtime", RuntimeName.parse(self.runtime).value)
        self._set("precision", Precision.parse(self.precision).value)
        if self.pooling is not None:
            self._set("pooling", "+".join(mode.value for mode in Pooling.parse_several(self.pooling)))
        self._set("num_threads", integer_option("num_threads", self.num_threads, least=1, most=MOST_THREADS))
        self._set("max_length", integer_option("max_length", self.max_length, least=3))
        self._set("truncate_dim", integer_option("truncate_dim", self.truncate_dim, least=1))
        for name in ("query_instruction", "document_instruction", "revision", "instruction_set"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise OptionError(f"{name}={value!r} is not allowed; it is a str or None.")
        if self.normalize is not None:
            require_bool("normalize", self.normalize)
        for name in ("local_files_only", "allow_torchscript", "warm_shapes"):
            require_bool(name, getattr(self, name))
        if self.cache_folder is not None and not isinstance(self.cache_folder, (str, os.PathLike)):
            raise OptionError(f"cache_folder={self.cache_folder!r} is not allowed; it is a path or None.")
        if self.cache_folder is not None:
            require_path("cache_folder", self.cache_folder)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


_Function = TypeVar("_Function", bound=Callable[..., Any])


def naming_its_options(function: _Function) -> _Function:
    """Let `help()` and `inspect.signature` show each option that a function takes as `**options: Unpack[...]`."""
    signature = inspect.signature(function)
    *before, options = signature.parameters.values()
    tables = (ScoringKeywords, SparseKeywords)
    keywords = next((one for one in tables if one.__name__ in str(options.annotation)), LoadKeywords)
    taken = {parameter.name for parameter in before}
    shown = [
        inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=option.type)
        for option in dataclasses.fields(LoadOptions)
        if option.name in keywords.__annotations__ and option.name not in taken
    ]
    function.__signature__ = signature.replace(parameters=[*before, *shown])  # type: ignore[attr-defined]
    return function
