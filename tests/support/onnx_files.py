"""ONNX files written byte by byte, as exporters do, without the onnx package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

Field: TypeAlias = "tuple[int, int | str | bytes]"

_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}
_EXTERNAL = 1


def message(*fields: Field) -> bytes:
    """A protobuf message."""
    return b"".join(_field(number, value) for number, value in fields)


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def tensor(name: str, values: np.ndarray, **external: str | int) -> bytes:
    """A tensor; with `location`, `offset` and `length` it is in another file."""
    shape: list[Field] = [(1, size) for size in values.shape]
    described = message(*shape, (2, _TYPES[values.dtype.name]), (8, name))
    if not external:
        return described + message((9, values.tobytes()))
    entries = [message((1, key), (2, str(value))) for key, value in external.items()]
    return described + message(*((13, entry) for entry in entries), (14, _EXTERNAL))


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **integers: int) -> bytes:
    """An operator, with attributes that are whole numbers."""
    attributes = [message((1, name), (3, value), (20, 2)) for name, value in integers.items()]
    return message(
        *((1, name) for name in inputs), *((2, name) for name in outputs), (4, kind), *((5, one) for one in attributes)
    )


def constant(output: str, value: bytes) -> bytes:
    """An operator that gives a tensor, as torch's exporter writes some weights."""
    return message((2, output), (4, "Constant"), (5, message((1, "value"), (5, value), (20, 4))))


def model(nodes: Sequence[bytes], tensors: Sequence[bytes], *, hidden: int) -> bytes:
    """A graph from token ids and mask to `last_hidden_state`."""

    def port(name: str, kind: int, *shape: str | int) -> bytes:
        sizes = [message((1, message((2, size) if isinstance(size, str) else (1, size)))) for size in shape]
        return message((1, name), (2, message((1, message((1, kind), (2, b"".join(sizes)))))))

    graph = message(
        *((1, one) for one in nodes),
        (2, "graph"),
        *((5, one) for one in tensors),
        (11, port("input_ids", _TYPES["int64"], "batch", "length")),
        (11, port("attention_mask", _TYPES["int64"], "batch", "length")),
        (12, port("last_hidden_state", _TYPES["float32"], "batch", "length", hidden)),
    )
    return message((1, 8), (7, graph), (8, message((1, ""), (2, 17))))


# The mask changes nothing, and is used, so that it stays in the graph.
ROWS = (
    node("Gather", ["table", "input_ids"], ["rows"]),
    node("Cast", ["attention_mask"], ["mask"], to=1),
    node("ReduceSum", ["mask"], ["sum"], keepdims=0),
    node("Mul", ["sum", "zero"], ["nothing"]),
    node("Add", ["rows", "nothing"], ["x"]),
)
ZERO = tensor("zero", np.array(0, np.float32))


def write_onnx_export(
    file: Path, table: np.ndarray, bias: np.ndarray, *, table_in: str | None, bias_in: str | None
) -> dict[str, int]:
    """Write an encoder whose hidden state is a row of a table and a bias, either of them in a file of its own or not.

    The bias is the value of an operator. Two tensors in one file lie one behind the other.

    Returns:
        Sizes of the files with tensors.
    """
    content: dict[str, bytes] = {}

    def placed(name: str, values: np.ndarray, where: str | None) -> bytes:
        if where is None:
            return tensor(name, values)
        start = len(content.get(where, b""))
        content[where] = content.get(where, b"") + values.tobytes()
        return tensor(name, values, location=where, offset=start, length=values.nbytes)

    nodes = [*ROWS, constant("bias", placed("", bias, bias_in)), node("Add", ["x", "bias"], ["last_hidden_state"])]
    tensors = [placed("table", table, table_in), ZERO]
    write_files(file.parent, {file.name: model(nodes, tensors, hidden=table.shape[1]), **content})
    return {name: len(data) for name, data in content.items()}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files, and the folders that they are in."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
