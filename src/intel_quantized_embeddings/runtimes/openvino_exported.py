"""Open encoders that others exported: OpenVINO IR of optimum-intel or sentence-transformers, and ONNX.

Such a graph ends in the last hidden state; pooling and normalization are added behind it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from intel_quantized_embeddings.errors import DamagedFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.model_settings import ModelSettings
from intel_quantized_embeddings.runtimes.base import Precision
from intel_quantized_embeddings.runtimes.openvino_graph import ATTENTION_MASK, INPUT_IDS, add_pooling

_TOKEN_TYPES = "token_type_ids"

# The plain file of each exporter comes first; a quantized one beside it is taken only when it is alone.
_PATTERNS = (
    "openvino/openvino_model.xml",
    "openvino_model.xml",
    "openvino/openvino_model_*.xml",
    "openvino_model_*.xml",
    "onnx/model.onnx",
    "model.onnx",
)


def read_exported(folder: Path, settings: ModelSettings) -> tuple[ov.Model, Precision] | None:
    """Open the folder's exported encoder and put pooling behind it.

    Returns:
        The embedder and the precision of its weights; None when the folder has no export.

    Raises:
        OptionError: There are several variants and no plain one.
        UnsupportedModelError: The graph's inputs or output are not those of a text encoder.
        DamagedFilesError: OpenVINO can't read the file.
    """
    file = _find(folder)
    if file is None:
        return None
    try:
        exported = ov.Core().read_model(str(file))
    except RuntimeError as exc:
        raise DamagedFilesError(f"OpenVINO can't read {file}: {exc}") from exc
    precision = _weight_precision(exported)
    return _with_pooling(exported, settings, file), precision


def exported_files(folder: Path) -> list[Path]:
    """The files of the export that `read_exported` would open, weights included; empty when there is none."""
    file = _find(folder)
    if file is None:
        return []
    beside = (file.with_suffix(".bin"), file.with_name(file.name + "_data"))
    return [file, *(other for other in beside if other.is_file())]


def _find(folder: Path) -> Path | None:
    for pattern in _PATTERNS:
        files = sorted(folder.glob(pattern))
        if len(files) > 1:
            raise OptionError(
                f"{folder} has several exported variants ({', '.join(f.name for f in files)}) and no plain "
                f"openvino_model.xml to prefer. Keep the one you want in a folder of its own."
            )
        if files:
            return files[0]
    return None


def _weight_precision(graph: ov.Model) -> Precision:
    """INT8 where layers are quantized or weights are stored in 8 bits, else FP32."""
    small = (ov.Type.i8, ov.Type.u8)
    for node in graph.get_ops():
        kind = node.get_type_name()
        if kind == "FakeQuantize":
            return Precision.INT8
        if kind == "Constant" and node.get_element_type() in small and len(node.get_output_shape(0)) > 1:
            return Precision.INT8
    return Precision.FP32


def _with_pooling(graph: ov.Model, settings: ModelSettings, file: Path) -> ov.Model:
    inputs: dict[str, Any] = {}
    for port in graph.inputs:
        names = port.get_names() & {INPUT_IDS, ATTENTION_MASK, _TOKEN_TYPES}
        if len(names) != 1:
            raise UnsupportedModelError(
                f"{file} has the input {sorted(port.get_names())}; an encoder takes {INPUT_IDS}, {ATTENTION_MASK} "
                f"and maybe {_TOKEN_TYPES}."
            )
        inputs[names.pop()] = port.get_node()
    if INPUT_IDS not in inputs or ATTENTION_MASK not in inputs:
        raise UnsupportedModelError(
            f"{file} has the inputs {sorted(inputs)}; it lacks {INPUT_IDS} or {ATTENTION_MASK}."
        )
    graph.reshape({node.output(0): ov.PartialShape([-1, -1]) for node in inputs.values()})
    hidden = graph.output(0).get_node().input_value(0)
    if hidden.get_partial_shape().rank.get_length() != 3:
        raise UnsupportedModelError(
            f"the first output of {file} has shape {hidden.get_partial_shape()}; the last hidden state, "
            f"(batch, length, hidden), is expected there."
        )
    for node in inputs.values():
        node.set_element_type(ov.Type.i64)
    if _TOKEN_TYPES in inputs:
        # A text alone is all of token type 0.
        shape = ops.shape_of(inputs[INPUT_IDS])
        zeros = ops.broadcast(ops.constant(0, dtype=np.int64), shape)
        inputs[_TOKEN_TYPES].output(0).replace(zeros.output(0))
    graph.validate_nodes_and_infer_types()
    return add_pooling(
        hidden.get_node(),
        inputs[INPUT_IDS],
        inputs[ATTENTION_MASK],
        pooling=settings.pooling,
        normalize=settings.normalize,
    )
