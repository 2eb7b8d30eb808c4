"""Open files without waiting: a pipe, a socket or a device under a document's name is reported, not read for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from intel_quantized_embeddings.ingestion.problems import UnreadableError

# Such files are read whole, so a larger one is a problem of the file, not of the machine's memory.
LARGEST_BYTES = 2**30


def open_file(file: Path) -> BinaryIO:
    """Open a regular file for reading; anything else is an UnreadableError."""
    # Without O_NONBLOCK opening a pipe waits for a writer; for a file it changes nothing.
    opened = os.fdopen(os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise UnreadableError("not a file but a pipe, a socket, a device or a folder")
    return opened


def open_whole_file(file: Path) -> BinaryIO:
    """Open a regular file that is to be read whole, as `open_file`; a file that is too large is an UnreadableError."""
    opened = open_file(file)
    size = os.fstat(opened.fileno()).st_size
    if size > LARGEST_BYTES:
        opened.close()
        raise UnreadableError(f"{size:,} bytes; files of up to {LARGEST_BYTES:,} are read: split it")
    return opened


def read_bytes(file: Path) -> bytes:
    """Read a file that `open_whole_file` opens."""
    with open_whole_file(file) as opened:
        return opened.read()
