"""One encoder in a process for all objects that ask for the same."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from weakref import WeakValueDictionary

from intel_quantized_embeddings.encoder import Encoder
from intel_quantized_embeddings.load_options import LoadOptions

_LOADING = threading.Lock()
_LOADED: WeakValueDictionary[tuple[LoadOptions, object], Encoder] = WeakValueDictionary()


def shared_encoder(options: LoadOptions) -> Encoder:
    """Load an encoder, or take the one that another object loaded with the same options and still holds.

    A folder that was written anew meanwhile is loaded anew.

    Args:
        options: What to load.

    Raises:
        QuantizedEmbeddingsError: As `Encoder.load` lists them.
    """
    key = options, _state(options.model)
    with _LOADING:
        encoder = _LOADED.get(key)
        if encoder is None:
            encoder = _LOADED[key] = Encoder.load(**vars(options))
    return encoder


def _state(model: str | os.PathLike[str]) -> object:
    """What changes when a folder's files are written again; None of what is no folder."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return None
    states = ((file.name, file.lstat()) for file in folder.iterdir())
    return tuple(sorted((name, state.st_ino, state.st_mtime_ns) for name, state in states))
