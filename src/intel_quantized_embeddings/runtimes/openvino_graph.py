"""Build the encoder as an OpenVINO graph: token ids in, one pooled vector a text out.

The graph has two inputs, `input_ids` and `attention_mask`, each (batch, length) int64, and one
output, `sentence_embedding`, (batch, dimension) float32. The ending is inside, so only
one row for each text leaves the runtime, and with CLS pooling the last layer computes only
the first token's row.

A cross-encoder's graph has the same inputs and the same output, which holds one score a pair, (batch, 1). If
the model tells the two texts of a pair apart, the size of the vocabulary is added to the ids of the second: one
sequence of ids then describes a pair, as it does a text.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from intel_quantized_embeddings.architectures import EncoderConfig, EncoderWeights, Ending, VocabularyEnding
from intel_quantized_embeddings.architectures.description import Heads, LayerKind, Rotary
from intel_quantized_embeddings.architectures.relative_bias import bias_by_offset
from intel_quantized_embeddings.architectures.rotary import inverse_frequencies, rotary_tables
from intel_quantized_embeddings.options import Pooling
from intel_quantized_embeddings.runtimes.openvino_ending import ended, ended_by_vocabulary, with_steps
from intel_quantized_embeddings.runtimes.openvino_layers import Around, build_layer, build_linear, build_norm
from intel_quantized_embeddings.runtimes.openvino_nodes import Node, constant, integer, integers, number

# Added to the attention scores of padding. Large enough that exp() of it is exactly 0 in float32,
# small enough to stay finite in bfloat16.
_MASKED = -1e9

INPUT_IDS = "input_ids"
ATTENTION_MASK = "attention_mask"
SENTENCE_EMBEDDING = "sentence_embedding"


def build_embedder(config: EncoderConfig, weights: EncoderWeights, ending: Ending) -> ov.Model:
    """Build the whole graph of one of the built-in families, with dynamic batch and length.

    The ending stays in floating point.
    """
    return _whole(config, weights, ending, of_pairs=False)


def build_scorer(config: EncoderConfig, weights: EncoderWeights, head: Ending) -> ov.Model:
    """Build the whole graph of a cross-encoder, as `build_embedder`; its output is the score before any activation."""
    return _whole(config, weights, head, of_pairs=True)


def build_sparse(config: EncoderConfig, weights: EncoderWeights, ending: VocabularyEnding) -> ov.Model:
    """Build the whole graph of a sparse model, as `build_embedder`; its output has a number a token it knows."""
    ending.widths(config.hidden_size, where="the model")
    input_ids, attention_mask = model_input(INPUT_IDS), model_input(ATTENTION_MASK)
    hidden = last_hidden_state(config, weights, input_ids, attention_mask)
    return _model(ended_by_vocabulary(hidden, attention_mask, ending), input_ids, attention_mask)


def _whole(config: EncoderConfig, weights: EncoderWeights, ending: Ending, *, of_pairs: bool) -> ov.Model:
    ending.widths(config.hidden_size, where="the model")
    input_ids, attention_mask = model_input(INPUT_IDS), model_input(ATTENTION_MASK)
    first_only = ending.row_pooling is Pooling.CLS
    hidden = last_hidden_state(config, weights, input_ids, attention_mask, first_only=first_only, of_pairs=of_pairs)
    return _model(ended(hidden, attention_mask, ending), input_ids, attention_mask)


def add_ending(hidden: Node, input_ids: Node, attention_mask: Node, ending: Ending) -> ov.Model:
    """Put an ending behind the last hidden state, (batch, length, hidden), of a foreign graph."""
    return _model(ended(hidden, attention_mask, ending), input_ids, attention_mask)


def add_unit_length(row: Node, input_ids: Node, attention_mask: Node, ending: Ending) -> ov.Model:
    """Scale the pooled rows of a third-party graph, (batch, numbers), to length 1 if the ending does."""
    return _model(with_steps(row, ending), input_ids, attention_mask)


def model_input(name: str) -> Node:
    """Make an input of an embedder: (batch, length), int64."""
    parameter = ops.parameter([-1, -1], np.int64, name=name)
    parameter.output(0).tensor.set_names({name})
    return parameter


def _model(pooled: Node, input_ids: Node, attention_mask: Node) -> ov.Model:
    result = ops.result(pooled, name=SENTENCE_EMBEDDING)
    result.output(0).tensor.set_names({SENTENCE_EMBEDDING})
    return ov.Model([result], [input_ids, attention_mask], "embedder")


def last_hidden_state(
    config: EncoderConfig,
    weights: EncoderWeights,
    input_ids: Node,
    attention_mask: Node,
    *,
    first_only: bool = False,
    of_pairs: bool = False,
) -> Node:
    """Return the last layer's output. Shape: (batch, length, hidden), or (batch, 1, hidden) with `first_only`."""
    hidden = _embeddings(config, weights, input_ids, of_pairs=of_pairs)
    around = _Surroundings(config, weights, hidden, input_ids, attention_mask)
    for index, layer in enumerate(weights.layers):
        is_last = index == config.num_layers - 1
        hidden = build_layer(
            config, layer, hidden, around.of(index), first_only=is_last and first_only, name=f"layer.{index}/"
        )
    return build_norm(config, hidden, weights.final_norm)


# --- before the layers -------------------------------------------------------------------------


def _embeddings(config: EncoderConfig, weights: EncoderWeights, input_ids: Node, *, of_pairs: bool) -> Node:
    second_text = None
    if of_pairs and weights.second_text is not None:
        is_second = ops.greater_equal(input_ids, integer(config.vocab_size))
        second_text = ops.multiply(
            ops.unsqueeze(ops.convert(is_second, destination_type="f32"), integers(2)), constant(weights.second_text)
        )
        input_ids = ops.floor_mod(input_ids, integer(config.vocab_size))
    words = ops.gather(constant(weights.word_embeddings), input_ids, integer(0))
    words.set_friendly_name("embeddings/word")
    positions = _positions(config, weights, input_ids)
    together = ops.add(words, positions)
    if second_text is not None:
        together = ops.add(together, second_text)
    normed = build_norm(config, together, weights.embedding_norm)
    if weights.embedding_projection is None:
        return normed
    return build_linear(normed, weights.embedding_projection, "embeddings/projection")


def _positions(config: EncoderConfig, weights: EncoderWeights, input_ids: Node) -> Node:
    """Return the embeddings of positions. Shape: (1 or batch, 1 or length, embedding)."""
    if config.rotaries or config.block.alibi:
        return constant(weights.position_embeddings)
    if config.block.positions_after_padding:
        # transformers' create_position_ids_from_input_ids: padding gets the padding position,
        # the others count on from it.
        is_token = ops.convert(ops.not_equal(input_ids, integer(config.pad_token_id)), destination_type="i64")
        counted = ops.multiply(ops.cumsum(is_token, integer(1)), is_token)
        position_ids = ops.add(counted, integer(config.pad_token_id))
    else:
        length = ops.gather(ops.shape_of(input_ids), integer(1), integer(0))
        position_ids = ops.unsqueeze(ops.range(integer(0), length, integer(1), "i64"), integer(0))
    positions = ops.gather(constant(weights.position_embeddings), position_ids, integer(0))
    positions.set_friendly_name("embeddings/position")
    return positions


class _Surroundings:
    """Makes what layers have around them, once for all of a kind."""

    def __init__(
        self, config: EncoderConfig, weights: EncoderWeights, embedded: Node, input_ids: Node, attention_mask: Node
    ) -> None:
        self._config, self._embedded = config, embedded
        self._length = ops.gather(ops.shape_of(input_ids), integer(1), integer(0))
        self._bias = _attention_bias(config, weights, input_ids, attention_mask)
        self._made: dict[tuple[LayerKind, Heads], Around] = {}

    def of(self, index: int) -> Around:
        """Return what a layer's attention has around it."""
        kind, heads = self._config.layers[index], self._config.heads[index]
        if (kind, heads) not in self._made:
            turn = None if kind.rotary is None else self._turn(kind.rotary, heads.size)
            self._made[kind, heads] = Around(self._embedded, heads, self._seen(kind), turn)
        return self._made[kind, heads]

    def _seen(self, kind: LayerKind) -> Node:
        """Return the bias with keys outside a query's window masked like padding."""
        out = None
        offsets = _offsets(self._length)
        for reach, distance in ((kind.before, ops.negative(offsets)), (kind.after, offsets)):
            if reach is not None:
                beyond = ops.greater(distance, integer(reach))
                out = beyond if out is None else ops.logical_or(out, beyond)
        if out is None:
            return self._bias
        unseen = ops.multiply(ops.convert(out, destination_type="f32"), number(_MASKED))
        return ops.add(self._bias, ops.unsqueeze(unseen, integers(0, 1)))

    def _turn(self, rotary: Rotary, head_size: int) -> tuple[Node, Node]:
        tables = rotary_tables(inverse_frequencies(rotary, head_size), self._config.max_length)
        cosines, sines = (
            ops.slice(
                constant(np.tile(table, 2)),
                integers(0),
                ops.unsqueeze(self._length, integers(0)),
                integers(1),
                integers(0),
            )
            for table in tables
        )
        return cosines, sines


def _offsets(length: Node) -> Node:
    """Return key - query. Shape: (length, length)."""
    places = ops.range(integer(0), length, integer(1), "i64")
    return ops.subtract(ops.unsqueeze(places, integer(0)), ops.unsqueeze(places, integer(1)))


def _attention_bias(config: EncoderConfig, weights: EncoderWeights, input_ids: Node, attention_mask: Node) -> Node:
    """Return the term that is added to attention scores. Shape: (batch, 1 or heads, 1 or length, length)."""
    absent = ops.subtract(number(1.0), ops.convert(attention_mask, destination_type="f32"))
    mask = ops.unsqueeze(ops.multiply(absent, number(_MASKED)), integers(1, 2))
    reach = config.max_positions - 1
    table = bias_by_offset(config, weights, reach)
    if table is None:
        return mask
    length = ops.gather(ops.shape_of(input_ids), integer(1), integer(0))
    bias = ops.gather(constant(table), ops.add(_offsets(length), integer(reach)), integer(1))
    return ops.add(mask, ops.unsqueeze(bias, integer(0)))
