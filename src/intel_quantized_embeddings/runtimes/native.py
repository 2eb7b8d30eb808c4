"""The native runtime: this package's own engine (native/README.md), for texts of any lengths at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.architectures import EncoderConfig, EncoderWeights, Ending, SparseEnding
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.weight_files import runtime_of_weights
from intel_quantized_embeddings.options import Precision, RuntimeName
from intel_quantized_embeddings.process.cores import granted_cores
from intel_quantized_embeddings.runtimes.base import ModelGraph
from intel_quantized_embeddings.runtimes.building import require_precision
from intel_quantized_embeddings.runtimes.native_folder import read_native, write_native
from intel_quantized_embeddings.runtimes.native_graph import (
    FREQUENCIES,
    LEFT_OUT,
    NativeGraph,
    native_graph,
    rotary_table,
)
from intel_quantized_embeddings.runtimes.native_library import Engine, chosen_instruction_set, pack
from intel_quantized_embeddings.runtimes.native_shape import INT8

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENCODER_FILE = "encoder.safetensors"

# A call of more tokens runs beside the caller's thread, which can then react to Control-C.
_LONG_CALL = 2048


class NativeRuntime:
    """A model in the engine: ragged texts in, a row for each text out, which has the same bits in any call."""

    def __init__(
        self, graph: NativeGraph, *, num_threads: int | None = None, instruction_set: str | None = None
    ) -> None:
        """Give a graph to the engine; see `RuntimeModule.compile_graph`.

        Without `instruction_set`, `IQE_ISA` decides, else the fastest is taken.
        """
        self._dimension, self._outputs = graph.shape.numbers, graph.shape.outputs
        self._left_out = graph.arrays.get(LEFT_OUT) if graph.shape.weighs_tokens else None
        self._threads = num_threads or granted_cores()
        self.instruction_set = chosen_instruction_set(instruction_set)
        self._engine = Engine(graph.shape, packed(graph), instruction_set=self.instruction_set)

    @property
    def dimension(self) -> int:
        """Numbers in a row."""
        return self._dimension

    @property
    def streams(self) -> int:
        """See `RaggedRuntime.streams`."""
        return self._threads

    @property
    def least_tokens(self) -> int:
        """See `RaggedRuntime.least_tokens`."""
        return 1

    def run_ragged(self, token_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Encode texts with all threads; see `RaggedRuntime.run_ragged`.

        Raises:
            DamagedFilesError: An id or a length is not one of the model's.
            MemoryError: There is no memory for the call.
        """
        offsets = np.zeros(len(token_ids) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in token_ids], out=offsets[1:])
        total = int(offsets[-1])
        flat = _flat(token_ids, count=total)
        stop = np.zeros(1, dtype=np.int32)
        # On the main thread Python handles signals only between its own instructions.
        if total > _LONG_CALL and threading.current_thread() is threading.main_thread():
            return self._beside(flat, offsets, stop)
        rows = self._encode(flat, offsets, stop)
        assert rows is not None  # nobody stops it
        return rows

    def _encode(
        self, ids: NDArray[np.int32], offsets: NDArray[np.int64], stop: NDArray[np.int32]
    ) -> NDArray[np.float32] | None:
        rows = self._engine.encode(ids, offsets, dimension=self._outputs, threads=self._threads, stop=stop)
        if rows is None:
            return None
        if self._left_out is not None:
            return _by_token(rows[:, 0], ids, offsets, left_out=self._left_out, vocabulary=self._dimension)
        return rows[:, : self._dimension]  # of a vocabulary what pads it is left out

    def _beside(
        self, ids: NDArray[np.int32], offsets: NDArray[np.int64], stop: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Encode on another thread. An exception during the wait ends the call at the next block of texts."""
        with ThreadPoolExecutor(1, thread_name_prefix="encode") as beside:  # leaving waits for the thread
            future = beside.submit(self._encode, ids, offsets, stop)
            try:
                rows = future.result()
            except BaseException:
                stop[0] = 1
                raise
        assert rows is not None  # it was not stopped
        return rows


def _by_token(
    weights: NDArray[np.float32],
    ids: NDArray[np.int32],
    offsets: NDArray[np.int64],
    *,
    left_out: NDArray[np.int32],
    vocabulary: int,
) -> NDArray[np.float32]:
    """Put the weights of texts' tokens in the places of their ids, of equal ones the greatest.

    Args:
        weights: Of all tokens of all texts. Shape: (tokens,).
        ids: Their ids.
        offsets: Where each text begins, and where the last one ends.
        left_out: Ids that have no weight.
        vocabulary: How many ids there are.

    Returns:
        Shape: (texts, vocabulary).
    """
    rows = np.zeros((len(offsets) - 1, vocabulary), dtype=np.float32)
    texts = np.repeat(np.arange(len(rows)), np.diff(offsets))
    np.maximum.at(rows, (texts, ids), weights)
    rows[:, left_out] = 0
    return rows


def _flat(token_ids: Sequence[Sequence[int]], *, count: int) -> NDArray[np.int32]:
    """Return the token ids of all texts, one after another.

    Raises:
        DamagedFilesError: An id has more than 32 bits; the engine checks the others.
    """
    try:
        ids = np.fromiter(chain.from_iterable(token_ids), dtype=np.int64, count=count)
        flat = ids.astype(np.int32)
        if np.array_equal(flat, ids):
            return flat
        wrong = int(ids[flat != ids][0])
    except OverflowError:
        wrong = max(chain.from_iterable(token_ids), key=abs)
    raise DamagedFilesError(
        f"the token id {wrong} is not one of the model's, which have 32 bits. Pass ids that its own tokenizer made; if "
        f"it made this one, its files are damaged: fetch or quantize the model again."
    )


def graph_of_weights(encoder: EncoderConfig, weights: EncoderWeights, ending: Ending) -> ModelGraph:
    """Make an embedder of one of the built-in families; see `RuntimeModule.graph_of_weights`."""
    return ModelGraph.of_weights(native_graph(encoder, weights, ending), encoder)


def graph_of_scorer(encoder: EncoderConfig, weights: EncoderWeights, head: Ending) -> ModelGraph:
    """Make a cross-encoder of one of the built-in families; see `ScoringModule.graph_of_scorer`."""
    apart = weights.second_text is not None
    return ModelGraph.of_weights(native_graph(encoder, weights, head, second_text=apart), encoder, second_text=apart)


def graph_of_vocabulary(encoder: EncoderConfig, weights: EncoderWeights, ending: SparseEnding) -> ModelGraph:
    """Make a sparse model of one of the built-in families; see `SparseModule.graph_of_vocabulary`."""
    return ModelGraph.of_weights(native_graph(encoder, weights, ending), encoder)


def open_export(source: SourceModel, settings: ModelSettings, ending: Ending, *, allow_torchscript: bool) -> ModelGraph:
    """Refuse exports; see `RuntimeModule.open_export`."""
    able = runtime_of_weights(source.weights.kind).value
    raise UnsupportedModelError(
        f"{source.name} holds no model.safetensors but what others made of a model; runtime='native' runs weights as "
        f"published. Load it with runtime={able!r}, or the model that it was made from with this one."
    )


def read_graph(file: Path) -> NativeGraph:
    """Read a model that `save_graph` wrote; see `RuntimeModule.read_graph`."""
    return read_native(file)


def save_graph(graph: NativeGraph, file: Path) -> None:
    """Write a quantized model."""
    write_native(graph, file)


def compile_graph(
    graph: NativeGraph,
    *,
    precision: Precision,
    num_threads: int | None = None,
    dynamic: bool = False,
    instruction_set: str | None = None,
) -> NativeRuntime:
    """Give a graph to the engine, which has no bfloat16; see `RuntimeModule.compile_graph`."""
    require_precision(RuntimeName.NATIVE, precision)
    return NativeRuntime(graph, num_threads=num_threads, instruction_set=instruction_set)


def packed(graph: NativeGraph) -> dict[str, NDArray[Any]]:
    """Return the engine's arrays: weights in floating point laid out for it, and rotary positions tabulated."""
    arrays = dict(graph.arrays)
    for name, array in graph.arrays.items():
        if name.endswith(FREQUENCIES):
            arrays[name.removesuffix(FREQUENCIES)] = rotary_table(arrays.pop(name), graph.shape.positions)
        if name.endswith(".weight") and array.ndim == 2:  # norms have one dimension
            arrays[f"{name.removesuffix('.weight')}.panels"] = pack(arrays.pop(name))
    return arrays


def in_int8(graph: NativeGraph, arrays: dict[str, NDArray[Any]]) -> NativeGraph:
    """Return a graph with the arrays of int8 layers in place of floating-point ones."""
    return replace(graph, shape=replace(graph.shape, precision=INT8), arrays=arrays)
