"""Open exported encoders: OpenVINO IR of optimum-intel or sentence-transformers, and ONNX.

Such a graph ends in the last hidden state, to which pooling and the steps behind it are added; or it pools itself, and
its rows are taken as they are.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from intel_quantized_embeddings.architectures import Ending, UnitLength
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.models.onnx_data import readable
from intel_quantized_embeddings.process.forks import while_not_forking
from intel_quantized_embeddings.runtimes.openvino_graph import (
    ATTENTION_MASK,
    INPUT_IDS,
    add_ending,
    add_unit_length,
    model_input,
)
from intel_quantized_embeddings.runtimes.openvino_precision import StoredPrecision, stored_precision

logger = logging.getLogger(__name__)

_TOKEN_TYPES, _POSITIONS = "token_type_ids", "position_ids"


def read_exported(file: Path, ending: Ending, *, folder: Path) -> tuple[ov.Model, StoredPrecision]:
    """Open an exported encoder, .xml or .onnx, and put pooling behind it, unless it pools itself.

    `folder` is the model's, with all files that an .onnx file names. Returns the embedder and its precision. An encoder
    without the inputs and output of a text encoder, or with only one batch size or length, is an UnsupportedModelError.
    """
    core = ov.Core()
    exported = read_model(file, folder=folder)
    stored = stored_precision(exported, name=str(file))
    if stored.few_bits is not None:
        logger.warning(
            "%s keeps weights as %s: it computes as int8, and has kept less of its model than int8 would. Compare them "
            "with `iqe evaluate`",
            file,
            stored.few_bits,
        )
    try:
        embedder = _with_ending(exported, ending, file)
        with while_not_forking:
            compiled = core.compile_model(embedder, "CPU")
            for shape in ((1, 3), (2, 7)):
                compiled({INPUT_IDS: np.ones(shape, np.int64), ATTENTION_MASK: np.ones(shape, np.int64)})
    except RuntimeError as exc:
        raise UnsupportedModelError(
            f"{file} does not run as a text encoder of any batch size and length; export it with dynamic shapes. "
            f"OpenVINO says: {str(exc).splitlines()[-1]}"
        ) from exc
    return embedder, stored


def read_model(file: Path, *, folder: Path | None = None) -> ov.Model:
    """Read a graph, .xml or .onnx; tensors of the latter may be anywhere in the model's folder."""
    is_onnx = file.suffix == ".onnx"
    try:
        with (
            while_not_forking,
            readable(file, folder=folder or file.parent) if is_onnx else nullcontext(str(file)) as given,
        ):
            graph = ov.Core().read_model(given)
        for port in (*graph.inputs, *graph.outputs):
            port.get_names()  # names that are not text fail here, not where they are first read
        return graph
    except (RuntimeError, UnicodeDecodeError) as exc:  # the latter also if its message quotes the file's bytes
        raise DamagedFilesError(f"OpenVINO can't read {file}: {exc}") from exc


def _with_ending(graph: ov.Model, ending: Ending, file: Path) -> ov.Model:
    graph.reshape({port: ov.PartialShape([-1, -1]) for port in graph.inputs})
    made = _output(graph, ending, file)
    pooled = made.get_partial_shape().rank.get_length() == 2
    numbers = made.get_partial_shape()[1 if pooled else 2]
    if numbers.is_static and not pooled:
        ending.widths(numbers.get_length(), where=str(file))
    foreign = _inputs(graph, file)
    own = {name: model_input(name) for name in (INPUT_IDS, ATTENTION_MASK)}
    # A single text is all of token type 0. Padding comes behind it, and positions count from 0.
    shape = ops.shape_of(own[INPUT_IDS])
    length = ops.gather(shape, ops.constant(1, dtype=np.int64), ops.constant(0, dtype=np.int64))
    places = ops.range(ops.constant(0, dtype=np.int64), length, ops.constant(1, dtype=np.int64), "i64")
    fed = {
        **own,
        _TOKEN_TYPES: ops.broadcast(ops.constant(0, dtype=np.int64), shape),
        _POSITIONS: ops.broadcast(places, shape),
    }
    for name, node in foreign.items():
        node.output(0).replace(ops.convert(fed[name], node.get_element_type().get_type_name()).output(0))
    row = ops.convert(made, "f32")
    return (add_unit_length if pooled else add_ending)(row, own[INPUT_IDS], own[ATTENTION_MASK], ending)


def _output(graph: ov.Model, ending: Ending, file: Path) -> Any:
    """Return the first last hidden state, else the first pooled output: a row of fixed width for each text.

    Exporters of whole sentence encoders write both, in either order, or only the pooled one.
    """
    outputs = [port.get_node().input_value(0) for port in graph.outputs]
    shapes = [output.get_partial_shape() for output in outputs]
    for output, shape in zip(outputs, shapes, strict=True):
        if shape.rank.is_static and shape.rank.get_length() == 3:
            return output
    for output, shape in zip(outputs, shapes, strict=True):
        if shape.rank.is_static and shape.rank.get_length() == 2 and shape[1].is_static:
            if any(not isinstance(step, UnitLength) for step in ending.steps):
                raise UnsupportedModelError(
                    f"{file} gives rows that are pooled already, and the model has other modules behind pooling: "
                    f"nothing says whether the rows went through them. Load an export that gives the last hidden "
                    f"state, or the model's own model.safetensors."
                )
            return output
    raise UnsupportedModelError(
        f"the outputs of {file} have the shapes {', '.join(map(str, shapes))}; the last hidden state, (batch, length, "
        f"hidden), or a pooled row of fixed width a text is expected among them."
    )


def _inputs(graph: ov.Model, file: Path) -> dict[str, Any]:
    """Return the graph's inputs by name."""
    inputs: dict[str, Any] = {}
    for port in graph.inputs:
        names = port.get_names() & {INPUT_IDS, ATTENTION_MASK, _TOKEN_TYPES, _POSITIONS}
        if len(names) != 1:
            raise UnsupportedModelError(
                f"{file} has the input {sorted(port.get_names())}; an encoder takes {INPUT_IDS}, {ATTENTION_MASK} "
                f"and maybe {_TOKEN_TYPES} and {_POSITIONS}."
            )
        inputs[names.pop()] = port.get_node()
    if INPUT_IDS not in inputs or ATTENTION_MASK not in inputs:
        raise UnsupportedModelError(
            f"{file} has the inputs {sorted(inputs)}; it lacks {INPUT_IDS} or {ATTENTION_MASK}."
        )
    return inputs
