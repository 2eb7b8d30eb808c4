"""The engine's shared library and its C interface (native/src/iqe.h): the only module that calls it."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Mapping
from ctypes import POINTER, byref, c_char_p, c_float, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.errors import DamagedFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.process.cores import granted_cores
from intel_quantized_embeddings.runtimes.native_shape import Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIBRARY = Path(__file__).with_name("libiqe.so")
ABI = 7

# This variable forces an instruction set, for tests and comparisons: vectors are the same with each.
ISA_VARIABLE = "IQE_ISA"

_OK, _INVALID, _OUT_OF_MEMORY, _STOPPED = range(4)
_MESSAGE_BYTES = 512
_LINE = 64


class _Config(ctypes.Structure):
    """`iqe_config`."""

    _fields_ = (*((name, c_int32) for name in Shape.NUMBERS), ("epsilon", c_float))


class _Tensor(ctypes.Structure):
    """`iqe_tensor`."""

    _fields_ = (("name", c_char_p), ("data", c_void_p), ("bytes", c_int64))


@functools.cache
def library() -> ctypes.CDLL:
    """Open the library.

    Raises:
        UnsupportedModelError: This installation has no library, or one of another version.
    """
    if not LIBRARY.is_file():
        raise UnsupportedModelError(
            "runtime='native' is not available in this installation, which has no engine for its platform: wheels of "
            "Linux on x86-64 and aarch64 (glibc) have one. Use runtime='openvino'."
        )
    opened = ctypes.CDLL(str(LIBRARY))
    if opened.iqe_abi() != ABI:
        raise UnsupportedModelError(
            f"{LIBRARY} is of another version of this package ({opened.iqe_abi()} instead of {ABI}): install it again."
        )
    opened.iqe_limit_cores.restype = None
    opened.iqe_limit_cores(granted_cores())  # the engine does not see CPU quotas by itself
    opened.iqe_instruction_sets.restype = c_char_p
    opened.iqe_free.restype = None
    opened.iqe_free.argtypes = [c_void_p]
    opened.iqe_new.argtypes = [POINTER(_Config), c_void_p, c_int32, c_char_p, POINTER(c_void_p), c_char_p, c_int64]
    opened.iqe_encode.argtypes = [
        *(c_void_p, c_void_p, c_void_p, c_int64, c_int32, c_void_p, c_void_p),
        *(c_char_p, c_int64),
    ]
    opened.iqe_pack.argtypes = [c_void_p, c_int64, c_int64, c_void_p]
    opened.iqe_observe.argtypes = [c_void_p, c_void_p, c_void_p, c_int64, c_void_p, c_char_p, c_int64]
    opened.iqe_quantize.argtypes = [c_void_p, c_void_p, c_int64, c_int64, c_int32, c_void_p, c_void_p, c_void_p]
    opened.iqe_products.argtypes = [c_void_p, c_int64, c_void_p, c_int64, c_int64, c_char_p, c_void_p]
    return opened


def instruction_sets() -> tuple[str, ...]:
    """Return the names of the instruction sets that this CPU runs, the fastest first."""
    return tuple(library().iqe_instruction_sets().decode().split())


def chosen_instruction_set(asked: str | None = None) -> str:
    """Return the instruction set to use: the one asked for, else that of `IQE_ISA`, else the fastest.

    An instruction set that this CPU does not run is an OptionError.
    """
    there = instruction_sets()
    name, chosen = ISA_VARIABLE, os.environ.get(ISA_VARIABLE) or there[0]
    if asked is not None:
        name, chosen = "instruction_set", asked
    if chosen not in there:
        raise OptionError(f"{name}={chosen!r} is not available here: this CPU runs {', '.join(map(repr, there))}.")
    return chosen


def pack(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay out a linear layer's weights, (outputs, inputs), as the engine reads them in fp32."""
    outputs, inputs = weights.shape
    panels = empty(outputs * inputs, np.float32)
    _check(library().iqe_pack(_address(weights), outputs, inputs, _address(panels)), "")
    return panels


def quantize(
    weights: NDArray[np.float32], factors: NDArray[np.float32] | None, *, levels: int
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int32]]:
    """Quantize a linear layer's weights.

    Args:
        weights: Shape: (outputs, inputs), each a multiple of 16.
        factors: Number by which each column is divided first, and its input multiplied at run time.
        levels: Number of steps of the rows that will be multiplied with the weights.

    Returns:
        Codes as the engine reads them, and for each output a scale and the sum of its codes.
    """
    outputs, inputs = weights.shape
    codes = empty(outputs * inputs, np.int8)
    scales, sums = empty(outputs, np.float32), empty(outputs, np.int32)
    status = library().iqe_quantize(
        *(_address(weights), None if factors is None else _address(factors), outputs, inputs, levels),
        *(_address(codes), _address(scales), _address(sums)),
    )
    _check(status, "no memory to quantize a layer with")
    return codes, scales, sums


class Engine:
    """A model that the engine has taken. Safe to call from several threads at once."""

    def __init__(self, shape: Shape, arrays: Mapping[str, NDArray[Any]], *, instruction_set: str) -> None:
        """Give the engine a model's arrays by its names; unknown or missing ones are a DamagedFilesError.

        Arrays that do not begin at a cache line are copied, but for words in fp32. The instruction set is one of
        `instruction_sets()`.
        """
        self._library = library()
        self._handle = c_void_p()
        # Kept alive as long as the model that points into them. Rows of words are few beside all other reads.
        self._arrays = {name: array if name == "words" else _aligned(array) for name, array in arrays.items()}
        self._by_token = shape.weighs_tokens
        config = _Config(*(getattr(shape, name) for name in Shape.NUMBERS), shape.epsilon)
        tensors = (_Tensor * len(self._arrays))(
            *(_Tensor(name.encode(), array.ctypes.data, array.nbytes) for name, array in self._arrays.items())
        )
        _call(
            self._library.iqe_new,
            *(byref(config), tensors, len(self._arrays), instruction_set.encode(), byref(self._handle)),
        )

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.iqe_free(self._handle)

    def encode(
        self,
        ids: NDArray[np.int32],
        offsets: NDArray[np.int64],
        *,
        dimension: int,
        threads: int,
        stop: NDArray[np.int32],
    ) -> NDArray[np.float32] | None:
        """Encode texts.

        Args:
            ids: The token ids of all texts, one after another.
            offsets: The beginning of each text, and the end of the last one. Shape: (texts + 1,).
            dimension: Numbers in a row.
            threads: The largest number of threads that work on it.
            stop: One number; another thread sets it to 1 to end the call early.

        Returns:
            Shape: (texts, dimension), or (tokens, dimension) of a model that weighs tokens; None if it was stopped.

        Raises:
            DamagedFilesError: An id or a length is not one of the model.
            MemoryError: There is no memory for the call.
        """
        texts = len(offsets) - 1
        rows = np.empty((int(offsets[-1]) if self._by_token else texts, dimension), dtype=np.float32)
        status = _call(
            self._library.iqe_encode,
            *(self._handle, _address(ids), _address(offsets), texts, threads, _address(stop), _address(rows)),
        )
        return None if status == _STOPPED else rows

    def observe(self, ids: NDArray[np.int32], offsets: NDArray[np.int64], *, numbers: int) -> NDArray[np.float32]:
        """Sum the squares of each input of each linear layer over all tokens of texts, in fp32.

        Ids, offsets and errors are those of `encode`; `numbers` is the number of inputs of all linear layers. Returns
        the inputs of `qkv`, `attention_output`, `intermediate` and `output` layer by layer. Shape: (numbers,).
        """
        squares = np.zeros(numbers, dtype=np.float32)
        addresses = (_address(ids), _address(offsets), len(offsets) - 1, _address(squares))
        _call(self._library.iqe_observe, self._handle, *addresses)
        return squares


def empty(count: int, kind: type[np.generic]) -> NDArray[Any]:
    """Return an array that begins at a cache line, so that a load of 64 bytes reads one line, not two."""
    size = np.dtype(kind).itemsize
    room = np.empty(count * size + _LINE, dtype=np.uint8)
    first = -room.ctypes.data % _LINE
    return room[first : first + count * size].view(kind)


def _aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array if it begins at a cache line, else a copy that does."""
    if array.ctypes.data % _LINE == 0:
        return array
    copy = empty(array.size, array.dtype.type).reshape(array.shape)
    copy[...] = array
    return copy


def _address(array: NDArray[Any]) -> int:
    assert array.flags.c_contiguous  # the engine has no strides
    return array.ctypes.data


def _call(function: Any, *arguments: Any) -> int:
    """Call a function that takes a buffer for a message behind its other arguments; return its status."""
    message = ctypes.create_string_buffer(_MESSAGE_BYTES)
    status: int = function(*arguments, message, _MESSAGE_BYTES)
    if status != _STOPPED:
        _check(status, message.value.decode("utf-8", "replace"))
    return status


def _check(status: int, message: str) -> None:
    if status == _OUT_OF_MEMORY:
        raise MemoryError(message)
    if status != _OK:
        raise DamagedFilesError(
            f"the engine can't run this model: {message}. Its files are damaged or of another version of this package: "
            f"quantize it again, or fetch it again."
        )
