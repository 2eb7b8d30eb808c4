"""One layer of an encoder as OpenVINO's operators, by the family's description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from openvino import opset15 as ops

from intel_quantized_embeddings.architectures import Activation, EncoderConfig, LayerWeights, Linear, Norm, Recall
from intel_quantized_embeddings.architectures.description import Heads, NormPlace, Part
from intel_quantized_embeddings.runtimes.openvino_nodes import Node, constant, integer, integers, number

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Around:
    """The surroundings of a layer.

    Attributes:
        embedded: The rows that go into the first layer.
        heads: The sizes of its heads.
        bias: Term added to the scores. Shape: (batch, 1 or heads, 1 or length, length).
        turn: Cosines and sines, (length, head_size) each, that rotate queries and keys; None without rotary positions.
    """

    embedded: Node
    heads: Heads
    bias: Node
    turn: tuple[Node, Node] | None


def build_layer(
    config: EncoderConfig, layer: LayerWeights, hidden: Node, around: Around, *, first_only: bool, name: str
) -> Node:
    """Build one layer; with `first_only` its output is (batch, 1, hidden)."""
    post, sandwich = (config.block.norms is place for place in (NormPlace.POST, NormPlace.SANDWICH))
    inputs = build_norm(config, hidden, layer.qkv_norm)
    rows, asking, embedded, bias = hidden, inputs, around.embedded, around.bias
    if first_only:
        rows, asking, embedded = (
            ops.slice(whole, integers(0), integers(1), integers(1), integers(1)) for whole in (hidden, inputs, embedded)
        )
        if around.bias.get_output_partial_shape(0)[2] != 1:
            bias = ops.slice(bias, integers(0), integers(1), integers(1), integers(2))
    attended = ops.scaled_dot_product_attention(
        _query(config, layer, asking, around, first_only=first_only, name=name),
        _key(config, layer, inputs, around, name=name),
        _value(config, layer, inputs, around.heads, name=name),
        bias,
        number(config.attention_scale),
    )
    attended.set_friendly_name(name + "attention")
    width = config.num_heads * around.heads.size
    together = ops.reshape(ops.transpose(attended, integers(0, 2, 1, 3)), integers(0, 0, width), True)
    attention = build_linear(together, layer.attention_output, name + "attention_output")
    rows = ops.add(build_norm(config, attention, layer.attention_norm) if sandwich else attention, rows)
    rows = build_norm(config, rows, layer.attention_norm) if post else rows
    outer = _feed_forward(config, layer, build_norm(config, rows, layer.intermediate_norm), name=name)
    rows = ops.add(build_norm(config, outer, layer.output_norm) if sandwich else outer, rows)
    rows = build_norm(config, rows, layer.output_norm) if post else rows
    return rows if layer.recall is None else _recall(config, layer.recall, rows, embedded, name=name)


def _recall(config: EncoderConfig, recall: Recall, rows: Node, embedded: Node, *, name: str) -> Node:
    inputs = build_norm(config, build_linear(embedded, recall.inputs, name + "recall_inputs"), recall.input_norm)
    gate = _activation(config, build_linear(rows, recall.gate, name + "recall_gate"))
    added = build_linear(ops.multiply(gate, inputs), recall.output, name + "recall_output")
    return ops.multiply(ops.add(build_norm(config, added, recall.norm), rows), number(recall.factor))


def _query(
    config: EncoderConfig, layer: LayerWeights, inputs: Node, around: Around, *, first_only: bool, name: str
) -> Node:
    query = _heads(build_linear(inputs, layer.query, name + "query"), config.num_heads, around.heads.size)
    query = _norm_of_heads(config, query, layer.query_norm)
    # The first token's angles are 0.
    return query if around.turn is None or first_only else _turned(query, around.heads.size, *around.turn)


def _key(config: EncoderConfig, layer: LayerWeights, inputs: Node, around: Around, *, name: str) -> Node:
    key = _heads(build_linear(inputs, layer.key, name + "key"), around.heads.keys, around.heads.size)
    key = _norm_of_heads(config, key, layer.key_norm)
    turned = key if around.turn is None else _turned(key, around.heads.size, *around.turn)
    return _each_query(config, turned, around.heads)


def _value(config: EncoderConfig, layer: LayerWeights, inputs: Node, heads: Heads, *, name: str) -> Node:
    value = _heads(build_linear(inputs, layer.value, name + "value"), heads.keys, heads.size)
    return _each_query(config, _norm_of_heads(config, value, layer.value_norm), heads)


def _turned(heads: Node, size: int, cosines: Node, sines: Node) -> Node:
    """Rotate each number of a head's first half with the corresponding number of its second half."""
    half = size // 2
    first = ops.slice(heads, integers(0), integers(half), integers(1), integers(3))
    second = ops.slice(heads, integers(half), integers(2 * half), integers(1), integers(3))
    across = ops.concat([ops.negative(second), first], 3)
    return ops.add(ops.multiply(heads, cosines), ops.multiply(across, sines))


def _feed_forward(config: EncoderConfig, layer: LayerWeights, inputs: Node, *, name: str) -> Node:
    inner = build_linear(inputs, layer.intermediate, name + "intermediate")
    if layer.gate is None:
        inner = _activation(config, inner)
    else:
        inner = ops.multiply(_activation(config, build_linear(inputs, layer.gate, name + "gate")), inner)
    return build_linear(inner, layer.output, name + "output")


def _heads(projected: Node, heads: int, size: int) -> Node:
    """Reshape (batch, length, heads * size) into (batch, heads, length, size)."""
    split = ops.reshape(projected, integers(0, 0, heads, size), True)
    return ops.transpose(split, integers(0, 2, 1, 3))


def _each_query(config: EncoderConfig, rows: Node, heads: Heads) -> Node:
    """Repeat heads of keys or values for the heads of queries that share each."""
    each = config.num_heads // heads.keys
    return rows if each == 1 else ops.gather(rows, integers(*(i // each for i in range(config.num_heads))), integer(1))


def build_linear(inputs: Node, linear: Linear, name: str) -> Node:
    """Multiply rows with weights, and add the bias if there is one."""
    product = ops.matmul(inputs, constant(linear.weight), False, True)
    product.set_friendly_name(name)
    return ops.add(product, constant(linear.bias.reshape(1, 1, -1))) if linear.bias.any() else product


def build_norm(config: EncoderConfig, inputs: Node, norm: Norm | None) -> Node:
    """Normalize each row; without a norm, return the rows."""
    if norm is None:
        return inputs
    scaled = ops.multiply(_unit_rows(config, inputs), constant(norm.weight.reshape(1, 1, -1)))
    return ops.add(scaled, constant(norm.bias.reshape(1, 1, -1))) if Part.NORM in config.block.biases else scaled


def _norm_of_heads(config: EncoderConfig, heads: Node, weight: NDArray[np.float32] | None) -> Node:
    return heads if weight is None else ops.multiply(_unit_rows(config, heads), constant(weight.reshape(1, 1, 1, -1)))


def _unit_rows(config: EncoderConfig, inputs: Node) -> Node:
    """Subtract each row's mean, unless norms are RMS norms, and divide it by the root of its mean square."""
    if not config.block.rms_norm:
        return ops.mvn(inputs, integers(-1), True, config.layer_norm_eps, "inside_sqrt")
    mean_square = ops.reduce_mean(ops.multiply(inputs, inputs), integers(-1), True)
    return ops.divide(inputs, ops.sqrt(ops.add(mean_square, number(config.layer_norm_eps))))


def _activation(config: EncoderConfig, inputs: Node) -> Node:
    if config.block.activation is Activation.RELU:
        return ops.relu(inputs)
    if config.block.activation is Activation.SILU:
        return ops.swish(inputs)
    return ops.gelu(inputs, "tanh" if config.block.activation is Activation.GELU_TANH else "erf")
