"""The OpenVINO runtime: a graph compiled for this CPU, driven by requests from any thread."""

from __future__ import annotations

import queue
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from intel_quantized_embeddings.architectures import EncoderConfig, load_weights
from intel_quantized_embeddings.errors import DamagedFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.model_settings import ModelSettings, read_json
from intel_quantized_embeddings.runtimes.base import Precision
from intel_quantized_embeddings.runtimes.openvino_exported import read_exported
from intel_quantized_embeddings.runtimes.openvino_graph import (
    ATTENTION_MASK,
    INPUT_IDS,
    SENTENCE_EMBEDDING,
    build_embedder,
)
from intel_quantized_embeddings.weight_files import find_weight_files

if TYPE_CHECKING:
    from numpy.typing import NDArray


class OpenVINORuntime:
    """A compiled embedder graph."""

    def __init__(
        self, graph: ov.Model, *, precision: Precision = Precision.FP32, num_threads: int | None = None
    ) -> None:
        """Compile a graph with the inputs and output of `openvino_graph`.

        Args:
            graph: The embedder.
            precision: BF16 runs floating-point layers in bfloat16; the others keep them in float32,
                which OpenVINO would not do by itself on a CPU that has bfloat16.
            num_threads: Threads for one batch; None leaves it to OpenVINO.

        Raises:
            OptionError: The CPU has no bfloat16.
        """
        core = ov.Core()
        in_bf16 = precision is Precision.BF16
        if in_bf16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise OptionError(
                "precision='bf16' needs a CPU with bfloat16 instructions (AVX512_BF16 or AMX), which this one "
                "does not have; use 'int8' or 'fp32'."
            )
        options: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if in_bf16 else "f32",
        }
        if num_threads is not None:
            options["INFERENCE_NUM_THREADS"] = num_threads
        self._compiled = core.compile_model(graph, "CPU", options)
        self._dimension = int(graph.output(SENTENCE_EMBEDDING).partial_shape[1].get_length())
        # A request serves one caller at a time: idle ones wait here, and a new one is made when none is.
        self._idle: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._dimension

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Encode one batch; see `Runtime.run`."""
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        try:
            request.infer({INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask}, share_inputs=True)
            return np.array(request.get_tensor(SENTENCE_EMBEDDING).data, dtype=np.float32, copy=True)
        finally:
            self._idle.put(request)


def read_graph(file: Path) -> ov.Model:
    """Read an embedder that this package wrote.

    Raises:
        DamagedFilesError: The file can't be read.
    """
    try:
        return ov.Core().read_model(str(file))
    except RuntimeError as exc:
        raise DamagedFilesError(f"OpenVINO can't read {file}: {exc}") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderGraph:
    """An embedder made from a model folder.

    Attributes:
        model: The graph, with the inputs and output of `openvino_graph`.
        precision: FP32, or INT8 for an export whose weights were quantized.
        max_positions: The longest input in tokens it can take.
        pad_token_id: What padding must hold.
    """

    model: ov.Model
    precision: Precision
    max_positions: int
    pad_token_id: int


def build_graph(folder: Path, settings: ModelSettings, *, name: str) -> EmbedderGraph:
    """Make an embedder from a model folder: from safetensors, else from what others exported.

    Args:
        folder: A model folder that is not one of this package's quantized ones.
        settings: Its pooling and normalization go into the graph.
        name: What to call the model in an error.

    Raises:
        UnsupportedModelError: The architecture is not built in and nobody exported it.
        ModelFilesError: There are no weights.
        DamagedFilesError: A file is not what it should be.
    """
    config = read_json(folder / "config.json")
    weights = find_weight_files(folder, config)
    if weights.exported:
        model, precision = read_exported(weights.files[0], settings)
        max_positions, pad_token_id = _limits(config, settings)
        return EmbedderGraph(model=model, precision=precision, max_positions=max_positions, pad_token_id=pad_token_id)
    if config.get("torchscript") is True and not weights.files:
        raise UnsupportedModelError(
            f"{name} holds a TorchScript model, as optimum-intel wrote for Intel Extension for PyTorch. This runtime "
            f"can't open it: load the fp32 model that it was made from, which is then quantized here."
        )
    encoder = EncoderConfig.from_hf(config, where=name)
    return EmbedderGraph(
        model=build_embedder(
            encoder,
            load_weights(folder, encoder),
            pooling=settings.pooling,
            normalize=settings.normalize,
        ),
        precision=Precision.FP32,
        max_positions=encoder.max_length,
        pad_token_id=encoder.pad_token_id,
    )


def _limits(config: dict[str, Any], settings: ModelSettings) -> tuple[int, int]:
    """The longest input and the padding id of an exported encoder, which may be of any architecture."""
    try:
        known = EncoderConfig.from_hf(config, where="the export")
    except (UnsupportedModelError, DamagedFilesError):
        pad = config.get("pad_token_id")
        return int(config.get("max_position_embeddings") or settings.max_length), pad if isinstance(pad, int) else 0
    return known.max_length, known.pad_token_id
