"""`encoder.safetensors` and `encoder.json` of an int8 folder: written so that the engine reads them without copying."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.errors import DamagedFilesError
from intel_quantized_embeddings.files.json_files import read_json, write_json
from intel_quantized_embeddings.process.forks import importing
from intel_quantized_embeddings.runtimes.native_graph import NativeGraph
from intel_quantized_embeddings.runtimes.native_shape import Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

DESCRIPTION_FILE = "encoder.json"

# The format (https://huggingface.co/docs/safetensors) lets a header end in spaces, so that data begin at a cache line.
# They stay at cache lines, since the few arrays that are not a multiple of 64 bytes come last.
_LINE = 64
_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "I32": np.dtype(np.int32),
    "I8": np.dtype(np.int8),
}
_NAMES = {kind: name for name, kind in _TYPES.items()}


def write_native(graph: NativeGraph, file: Path) -> None:
    """Write a graph's arrays into a file and its shape beside it."""
    header, offset = {}, 0
    names = sorted(graph.arrays, key=lambda name: (graph.arrays[name].nbytes % _LINE != 0, name))
    arrays = {name: np.ascontiguousarray(graph.arrays[name]) for name in names}
    for name, array in arrays.items():
        end = offset + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _LINE)
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            opened.write(array.data)
    write_json(file.with_name(DESCRIPTION_FILE), graph.shape.to_json())


def read_native(file: Path) -> NativeGraph:
    """Map the files of `write_native`: processes that read the same file share its memory.

    Raises:
        DamagedFilesError: A file is not one that `write_native` wrote.
        UnsupportedModelError: The files are of a later version of this package.
    """
    with importing():
        from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="np"):  # safe_open checks every offset against the file
            pass
    except (SafetensorError, OSError) as exc:
        raise DamagedFilesError(f"{file} is not a readable safetensors file ({exc}).") from exc
    with file.open("rb") as opened:
        (size,) = struct.unpack("<Q", opened.read(8))
        header: dict[str, Any] = json.loads(opened.read(size))
    header.pop("__metadata__", None)
    mapped = np.memmap(file, dtype=np.uint8, mode="r", offset=0)
    arrays = {name: _array(mapped, 8 + size, name, entry, file) for name, entry in header.items()}
    description = file.with_name(DESCRIPTION_FILE)
    return NativeGraph(shape=Shape.from_json(read_json(description), where=str(description)), arrays=arrays)


def _array(mapped: NDArray[np.uint8], start: int, name: str, entry: dict[str, Any], file: Path) -> NDArray[Any]:
    kind = _TYPES.get(entry["dtype"])
    if kind is None:
        raise DamagedFilesError(
            f"tensor {name!r} of {file} has type {entry['dtype']}; it is one of {', '.join(_TYPES)}."
        )
    first, end = entry["data_offsets"]
    piece = mapped[start + first : start + end]
    if piece.ctypes.data % kind.itemsize:
        raise DamagedFilesError(f"tensor {name!r} of {file} does not lie at a multiple of {kind.itemsize} bytes.")
    array: NDArray[Any] = np.asarray(piece).view(kind).reshape(entry["shape"])
    return array
