"""One model in a process for all objects that ask for the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast
from weakref import WeakValueDictionary

from intel_quantized_embeddings.cross_encoder import CrossEncoder
from intel_quantized_embeddings.encoder import Encoder
from intel_quantized_embeddings.load_options import LoadOptions
from intel_quantized_embeddings.reranking import Reranker, kind_of_model
from intel_quantized_embeddings.runtimes.forks import KeyedLocks

_LOADING = KeyedLocks()
_LOADED: WeakValueDictionary[tuple[LoadOptions, object], Any] = WeakValueDictionary()


def shared_encoder(options: LoadOptions) -> Encoder:
    """Load an encoder, or take the one that another object loaded with the same options and still holds.

    A folder that was written anew meanwhile is loaded anew.

    Args:
        options: What to load.

    Raises:
        QuantizedEmbeddingsError: As `Encoder.load` lists them.
    """
    return cast("Encoder", _shared(options, Encoder))


def shared_reranker(options: LoadOptions) -> Reranker:
    """A reranker on a model loaded or taken so; a bi-encoder is the same one that embeds.

    Args:
        options: What to load.

    Raises:
        QuantizedEmbeddingsError: As `Reranker.load` lists them.
    """
    return Reranker(_shared(options, kind_of_model(options)))


def _shared(options: LoadOptions, kind: type[Encoder | CrossEncoder]) -> Encoder | CrossEncoder:
    key = options, _state(options.model)
    with _LOADING.holding(key):
        model: Encoder | CrossEncoder | None = _LOADED.get(key)
        if model is None:
            model = _LOADED[key] = kind.from_options(options)
    return model


def _state(model: str | os.PathLike[str]) -> object:
    """What changes when a folder's files are written again; None of what is no folder."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return None
    states = ((file.name, file.lstat()) for file in folder.iterdir())
    return tuple(sorted((name, state.st_ino, state.st_mtime_ns) for name, state in states))
