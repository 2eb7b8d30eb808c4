"""What other tools write for OpenVINO: an encoder that ends in its last hidden state."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from intel_quantized_embeddings.architectures import EncoderConfig, load_weights
from intel_quantized_embeddings.runtimes import openvino_graph as graph


def write_openvino_export(
    source: Path,
    file: Path,
    *,
    inputs: type = np.int64,
    outputs: type = np.float32,
    shape: tuple[int, int] = (-1, -1),
    positions: bool = False,
    pooled: str = "no",
) -> Path:
    """Write the encoder of a model folder as optimum-intel does: three inputs, no pooling.

    Other exporters use int32 inputs, half-precision outputs, or one fixed shape; ask for positions; or pool: "only" for
    a pooled row alone, "first" for one in front of the hidden state.
    """
    config = EncoderConfig.from_hf(json.loads((source / "config.json").read_text()), where=str(source))
    weights = load_weights(source, config)
    names = (graph.INPUT_IDS, graph.ATTENTION_MASK, "token_type_ids", *(["position_ids"] if positions else []))
    parameters = [ops.parameter(list(shape), inputs, name=name) for name in names]
    for name, parameter in zip(names, parameters, strict=True):
        parameter.output(0).tensor.set_names({name})
    # Arithmetic in the inputs' own type, as exporters do.
    one = ops.constant(1, dtype=inputs)
    same = [ops.subtract(ops.add(parameter, one), one) for parameter in parameters]
    input_ids, attention_mask, token_types, *places = (ops.convert(node, "i64") for node in same)
    if shape != (-1, -1):
        input_ids = ops.reshape(input_ids, ops.constant(np.array(shape)), False)
    hidden = graph.last_hidden_state(config, weights, input_ids, attention_mask)
    # The embedding of token type 0 is in the position table already, so the third input adds nothing.
    nothing = ops.multiply(ops.convert(token_types, "f32"), ops.constant(0.0, ov.Type.f32))
    for given in places:  # anything but 0, 1, 2 and so on is added
        counted = ops.cumsum(ops.convert(ops.greater_equal(given, ops.constant(0)), "i64"), ops.constant(1))
        wrong = ops.subtract(ops.subtract(counted, ops.constant(1)), given)
        nothing = ops.add(nothing, ops.convert(wrong, "f32"))
    hidden = ops.add(hidden, ops.unsqueeze(nothing, ops.constant(2, ov.Type.i64)))
    # A node with two outputs, the hidden state being the second.
    halves = ops.split(ops.concat([hidden, hidden], 2), ops.constant(2, ov.Type.i64), 2)
    last = ops.convert(halves.output(1), ov.Type(outputs).get_type_name())
    result = ops.result(last if outputs is not np.float32 else halves.output(1), name="last_hidden_state")
    result.output(0).tensor.set_names({"last_hidden_state"})
    results = [result]
    if pooled != "no":
        mask = ops.unsqueeze(ops.convert(attention_mask, "f32"), ops.constant(2, ov.Type.i64))
        total = ops.reduce_sum(ops.multiply(hidden, mask), ops.constant(1, ov.Type.i64))
        row = ops.divide(total, ops.reduce_sum(mask, ops.constant(1, ov.Type.i64)))
        results = [ops.result(row, name="sentence_embedding"), *(results if pooled == "first" else [])]
    file.parent.mkdir(parents=True, exist_ok=True)
    ov.save_model(ov.Model(results, parameters), str(file), compress_to_fp16=False)
    return file
