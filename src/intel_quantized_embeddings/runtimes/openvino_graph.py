"""Build the encoder as an OpenVINO graph: token ids in, one pooled vector a text out.

The graph has two inputs, `input_ids` and `attention_mask`, each (batch, length) int64, and one
output, `sentence_embedding`, (batch, hidden) float32. Pooling and normalization are inside, so only
(batch, hidden) numbers leave the runtime, and with CLS pooling the last layer computes nothing but
the first token's row.

A cross-encoder's graph has the same inputs and the same output, which holds one score a pair, (batch, 1). The ids
of a pair's second text are raised by the size of the vocabulary where the model tells the two texts apart: one
sequence of numbers then holds all there is to know of a pair, as it does of a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from intel_quantized_embeddings.architectures import (
    Activation,
    EncoderConfig,
    EncoderWeights,
    LayerWeights,
    Linear,
    Norm,
    ScoringHead,
)
from intel_quantized_embeddings.architectures.description import LayerKind, NormPlace, Part, Rotary
from intel_quantized_embeddings.architectures.relative_bias import relative_bias_by_offset
from intel_quantized_embeddings.architectures.rotary import inverse_frequencies, rotary_tables
from intel_quantized_embeddings.options import Pooling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Node = Any  # openvino.Node has no usable stubs for operator overloading

# Added to the attention scores of padding. Large enough that exp() of it is exactly 0 in float32,
# small enough to stay finite in bfloat16.
_MASKED = -1e9

# Everything after the last layer carries this prefix, so that quantization can leave it alone.
POOLING_PREFIX = "pooling/"

INPUT_IDS = "input_ids"
ATTENTION_MASK = "attention_mask"
SENTENCE_EMBEDDING = "sentence_embedding"


def build_embedder(config: EncoderConfig, weights: EncoderWeights, *, pooling: Pooling, normalize: bool) -> ov.Model:
    """Build the whole graph of one of the built-in families.

    Args:
        config: The encoder's sizes.
        weights: Its weights, float32.
        pooling: How token vectors become one vector.
        normalize: Whether that vector is scaled to length 1.

    Returns:
        A model with dynamic batch and length.
    """
    hidden, input_ids, attention_mask = _encoder(config, weights, first_only=pooling is Pooling.CLS)
    pooled = _pool(hidden, attention_mask, pooling=pooling, normalize=normalize)
    return _model(pooled, input_ids, attention_mask)


def build_scorer(config: EncoderConfig, weights: EncoderWeights, head: ScoringHead) -> ov.Model:
    """Build the whole graph of a cross-encoder of one of the built-in families.

    Args:
        config: The encoder's sizes.
        weights: Its weights, float32.
        head: What scores the first token's vector, and stays in floating point.

    Returns:
        A model with dynamic batch and length, whose output is the score before any activation.
    """
    hidden, input_ids, attention_mask = _encoder(config, weights, first_only=True, of_pairs=True)
    dense = _linear(hidden, head.dense, "dense")
    score = _linear(ops.tanh(dense) if head.with_tanh else ops.relu(dense), head.output, "output")
    score = ops.squeeze(score, _axes(1))
    _mark_as_pooling(score, stop_at={hidden.get_name()})
    return _model(score, input_ids, attention_mask)


def add_pooling(hidden: Node, input_ids: Node, attention_mask: Node, *, pooling: Pooling, normalize: bool) -> ov.Model:
    """Put pooling behind the last hidden state, (batch, length, hidden), of a foreign graph."""
    pooled = _pool(hidden, attention_mask, pooling=pooling, normalize=normalize)
    return _model(pooled, input_ids, attention_mask)


def model_input(name: str) -> Node:
    """An input of every embedder: (batch, length), int64."""
    parameter = ops.parameter([-1, -1], np.int64, name=name)
    parameter.output(0).tensor.set_names({name})
    return parameter


def _model(pooled: Node, input_ids: Node, attention_mask: Node) -> ov.Model:
    result = ops.result(pooled, name=SENTENCE_EMBEDDING)
    result.output(0).tensor.set_names({SENTENCE_EMBEDDING})
    return ov.Model([result], [input_ids, attention_mask], "embedder")


def _encoder(
    config: EncoderConfig, weights: EncoderWeights, *, first_only: bool, of_pairs: bool = False
) -> tuple[Node, Node, Node]:
    """The last hidden state, (batch, length, hidden) or with `first_only` (batch, 1, hidden), and both inputs."""
    input_ids, attention_mask = model_input(INPUT_IDS), model_input(ATTENTION_MASK)
    hidden = _embeddings(config, weights, input_ids, of_pairs=of_pairs)
    around = _Surroundings(config, weights, input_ids, attention_mask)
    for index, layer in enumerate(weights.layers):
        is_last = index == config.num_layers - 1
        hidden = _layer(
            config, layer, hidden, around.of(index), first_only=is_last and first_only, name=f"layer.{index}/"
        )
    return _norm(config, hidden, weights.final_norm), input_ids, attention_mask


# --- before the layers -------------------------------------------------------------------------


def _embeddings(config: EncoderConfig, weights: EncoderWeights, input_ids: Node, *, of_pairs: bool = False) -> Node:
    second_text = None
    if of_pairs and weights.second_text is not None:
        is_second = ops.greater_equal(input_ids, _integer(config.vocab_size))
        second_text = ops.multiply(
            ops.unsqueeze(ops.convert(is_second, destination_type="f32"), _axes(2)), _constant(weights.second_text)
        )
        input_ids = ops.floor_mod(input_ids, _integer(config.vocab_size))
    words = ops.gather(_constant(weights.word_embeddings), input_ids, _axis(0))
    words.set_friendly_name("embeddings/word")
    if config.rotaries:
        return _norm(config, ops.add(words, _constant(weights.position_embeddings)), weights.embedding_norm)
    if config.block.positions_after_padding:
        # transformers' create_position_ids_from_input_ids: padding gets the padding position,
        # the others count on from it.
        is_token = ops.convert(ops.not_equal(input_ids, _integer(config.pad_token_id)), destination_type="i64")
        counted = ops.multiply(ops.cumsum(is_token, _axis(1)), is_token)
        position_ids = ops.add(counted, _integer(config.pad_token_id))
    else:
        length = ops.gather(ops.shape_of(input_ids), _integer(1), _axis(0))
        position_ids = ops.unsqueeze(ops.range(_integer(0), length, _integer(1), "i64"), _axis(0))
    positions = ops.gather(_constant(weights.position_embeddings), position_ids, _axis(0))
    positions.set_friendly_name("embeddings/position")
    together = ops.add(words, positions)
    if second_text is not None:
        together = ops.add(together, second_text)
    return _norm(config, together, weights.embedding_norm)


@dataclass(frozen=True)
class _Around:
    """What a layer's attention sees of positions.

    Attributes:
        bias: Added to the scores. Shape: (batch, 1 or heads, 1 or length, length).
        turn: Cosines and sines, (length, head_size) each, that queries and keys are turned by; None without.
    """

    bias: Node
    turn: tuple[Node, Node] | None


class _Surroundings:
    """What attention sees of positions, made once for all layers of a kind."""

    def __init__(self, config: EncoderConfig, weights: EncoderWeights, input_ids: Node, attention_mask: Node) -> None:
        self._config = config
        self._length = ops.gather(ops.shape_of(input_ids), _integer(1), _axis(0))
        self._bias = _attention_bias(config, weights, input_ids, attention_mask)
        self._made: dict[LayerKind, _Around] = {}

    def of(self, index: int) -> _Around:
        """Return a layer's."""
        kind = self._config.layers[index]
        if kind not in self._made:
            turn = None if kind.rotary is None else self._turn(kind.rotary)
            self._made[kind] = _Around(self._seen(kind), turn)
        return self._made[kind]

    def _seen(self, kind: LayerKind) -> Node:
        """Return the bias with what is out of a query's reach masked as padding is."""
        out = None
        offsets = _offsets(self._length)
        for reach, distance in ((kind.before, ops.negative(offsets)), (kind.after, offsets)):
            if reach is not None:
                beyond = ops.greater(distance, _integer(reach))
                out = beyond if out is None else ops.logical_or(out, beyond)
        if out is None:
            return self._bias
        unseen = ops.multiply(ops.convert(out, destination_type="f32"), _number(_MASKED))
        return ops.add(self._bias, ops.unsqueeze(unseen, _axes(0, 1)))

    def _turn(self, rotary: Rotary) -> tuple[Node, Node]:
        config = self._config
        tables = rotary_tables(inverse_frequencies(rotary, config.head_size), config.max_length)
        cosines, sines = (
            ops.slice(_constant(np.tile(table, 2)), _axes(0), ops.unsqueeze(self._length, _axes(0)), _axes(1), _axes(0))
            for table in tables
        )
        return cosines, sines


def _offsets(length: Node) -> Node:
    """Return key - query. Shape: (length, length)."""
    places = ops.range(_integer(0), length, _integer(1), "i64")
    return ops.subtract(ops.unsqueeze(places, _axis(0)), ops.unsqueeze(places, _axis(1)))


def _attention_bias(config: EncoderConfig, weights: EncoderWeights, input_ids: Node, attention_mask: Node) -> Node:
    """Return the term that is added to attention scores. Shape: (batch, 1 or heads, 1 or length, length)."""
    absent = ops.subtract(_number(1.0), ops.convert(attention_mask, destination_type="f32"))
    mask = ops.unsqueeze(ops.multiply(absent, _number(_MASKED)), _axes(1, 2))
    if weights.relative_attention_bias is None:
        return mask
    reach = config.max_positions - 1
    table = relative_bias_by_offset(weights.relative_attention_bias, reach)
    length = ops.gather(ops.shape_of(input_ids), _integer(1), _axis(0))
    bias = ops.gather(_constant(table), ops.add(_offsets(length), _integer(reach)), _axis(1))
    return ops.add(mask, ops.unsqueeze(bias, _axis(0)))


# --- a layer -----------------------------------------------------------------------------------


def _layer(
    config: EncoderConfig, layer: LayerWeights, hidden: Node, around: _Around, *, first_only: bool, name: str
) -> Node:
    """One layer; with `first_only` its output is (batch, 1, hidden)."""
    post, sandwich = (config.block.norms is place for place in (NormPlace.POST, NormPlace.SANDWICH))
    inputs = _norm(config, hidden, layer.qkv_norm)
    rows, asking, bias = hidden, inputs, around.bias
    if first_only:
        rows, asking = (ops.slice(whole, _axes(0), _axes(1), _axes(1), _axes(1)) for whole in (hidden, inputs))
        if around.bias.get_output_partial_shape(0)[2] != 1:
            bias = ops.slice(bias, _axes(0), _axes(1), _axes(1), _axes(2))
    attended = ops.scaled_dot_product_attention(
        _query(config, layer, asking, around, first_only=first_only, name=name),
        _key(config, layer, inputs, around, name=name),
        _each_query(config, _heads(config, _linear(inputs, layer.value, name + "value"), config.num_key_heads)),
        bias,
        _number(config.attention_scale),
    )
    attended.set_friendly_name(name + "attention")
    width = config.num_heads * config.head_size
    together = ops.reshape(ops.transpose(attended, _integers(0, 2, 1, 3)), _integers(0, 0, width), True)
    attention = _linear(together, layer.attention_output, name + "attention_output")
    rows = ops.add(_norm(config, attention, layer.attention_norm) if sandwich else attention, rows)
    rows = _norm(config, rows, layer.attention_norm) if post else rows
    outer = _feed_forward(config, layer, _norm(config, rows, layer.intermediate_norm), name=name)
    rows = ops.add(_norm(config, outer, layer.output_norm) if sandwich else outer, rows)
    return _norm(config, rows, layer.output_norm) if post else rows


def _query(
    config: EncoderConfig, layer: LayerWeights, inputs: Node, around: _Around, *, first_only: bool, name: str
) -> Node:
    query = _heads(config, _linear(inputs, layer.query, name + "query"), config.num_heads)
    query = _norm_of_heads(config, query, layer.query_norm)
    # The first token's angles are 0.
    return query if around.turn is None or first_only else _turned(config, query, *around.turn)


def _key(config: EncoderConfig, layer: LayerWeights, inputs: Node, around: _Around, *, name: str) -> Node:
    key = _heads(config, _linear(inputs, layer.key, name + "key"), config.num_key_heads)
    key = _norm_of_heads(config, key, layer.key_norm)
    return _each_query(config, key if around.turn is None else _turned(config, key, *around.turn))


def _turned(config: EncoderConfig, heads: Node, cosines: Node, sines: Node) -> Node:
    """Turn each number of a head's first half with the one of its second half."""
    half = config.head_size // 2
    first = ops.slice(heads, _axes(0), _axes(half), _axes(1), _axes(3))
    second = ops.slice(heads, _axes(half), _axes(2 * half), _axes(1), _axes(3))
    across = ops.concat([ops.negative(second), first], 3)
    return ops.add(ops.multiply(heads, cosines), ops.multiply(across, sines))


def _feed_forward(config: EncoderConfig, layer: LayerWeights, inputs: Node, *, name: str) -> Node:
    inner = _linear(inputs, layer.intermediate, name + "intermediate")
    if layer.gate is None:
        inner = _activation(config, inner)
    else:
        inner = ops.multiply(_activation(config, _linear(inputs, layer.gate, name + "gate")), inner)
    return _linear(inner, layer.output, name + "output")


def _heads(config: EncoderConfig, projected: Node, heads: int) -> Node:
    """(batch, length, heads * head_size) -> (batch, heads, length, head_size)."""
    split = ops.reshape(projected, _integers(0, 0, heads, config.head_size), True)
    return ops.transpose(split, _integers(0, 2, 1, 3))


def _each_query(config: EncoderConfig, heads: Node) -> Node:
    """Repeat heads of keys or values for the heads of queries that share each."""
    each = config.num_heads // config.num_key_heads
    return heads if each == 1 else ops.gather(heads, _integers(*(i // each for i in range(config.num_heads))), _axis(1))


def _linear(inputs: Node, linear: Linear, name: str) -> Node:
    product = ops.matmul(inputs, _constant(linear.weight), False, True)
    product.set_friendly_name(name)
    return ops.add(product, _constant(linear.bias.reshape(1, 1, -1))) if linear.bias.any() else product


def _norm(config: EncoderConfig, inputs: Node, norm: Norm | None) -> Node:
    """Normalize each row; where a family has no norm, return what goes in."""
    if norm is None:
        return inputs
    scaled = ops.multiply(_unit_rows(config, inputs), _constant(norm.weight.reshape(1, 1, -1)))
    return ops.add(scaled, _constant(norm.bias.reshape(1, 1, -1))) if Part.NORM in config.block.biases else scaled


def _norm_of_heads(config: EncoderConfig, heads: Node, weight: NDArray[np.float32] | None) -> Node:
    return heads if weight is None else ops.multiply(_unit_rows(config, heads), _constant(weight.reshape(1, 1, 1, -1)))


def _unit_rows(config: EncoderConfig, inputs: Node) -> Node:
    """Rows without their mean, unless norms leave it, divided by the root of their mean square."""
    if not config.block.rms_norm:
        return ops.mvn(inputs, _axes(-1), True, config.layer_norm_eps, "inside_sqrt")
    mean_square = ops.reduce_mean(ops.multiply(inputs, inputs), _axes(-1), True)
    return ops.divide(inputs, ops.sqrt(ops.add(mean_square, _number(config.layer_norm_eps))))


def _activation(config: EncoderConfig, inputs: Node) -> Node:
    if config.block.activation is Activation.RELU:
        return ops.relu(inputs)
    if config.block.activation is Activation.SILU:
        return ops.swish(inputs)
    return ops.gelu(inputs, "tanh" if config.block.activation is Activation.GELU_TANH else "erf")


# --- after the layers --------------------------------------------------------------------------


def _pool(hidden: Node, attention_mask: Node, *, pooling: Pooling, normalize: bool) -> Node:
    """(batch, length or 1, hidden) -> (batch, hidden), as sentence-transformers defines each mode."""
    if pooling is Pooling.CLS:
        pooled = ops.gather(hidden, _integer(0), _axis(1))
    elif pooling is Pooling.LAST:
        length = ops.gather(ops.shape_of(attention_mask), _integer(1), _axis(0))
        places = ops.range(_integer(0), length, _integer(1), "i64")
        last = ops.reduce_max(ops.multiply(attention_mask, places), _axes(1), True)
        pooled = ops.squeeze(ops.gather(hidden, last, _axis(1), 1), _axes(1))
    else:
        mask = ops.unsqueeze(ops.convert(attention_mask, destination_type="f32"), _axes(2))
        total = ops.reduce_sum(ops.multiply(hidden, mask), _axes(1), False)
        count = ops.reduce_sum(mask, _axes(1), False)
        pooled = ops.divide(total, ops.maximum(count, _number(1e-9)))
    if normalize:
        # torch.nn.functional.normalize: x / max(|x|, 1e-12).
        pooled = ops.normalize_l2(pooled, _axes(1), 1e-24, "max")
    _mark_as_pooling(pooled, stop_at={hidden.get_name(), attention_mask.get_name()})
    return pooled


def _mark_as_pooling(pooled: Node, *, stop_at: set[str]) -> None:
    """Put `POOLING_PREFIX` before the friendly name of every operation behind the last layer."""
    waiting, seen = [pooled], set(stop_at)
    while waiting:
        node = waiting.pop()
        if node.get_name() in seen:
            continue
        seen.add(node.get_name())
        node.set_friendly_name(POOLING_PREFIX + node.get_friendly_name())
        waiting += [source.get_node() for source in node.input_values()]


# --- constants ---------------------------------------------------------------------------------


def _constant(array: NDArray[np.float32]) -> Node:
    return ops.constant(array, dtype=np.float32)


def _number(value: float) -> Node:
    return ops.constant(value, dtype=np.float32)


def _integer(value: int) -> Node:
    return ops.constant(value, dtype=np.int64)


def _integers(*values: int) -> Node:
    return ops.constant(np.array(values), dtype=np.int64)


_axis = _integer
_axes = _integers
