"""`--store MODULE:FUNCTION`: a user's function that makes a LangChain store."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.errors import OptionError, QuantizedEmbeddingsError, one_line

if TYPE_CHECKING:
    from langchain_core.vectorstores import VectorStore


def made(name: str, model: Mapping[str, Any]) -> VectorStore:
    """Call the function with `IntelQuantizedEmbeddings` of a model and its options.

    Raises:
        OptionError: There is no such function, or it failed.
        QuantizedEmbeddingsError: As `Encoder.load` lists them.
    """
    from intel_quantized_embeddings.integrations.langchain import IntelQuantizedEmbeddings

    make = imported(name)
    try:
        store: VectorStore = make(IntelQuantizedEmbeddings(**model))
    except Exception as exc:
        if isinstance(exc, QuantizedEmbeddingsError):
            raise
        raise OptionError(f"{name} could not make the store ({type(exc).__name__}: {one_line(exc)}).") from exc
    return store


def imported(name: str) -> Callable[[Any], Any]:
    """Import a function named as MODULE:FUNCTION, from the current folder too.

    Raises:
        OptionError: There is no such function.
    """
    module, separator, function = name.partition(":")
    if not (module and separator and function):
        raise OptionError(f"{name!r} is not allowed; it is MODULE:FUNCTION, as in my_stores:make of my_stores.py.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as exc:  # a user's module may raise any error
        if isinstance(exc, QuantizedEmbeddingsError):
            raise
        raise OptionError(f"{name!r} can't be imported ({type(exc).__name__}: {one_line(exc)}).") from exc
    if not callable(found):
        raise OptionError(f"{name!r} is not allowed; it is a {type(found).__name__}, not a function.")
    result: Callable[[Any], Any] = found
    return result
