"""Arguments of a retired class -> options of the class that replaces it; `retired_classes.py` is the table."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.models.known import look_up

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """The successor of an argument.

    Attributes:
        option: The option that replaces it; None if there is nothing left to choose.
        convert: Function from its value to the option's.
        allowed: The values that can be honoured, in lower case; None for any.
        instead: Advice about other values.
    """

    option: str | None = None
    convert: Callable[[Any], Any] = lambda value: value
    allowed: tuple[Any, ...] | None = None
    instead: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetiredClass:
    """A retired class, in terms of its successor.

    Attributes:
        model_option: The successor's name of the model.
        defaults: Its defaults, as options of the successor.
        arguments: Its arguments, in order; "a.b" is the key b of the dictionary a. None means "not given" for all.
        in_order: The number of arguments that could be given without a name.
        forced: Function from the model to options that it always set.
    """

    name: str
    successor: str
    model_option: str
    defaults: Mapping[str, Any]
    arguments: Mapping[str, Argument]
    in_order: int = 0
    forced: Callable[[str], Mapping[str, Any]] = lambda model: {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """Options of the successor, the warning, and a warning about the pooling, empty if there is none."""

    options: dict[str, Any]
    deprecation: str
    pooling_warning: str


def options_of(retired: RetiredClass, in_order: Iterable[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Translate for the `__init__` of a class under the old name, and warn its caller."""
    translation = translate(retired, in_order, named)
    warnings.warn(translation.deprecation, DeprecationWarning, stacklevel=3)
    if translation.pooling_warning:
        logger.warning("%s", translation.pooling_warning)
    return translation.options


def translate(retired: RetiredClass, in_order: Iterable[Any], named: Mapping[str, Any]) -> Translation:
    """Translate a retired class's arguments, by place and by name, into options of the successor.

    Options of the successor are accepted too.

    Raises:
        OptionError: An argument can't be honoured or is given twice, or there is no model.
    """
    given = _take_apart(retired, _by_name(retired, list(in_order), named))
    options: dict[str, Any] = {}
    said = []
    for name, value in given.items():
        argument = retired.arguments.get(name, Argument(option=name))  # the successor refuses what it doesn't know
        if argument.allowed is not None and _plain(value) not in argument.allowed:
            told = f"={_shown(value)}" if argument.allowed else ""  # an argument without allowed values may be a secret
            raise OptionError(f"{retired.name}: {name}{told} can't be honoured. {argument.instead}")
        if argument.option is None:
            said.append(f"{name} has no effect, leave it out")
            continue
        if argument.option in options:
            raise OptionError(f"{retired.name}: {name}={_shown(value)} says {argument.option} a second time.")
        options[argument.option] = argument.convert(value)
        if argument.option != name:
            said.append(f"{name} is now {argument.option}")
    options = {**retired.defaults, **options}
    if retired.model_option not in options:
        raise OptionError(f"{retired.name} needs {next(iter(retired.arguments))}=, a folder or a hub id.")
    model = options.pop(retired.model_option)
    if not isinstance(model, (str, os.PathLike)):
        raise OptionError(f"{retired.name}: the model is {model!r}; it is a folder or a hub id.")
    model = os.fspath(model)
    options = {retired.model_option: model, **options, **retired.forced(model)}
    call = ", ".join(f"{name}={_shown(value)}" for name, value in options.items())
    return Translation(
        options=options,
        deprecation="; ".join([f"{retired.name} is retired. Use {retired.successor}({call})", *said]),
        pooling_warning=_pooling_warning(retired, model, options["pooling"]),
    )


def _by_name(retired: RetiredClass, in_order: list[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return every argument by its name, without those that are None."""
    names = list(dict.fromkeys(name.partition(".")[0] for name in retired.arguments))[: retired.in_order]
    if len(in_order) > len(names):
        raise OptionError(
            f"{retired.name} was given {len(in_order)} arguments without a name, and takes {len(names)}. Name them."
        )
    first = dict(zip(names, in_order, strict=False))
    twice = sorted(first.keys() & named.keys())
    if twice:
        raise OptionError(f"{retired.name} was given {', '.join(twice)} twice, with and without a name.")
    return {name: value for name, value in {**first, **named}.items() if value is not None}


def _take_apart(retired: RetiredClass, given: Mapping[str, Any]) -> dict[str, Any]:
    """{"encode_kwargs": {"batch_size": 8}} -> {"encode_kwargs.batch_size": 8}."""
    apart: dict[str, Any] = {}
    for name, value in given.items():
        keys = [known.partition(".")[2] for known in retired.arguments if known.startswith(f"{name}.")]
        if not keys:
            apart[name] = value
            continue
        if not isinstance(value, Mapping):
            raise OptionError(f"{retired.name}: {name}={value!r} is not allowed; it is a dictionary.")
        for key, inner in value.items():
            if key not in keys:
                honoured = [known for known in keys if retired.arguments[f"{name}.{known}"].allowed != ()]
                raise OptionError(
                    f"{retired.name}: {name}[{key!r}] can't be honoured; the keys that can are "
                    f"{', '.join(map(repr, honoured))}. Leave it out if the vectors don't depend on it."
                )
            if inner is not None:
                apart[f"{name}.{key}"] = inner
    return apart


def _pooling_warning(retired: RetiredClass, model: str, pooling: object) -> str:
    known = look_up([model])
    if known is None or known.pooling.value == pooling:
        return ""
    return (
        f"{model} is made for pooling={known.pooling.value!r}; {retired.name} was told, or defaulted to, {pooling!r}. "
        f"The vectors stay what they were, and search worse than this model can: leave pooling out of "
        f"{retired.successor} to get the model's own, and embed your documents again."
    )


def _plain(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _shown(value: Any) -> str:
    """Return a value as code, if it can be written."""
    return repr(value) if isinstance(value, (str, int, float)) else "..."
