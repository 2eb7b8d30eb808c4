"""Read named tensors out of `model.safetensors`, one file or sharded, as float32."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError
from intel_quantized_embeddings.files.inside import path_inside
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.process.forks import importing

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_FLOAT_TYPES = ("F64", "F32", "F16", "BF16")


def safetensors_files(folder: Path) -> list[Path]:
    """List the safetensors files that hold the folder's weights; empty when it has none.

    Raises:
        DamagedFilesError: The shard index can't be read or points outside the folder.
        ModelFilesError: The shard index names files that are not there.
    """
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    names = shard_names(folder)
    missing = [repr(name) for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelFilesError(
            f"{folder / INDEX_FILE} names the shard {', '.join(missing[:5])}{' and others' if missing[5:] else ''}, "
            f"which is not in {folder}: {len(missing)} of {len(names)} are missing. Fetch the whole model again."
        )
    return [folder / name for name in names]


def shard_names(folder: Path) -> list[str]:
    """List the files that the index of sharded safetensors names, there or not; empty where there is no index.

    Raises:
        DamagedFilesError: The index can't be read or points outside the folder.
    """
    index = folder / INDEX_FILE
    if not index.is_file():
        return []
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
    except (KeyError, TypeError, AttributeError, DamagedFilesError) as exc:
        raise DamagedFilesError(f"{index} is not a safetensors index: {exc}") from exc
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise DamagedFilesError(f"{index} names the shard {name!r}; shards are plain file names beside it.")
        path_inside(folder, name, listed_in=index)
    return names


class TensorReader:
    """The tensors of one or several safetensors files, each read when asked for."""

    def __init__(self, files: list[Path]) -> None:
        with importing():
            from safetensors import SafetensorError, safe_open

        self._files: dict[str, Path] = {}
        for file in files:
            try:
                with safe_open(str(file), framework="np") as opened:
                    self._files.update(dict.fromkeys(opened.keys(), file))
            except (SafetensorError, OSError) as exc:
                raise DamagedFilesError(
                    f"{file} is not a readable safetensors file ({exc}). It may be a broken download: fetch it again."
                ) from exc

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, from the header of its file alone.

        Raises:
            DamagedFilesError: The tensor is not there.
        """
        from safetensors import safe_open

        with safe_open(str(self._file(name)), framework="np") as opened:
            return tuple(opened.get_slice(name).get_shape())

    def read(self, name: str) -> NDArray[np.float32]:
        """Read one tensor, widened to float32.

        Raises:
            DamagedFilesError: The tensor is not there, is not a floating-point one, or holds NaN or infinity.
        """
        return self._read(name, None)

    def read_row(self, name: str, row: int) -> NDArray[np.float32]:
        """Read one row of a table, as `read` does, without the others.

        Raises:
            DamagedFilesError: As `read` lists them.
        """
        table = self._read(name, row)
        return table.reshape(table.shape[1:])

    def _read(self, name: str, row: int | None) -> NDArray[np.float32]:
        from safetensors import safe_open

        file = self._file(name)
        with safe_open(str(file), framework="np") as opened:
            part = opened.get_slice(name)
            dtype = part.get_dtype()
            if dtype not in _FLOAT_TYPES:
                raise DamagedFilesError(f"tensor {name!r} of {file} has type {dtype}; expected one of {_FLOAT_TYPES}.")
            if dtype == "BF16":
                tensor = _read_bfloat16(file, name, row)
            else:
                with np.errstate(over="ignore"):  # beyond float32: found below
                    held = opened.get_tensor(name) if row is None else part[row : row + 1]
                    tensor = np.ascontiguousarray(held, dtype=np.float32)
        # Both extremes are NaN if any number is, and need no second array as isfinite does.
        if tensor.size and not (np.isfinite(tensor.min()) and np.isfinite(tensor.max())):
            raise DamagedFilesError(f"tensor {name!r} of {file} holds numbers that are not finite (NaN or infinity).")
        return tensor

    def _file(self, name: str) -> Path:
        if name not in self._files:
            raise DamagedFilesError(
                f"no tensor {name!r} in {', '.join(sorted({str(f) for f in self._files.values()}))}."
            )
        return self._files[name]


def _read_bfloat16(file: Path, name: str, row: int | None) -> NDArray[np.float32]:
    """Read a bf16 tensor, or one row of it, a type numpy lacks: its 16 bits are the upper half of a float32.

    The offsets come from the header of the safetensors format
    (https://huggingface.co/docs/safetensors), which `safe_open` has validated before this is called.
    """
    with file.open("rb") as opened:
        (header_size,) = struct.unpack("<Q", opened.read(8))
        entry = json.loads(opened.read(header_size))[name]
        start, end = entry["data_offsets"]
        shape = entry["shape"]
        if row is not None:
            size = (end - start) // shape[0]
            start, end, shape = start + row * size, start + (row + 1) * size, [1, *shape[1:]]
        opened.seek(8 + header_size + start)
        halves = np.frombuffer(opened.read(end - start), dtype="<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(shape)
