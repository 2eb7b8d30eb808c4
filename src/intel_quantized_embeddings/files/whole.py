"""Files that can't be read or written, or are there by name only: dangling links, Git LFS pointers, empty files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError

_POINTER = b"version https://git-lfs.github.com/spec/"


def is_there(file: Path) -> bool:
    """Return whether a file exists; a dangling link is a ModelFilesError."""
    if file.is_file():
        return True
    if file.is_symlink() and not file.exists():
        raise ModelFilesError(
            f"{file} is a link to {os.readlink(file)}, and nothing is there: the hub's cache lost that file, or only "
            f"the links were copied. Delete the link and load the model once with the hub reachable, or copy the "
            f"files themselves."
        )
    return False


def require_readable(folder: Path) -> None:
    """Check that this process may list a folder and open what is in it."""
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ModelFilesError(
            f"the folder {folder} can't be read: permission denied. Let this process's user read it, or copy it."
        )


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Map the errors of opening a model's file and reading it; a ModelFilesError names the file."""
    try:
        yield
    except OSError as exc:
        raise ModelFilesError(f"{file} can't be read: {exc.strerror or exc}") from exc


@contextmanager
def writing(file: Path, *, library: str) -> Iterator[None]:
    """Map the RuntimeErrors of a library that can't write a file to OSErrors; it often does not say why it can't."""
    try:
        yield
    except RuntimeError as exc:
        free = shutil.disk_usage(file.parent).free
        raise OSError(f"{library} can't write {file}, whose disk has {free:,} bytes left: {exc}") from exc


def require_whole(file: Path, *, may_be_empty: bool = False) -> None:
    """Check that an existing file can be read and is neither empty nor a Git LFS pointer."""
    with reading(file), file.open("rb") as opened:
        begins = opened.read(len(_POINTER))
    if not begins and not may_be_empty:
        raise DamagedFilesError(f"{file} is empty: a broken download or copy. Delete it and fetch it again.")
    if begins == _POINTER:
        raise DamagedFilesError(
            f"{file} is a Git LFS pointer, which stands for the file: the repository was cloned without Git LFS. Run "
            f"git lfs pull in it, or pass the hub id instead of the folder."
        )
