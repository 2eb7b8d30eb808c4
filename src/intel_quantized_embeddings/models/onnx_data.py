"""ONNX files whose tensors are in other files: the names of these, and the same graph with the tensors in memory.

ONNX is protobuf (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Only the fields that lead to a tensor's
`external_data` are parsed; the others are skipped by their length.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError
from intel_quantized_embeddings.files.inside import path_inside

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A message's fields that lead to a tensor, by number, and the messages that they hold.
_FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Function": {7: "Node", 11: "Attribute"},
}
_EXTERNAL_DATA = 13  # of a tensor

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5

# Graphs in graphs: loops and branches. protobuf itself takes a hundred messages in each other.
_DEEPEST = 100

# A tensor's `external_data` by key -> what to write instead, None to leave it.
_Visit: TypeAlias = Callable[[Mapping[str, bytes]], Mapping[str, bytes] | None]

# The location that tells OpenVINO that the offset is an address in this process's memory.
_IN_MEMORY = b"*/_ORT_MEM_ADDR_/*"


def external_files(model: Path, *, folder: Path) -> list[Path]:
    """List the files inside a model's folder that hold tensors of an ONNX file. They need not exist."""
    names: dict[bytes, Path] = {}

    def note(entries: Mapping[str, bytes]) -> None:
        location = entries["location"]
        if location not in names:
            names[location] = _inside(model, location, folder)

    _walk(model, note)
    return sorted(set(names.values()))


@contextmanager
def readable(model: Path, *, folder: Path) -> Iterator[str | bytes]:
    """Yield a form of an ONNX file that OpenVINO can read while the block lasts.

    That is its path, whose data OpenVINO maps into memory. Only if links lead out of the graph's folder, which OpenVINO
    refuses and the hub's cache has, it is the graph as bytes, with addresses of the data mapped here, which OpenVINO
    copies. Files may not leave the model's folder, but for the hub's blobs.
    """
    mapped: dict[bytes, NDArray[np.uint8]] = {}
    base = model.parent.resolve()
    linked = False

    def place(entries: Mapping[str, bytes]) -> Mapping[str, bytes]:
        nonlocal linked
        location = entries["location"]
        if location not in mapped:
            file = _inside(model, location, folder)
            if not file.is_file():
                raise ModelFilesError(f"{model} keeps tensors in {_shown(location)}, which is not beside it.")
            linked = linked or not file.resolve().is_relative_to(base)
            mapped[location] = _mapped(file)
        data = mapped[location]
        start = _number(model, entries, "offset", default=0)
        length = _number(model, entries, "length", default=max(0, len(data) - start))
        if not length or start + length > len(data):
            raise DamagedFilesError(
                f"{model} keeps a tensor in bytes {start:,} to {start + length:,} of {_shown(location)}, which has "
                f"{len(data):,}: it is a broken download, or of another export."
            )
        address = data.ctypes.data + start
        return {"location": _IN_MEMORY, "offset": b"%d" % address, "length": b"%d" % length}

    pieces = _walk(model, place)
    yield str(model) if pieces is None or not linked else b"".join(pieces)


def _mapped(file: Path) -> NDArray[np.uint8]:
    return np.memmap(file, np.uint8, "r") if file.stat().st_size else np.empty(0, np.uint8)


def _inside(model: Path, location: bytes, folder: Path) -> Path:
    """Return the file of a location, which is relative to the ONNX file."""
    if location == _IN_MEMORY:
        raise DamagedFilesError(f"{model} keeps a tensor at an address in memory; a file is expected.")
    try:
        name = os.fsdecode(location)
        beside = model.parent.relative_to(folder).as_posix()
    except ValueError as exc:
        raise DamagedFilesError(f"{model} is not in {folder}.") from exc
    # Joined as text, so that an absolute location is recognized.
    return path_inside(folder, name if PureWindowsPath(name).anchor else f"{beside}/{name}", listed_in=model)


def _number(model: Path, entries: Mapping[str, bytes], key: str, *, default: int) -> int:
    value = entries.get(key)
    if value is None:
        return default
    if not value.isdigit() or len(value) > 19:
        raise DamagedFilesError(f"{model} gives a tensor the {key} {_shown(value)}; a number of bytes is expected.")
    return int(value)


def _shown(value: bytes) -> str:
    return repr(value[:80].decode("utf-8", "backslashreplace"))


def _walk(model: Path, visit: _Visit) -> list[memoryview | bytes] | None:
    """Call `visit` for every tensor in another file; the file in pieces if anything is to be written instead."""
    try:
        with model.open("rb") as opened:
            content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        if content.find(b"location") < 0:  # every external tensor has this key, which is found quickly
            return None
        return _changed(memoryview(content), "Model", visit, depth=0)
    except (ValueError, IndexError) as exc:
        if isinstance(exc, DamagedFilesError):
            raise
        raise DamagedFilesError(f"{model} is not an ONNX file, or not a whole one: {exc}") from exc


def _changed(message: memoryview, kind: str, visit: _Visit, *, depth: int) -> list[memoryview | bytes] | None:
    """Return a message in pieces, with the changes of `visit`; None if there are none."""
    if depth > _DEEPEST:
        raise ValueError(f"its messages are more than {_DEEPEST} deep")
    if kind == "Tensor":
        return _changed_tensor(message, visit)
    pieces: list[memoryview | bytes] = []
    kept = 0
    for number, start, value, end in _fields(message):
        inner = _FIELDS[kind].get(number)
        new = None if inner is None else _changed(message[value:end], inner, visit, depth=depth + 1)
        if new is not None:
            pieces += [message[kept:start], _header(number, sum(map(len, new))), *new]
            kept = end
    return [*pieces, message[kept:]] if kept else None


def _changed_tensor(message: memoryview, visit: _Visit) -> list[memoryview | bytes] | None:
    fields = [(start, value, end) for number, start, value, end in _fields(message) if number == _EXTERNAL_DATA]
    external = dict(_entry(message[value:end]) for _, value, end in fields)
    new = visit(external) if "location" in external else None
    if new is None:
        return None
    pieces: list[memoryview | bytes] = []
    kept = 0
    for start, _, end in fields:
        pieces.append(message[kept:start])
        kept = end
    entries = [_field(1, key.encode()) + _field(2, value) for key, value in new.items()]
    return [*pieces, message[kept:], *(_field(_EXTERNAL_DATA, entry) for entry in entries)]


def _entry(message: memoryview) -> tuple[str, bytes]:
    """Return key and value of a StringStringEntry."""
    texts = {number: bytes(message[value:end]) for number, _, value, end in _fields(message)}
    return texts.get(1, b"").decode("utf-8", "replace"), texts.get(2, b"")


def _fields(message: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, start, start of the value and end of each field that is bytes, text or a message."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _BYTES:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError(f"a field of {length:,} bytes begins {len(message) - at:,} before the end")
            yield number, start, at, at + length
            at += length
        elif kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of type {kind}")
    if at > len(message):
        raise ValueError("its last field is cut off")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number; return it and its end."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")


def _field(number: int, content: bytes) -> bytes:
    return _header(number, len(content)) + content


def _header(number: int, length: int) -> bytes:
    """Return the bytes before a field of bytes, text or a message."""
    return _written((number << 3) | _BYTES) + _written(length)


def _written(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
