"""Options of a model whose relative paths mean the same after the working folder has changed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from intel_quantized_embeddings.options import LoadOptions


def lasting(options: LoadOptions) -> LoadOptions:
    """Return options whose folders have absolute paths, which mean the same after the working folder has changed."""
    cache = options.cache_folder
    return replace(
        options,
        model=lasting_place(options.model),
        cache_folder=None if cache is None else str(Path(cache).expanduser().absolute()),
    )


def lasting_place(model: str | os.PathLike[str]) -> str:
    """Return a folder's absolute path, which is valid from other working folders, or a hub id as it is."""
    folder = Path(model).expanduser()
    return str(folder.absolute()) if isinstance(model, os.PathLike) or folder.is_dir() else model
