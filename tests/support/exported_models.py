"""What other tools write for OpenVINO: an encoder that ends in its last hidden state."""

from __future__ import annotations

import json
from pathlib import Path

import openvino as ov
from openvino import opset15 as ops

from intel_quantized_embeddings.architectures import EncoderConfig, load_weights
from intel_quantized_embeddings.runtimes import openvino_graph as graph


def write_openvino_export(source: Path, file: Path) -> Path:
    """Write the encoder of a model folder as optimum-intel does: three inputs, no pooling."""
    config = EncoderConfig.from_hf(json.loads((source / "config.json").read_text()), where=str(source))
    weights = load_weights(source, config)
    input_ids, attention_mask, token_types = (
        graph._input(name) for name in (graph.INPUT_IDS, graph.ATTENTION_MASK, "token_type_ids")
    )
    hidden = graph._embeddings(config, weights, input_ids)
    mask = graph._attention_bias(config, weights, input_ids, attention_mask)
    for index, layer in enumerate(weights.layers):
        hidden = graph._layer(config, layer, hidden, mask, first_only=False, name=f"layer.{index}/")
    # The embedding of token type 0 is in the position table already, so the third input adds nothing.
    nothing = ops.multiply(ops.convert(token_types, "f32"), ops.constant(0.0, ov.Type.f32))
    result = ops.result(ops.add(hidden, ops.unsqueeze(nothing, ops.constant(2, ov.Type.i64))), name="last_hidden_state")
    result.output(0).tensor.set_names({"last_hidden_state"})
    file.parent.mkdir(parents=True, exist_ok=True)
    ov.save_model(ov.Model([result], [input_ids, attention_mask, token_types]), str(file), compress_to_fp16=False)
    return file
