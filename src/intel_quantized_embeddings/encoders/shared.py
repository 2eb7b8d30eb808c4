"""One model in a process for all objects that ask for the same options."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from weakref import WeakValueDictionary

from intel_quantized_embeddings.encoders.cross_encoder import CrossEncoder
from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.reranker import Reranker, kind_of_model
from intel_quantized_embeddings.encoders.sparse_encoder import SparseEncoder
from intel_quantized_embeddings.options import LoadOptions
from intel_quantized_embeddings.process.forks import KeyedLocks

_LOADING = KeyedLocks()
_LOADED: WeakValueDictionary[tuple[LoadOptions, object], Any] = WeakValueDictionary()


def shared_encoder(options: LoadOptions) -> Encoder:
    """Load an encoder, or return the one that another object loaded with the same options and still holds.

    A folder that was rewritten meanwhile is loaded again. Errors are those of `Encoder.load`.
    """
    return cast("Encoder", _shared(options, Encoder))


def shared_sparse_encoder(options: LoadOptions) -> SparseEncoder:
    """As `shared_encoder`, a sparse model."""
    return cast("SparseEncoder", _shared(options, SparseEncoder))


def shared_reranker(options: LoadOptions) -> Reranker:
    """Return a reranker on a model shared in the same way; a bi-encoder is shared with those that embed."""
    return Reranker(cast("Encoder | CrossEncoder", _shared(options, kind_of_model(options))))


def _shared(
    options: LoadOptions, kind: type[Encoder | CrossEncoder | SparseEncoder]
) -> Encoder | CrossEncoder | SparseEncoder:
    # A masked language model may be loaded as an embedder too.
    key = options, (kind is SparseEncoder, _state(options.model))
    with _LOADING.holding(key):
        model: Encoder | CrossEncoder | SparseEncoder | None = _LOADED.get(key)
        if model is None:
            model = _LOADED[key] = kind.from_options(options)
    return model


def _state(model: str | os.PathLike[str]) -> object:
    """Return inode and modification time of all files of a folder, links followed; None for a hub id."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return None
    states = []
    for file in (*folder.glob("*"), *folder.glob("*/*")):
        with suppress(OSError):  # a link that leads nowhere, or a file that went just now
            state = file.stat()
            if not stat.S_ISDIR(state.st_mode):
                states.append((file.relative_to(folder).as_posix(), state.st_ino, state.st_mtime_ns))
    return tuple(sorted(states))
