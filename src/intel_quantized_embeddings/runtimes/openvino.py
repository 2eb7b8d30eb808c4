"""The OpenVINO runtime: a graph compiled for this CPU, driven by requests from any thread."""

from __future__ import annotations

import ctypes
import queue
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openvino as ov

from intel_quantized_embeddings.architectures import (
    EncoderConfig,
    EncoderWeights,
    Ending,
    SparseEnding,
    TokenWeights,
    exported_limits,
)
from intel_quantized_embeddings.errors import UnsupportedModelError
from intel_quantized_embeddings.files.whole import writing
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.weight_files import WeightKind
from intel_quantized_embeddings.options import Precision
from intel_quantized_embeddings.process.cores import within_quota
from intel_quantized_embeddings.process.forks import renew_in_child, while_not_forking
from intel_quantized_embeddings.runtimes.base import ModelGraph
from intel_quantized_embeddings.runtimes.bfloat16 import require_bfloat16
from intel_quantized_embeddings.runtimes.openvino_exported import read_exported, read_model
from intel_quantized_embeddings.runtimes.openvino_graph import (
    ATTENTION_MASK,
    INPUT_IDS,
    SENTENCE_EMBEDDING,
    build_embedder,
    build_scorer,
    build_sparse,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


ENCODER_FILE = "encoder.xml"

# Number of neighbouring activations that share one scale if activations are quantized at run time.
_DYNAMIC_GROUP = 32


class OpenVINORuntime:
    """An embedder graph compiled twice: all threads on one batch, and one thread on each of several.

    The second is compiled at the first bulk call. In a forked process, where a batch would wait for ever for threads of
    the parent, both are compiled again at their first use.
    """

    def __init__(
        self,
        graph: ov.Model,
        *,
        precision: Precision = Precision.FP32,
        num_threads: int | None = None,
        dynamic: bool = False,
    ) -> None:
        """Compile a graph with the inputs and output of `openvino_graph`.

        Args:
            graph: The embedder.
            precision: BF16 runs floating-point layers in bfloat16; the others keep them in float32, where OpenVINO by
                itself would take bfloat16 on a CPU that has it.
            num_threads: Threads for one call; None takes OpenVINO's number, one for each physical core of
                the affinity, or fewer under a tighter CPU quota.
            dynamic: Quantize activations batch by batch.

        Raises:
            OptionError: The CPU has no bfloat16.
        """
        if precision is Precision.BF16:
            require_bfloat16()
        self._precision = precision
        self._dynamic = dynamic
        self._graph = graph
        one_batch = self._compile({} if num_threads is None else {"INFERENCE_NUM_THREADS": num_threads})
        self._streams = one_batch.threads
        if num_threads is None and within_quota(self._streams) < self._streams:
            self._streams = within_quota(self._streams)
            one_batch = self._compile({"INFERENCE_NUM_THREADS": self._streams})
        self._one_batch: _Requests | None = one_batch
        self._side_by_side: _Requests | None = None
        self._compiling = threading.Lock()
        self._dimension = int(graph.output(SENTENCE_EMBEDDING).partial_shape[1].get_length())
        renew_in_child(self)

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._dimension

    @property
    def streams(self) -> int:
        """See `Runtime.streams`."""
        return self._streams

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Encode one batch; see `Runtime.run`."""
        requests = self._one_batch
        if requests is None:
            with self._compiling:
                if self._one_batch is None:
                    self._one_batch = self._compile({"INFERENCE_NUM_THREADS": self._streams})
                requests = self._one_batch
        return requests.run(input_ids, attention_mask)

    def run_in_stream(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Encode one batch beside others; see `Runtime.run_in_stream`."""
        requests = self._side_by_side
        if requests is None:
            with self._compiling:
                if self._side_by_side is None:
                    options = {"NUM_STREAMS": self._streams, "INFERENCE_NUM_THREADS": self._streams}
                    self._side_by_side = self._compile(options, queued=True)
                requests = self._side_by_side
        return requests.run(input_ids, attention_mask)

    def renew(self) -> None:
        """Abandon the compiled graphs in a forked process, without destroying them.

        Destroying them would make OpenVINO wait for threads of the parent: for ever, or until it aborts the process.
        """
        for requests in (self._one_batch, self._side_by_side):
            if requests is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(requests))
        self._one_batch = self._side_by_side = None
        self._compiling = threading.Lock()  # the thread that held it is not there to release it

    def _compile(self, options: dict[str, int], *, queued: bool = False) -> _Requests:
        common: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if self._precision is Precision.BF16 else "f32",
            # Pinned, the threads of every process start at the first core: two processes of one thread would share it.
            "ENABLE_CPU_PINNING": False,
            # By default OpenVINO does so wherever weights have few bits.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _DYNAMIC_GROUP if self._dynamic else 0,
        }
        with while_not_forking:
            compiled = ov.Core().compile_model(self._graph, "CPU", {**common, **options})
        return _Requests(compiled, queued=queued)


class _Requests:
    """The requests of a compiled model. A request serves one caller at a time; more are made when none is idle.

    A queued batch goes to the first free stream. Otherwise it runs at once on the caller's thread, which is faster for
    a query, and the thread decides which of several streams it gets.
    """

    def __init__(self, compiled: ov.CompiledModel, *, queued: bool) -> None:
        self._compiled = compiled
        self._queued = queued
        self._idle: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()

    @property
    def threads(self) -> int:
        """Number of threads that it uses in all."""
        return int(self._compiled.get_property("INFERENCE_NUM_THREADS"))

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            with while_not_forking:
                request = self._compiled.create_infer_request()
        inputs = {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask}
        try:
            with while_not_forking:
                if self._queued:
                    request.start_async(inputs, share_inputs=True)
                    request.wait()
                else:
                    request.infer(inputs, share_inputs=True)
            return np.array(request.get_tensor(SENTENCE_EMBEDDING).data, dtype=np.float32, copy=True)
        finally:
            self._idle.put(request)


def read_graph(file: Path) -> ov.Model:
    """Read an embedder that this package wrote; any other graph is an UnsupportedModelError."""
    graph = read_model(file)
    inputs = {name for port in graph.inputs for name in port.get_names()}
    shapes = [port.get_partial_shape() for port in graph.outputs if SENTENCE_EMBEDDING in port.get_names()]
    if not {INPUT_IDS, ATTENTION_MASK} <= inputs or not shapes or not _is_rows(shapes[0]):
        raise UnsupportedModelError(f"{file} is not a graph that this package wrote: quantize the model again.")
    return graph


def _is_rows(shape: ov.PartialShape) -> bool:
    """Return whether a shape is (batch, dimension)."""
    return bool(shape.rank.is_static and len(shape) == 2 and shape[1].is_static)


def _renumber_names(graph: ov.Model) -> None:
    """Rename the operations that OpenVINO named, by their order in the graph.

    OpenVINO's numbers count all operations that the process ever made, and NNCF makes names of them: the same model
    quantized again would otherwise be another file, with another fingerprint.
    """
    operations = graph.get_ordered_ops()
    kinds = "|".join(sorted({operation.get_type_name() for operation in operations}))
    numbered = re.compile(rf"\b({kinds})_\d+")
    new: dict[str, str] = {}
    for operation in operations:
        name = operation.get_friendly_name()
        for found in numbered.finditer(name):
            new.setdefault(found.group(), f"{found.group(1)}_{len(new)}")
        operation.set_friendly_name(numbered.sub(lambda found: new[found.group()], name))


def save_graph(graph: ov.Model, file: Path) -> None:
    """Write a quantized embedder; see `RuntimeModule.save_graph`."""
    _renumber_names(graph)
    # Compressing constants to fp16 would change the ranges, and with them the vectors just measured.
    with while_not_forking, writing(file, library="OpenVINO"):
        ov.save_model(graph, str(file), compress_to_fp16=False)


def compile_graph(
    graph: ov.Model,
    *,
    precision: Precision,
    num_threads: int | None = None,
    dynamic: bool = False,
    instruction_set: str | None = None,
) -> OpenVINORuntime:
    """Make a graph ready to run; see `RuntimeModule.compile_graph`. Instructions are OpenVINO's choice."""
    return OpenVINORuntime(graph, precision=precision, num_threads=num_threads, dynamic=dynamic)


def open_export(source: SourceModel, settings: ModelSettings, ending: Ending, *, allow_torchscript: bool) -> ModelGraph:
    """Make an embedder from an export; see `RuntimeModule.open_export`."""
    if source.weights.kind is WeightKind.TORCHSCRIPT:
        raise UnsupportedModelError(
            f"{source.name} holds a TorchScript model, as optimum-intel wrote for Intel Extension for PyTorch. Load it "
            f"with runtime='ipex', or load the fp32 model that it was made from, which is then quantized here."
        )
    model, stored = read_exported(source.weights.files[0], ending, folder=source.path)
    max_positions, pad_token_id = exported_limits(source.config, default_max_length=settings.max_length)
    return ModelGraph(
        graph=model,
        precision=stored.precision,
        dynamic=stored.dynamic,
        max_positions=max_positions,
        pad_token_id=pad_token_id,
    )


def graph_of_weights(encoder: EncoderConfig, weights: EncoderWeights, ending: Ending) -> ModelGraph:
    """Make an embedder from weights; see `RuntimeModule.graph_of_weights`."""
    return ModelGraph.of_weights(build_embedder(encoder, weights, ending), encoder)


def graph_of_scorer(encoder: EncoderConfig, weights: EncoderWeights, head: Ending) -> ModelGraph:
    """Make a cross-encoder from weights and its head; see `ScoringModule`."""
    apart = weights.second_text is not None
    return ModelGraph.of_weights(build_scorer(encoder, weights, head), encoder, second_text=apart)


def graph_of_vocabulary(encoder: EncoderConfig, weights: EncoderWeights, ending: SparseEnding) -> ModelGraph:
    """Make a sparse model from weights; see `SparseModule`. The masked-LM head stays in floating point."""
    if isinstance(ending, TokenWeights):
        raise UnsupportedModelError(
            "weights of a text's own tokens (sparse_linear) are not built in for runtime='openvino'. Use "
            "runtime='native'."
        )
    return ModelGraph.of_weights(build_sparse(encoder, weights, ending), encoder)
