"""The part behind the last layer in an OpenVINO graph: pooling, and the steps behind it, in floating point."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from openvino import opset15 as ops

from intel_quantized_embeddings.architectures import (
    Dense,
    Ending,
    LayerNorm,
    SparsePooling,
    StepActivation,
    VocabularyEnding,
)
from intel_quantized_embeddings.architectures.ending import Step
from intel_quantized_embeddings.options import Pooling
from intel_quantized_embeddings.runtimes.openvino_nodes import Node, constant, integer, integers, number

# Everything behind the last layer has this prefix, so that quantization can leave it out.
POOLING_PREFIX = "pooling/"

_ACTIVATIONS = {
    StepActivation.IDENTITY: lambda inputs: inputs,
    StepActivation.TANH: ops.tanh,
    StepActivation.SIGMOID: ops.sigmoid,
    StepActivation.RELU: ops.relu,
    StepActivation.GELU: partial(ops.gelu, approximation_mode="erf"),
    StepActivation.GELU_TANH: partial(ops.gelu, approximation_mode="tanh"),
}


def ended(hidden: Node, attention_mask: Node, ending: Ending) -> Node:
    """Put an ending behind the last hidden state: a row for each text. Shape: (batch, numbers).

    `hidden` is (batch, length, hidden), or (batch, 1, hidden) if only the first token is pooled; the mask is (batch,
    length).
    """
    rows = [_pool(hidden, attention_mask, pooling) for pooling in ending.poolings]
    row = with_steps(rows[0] if len(rows) == 1 else ops.concat(rows, 1), ending)
    _mark_as_pooling(row, stop_at={hidden.get_name(), attention_mask.get_name()})
    return row


def ended_by_vocabulary(hidden: Node, attention_mask: Node, ending: VocabularyEnding) -> Node:
    """Put a sparse model's ending behind the last hidden state, one row a text. Shape: (batch, vocabulary).

    A number for each token of each text and each of the vocabulary is in memory at once.
    """
    mask = ops.unsqueeze(ops.convert(attention_mask, destination_type="f32"), integers(2))
    last = Dense(ending.vocabulary, StepActivation.RELU)
    numbers = ops.multiply(_stepped(hidden, (*ending.steps, last)), mask)  # 0 for padding, the least there can be
    if ending.pooling is SparsePooling.MAX:  # of which the logarithm is the greatest logarithm
        row = _in_logarithms(ops.reduce_max(numbers, integers(1), False), ending.logarithms)
    else:
        row = ops.reduce_sum(_in_logarithms(numbers, ending.logarithms), integers(1), False)
    _mark_as_pooling(row, stop_at={hidden.get_name(), attention_mask.get_name()})
    return row


def _in_logarithms(numbers: Node, times: int) -> Node:
    """Take log(1 + x) so many times."""
    for _ in range(times):
        numbers = ops.log(ops.add(numbers, number(1.0)))
    return numbers


def with_steps(row: Node, ending: Ending) -> Node:
    """Add an ending's steps behind pooling. Shape: (batch, numbers)."""
    return _stepped(row, ending.folded().steps)


def _stepped(row: Node, steps: Sequence[Step]) -> Node:
    for number_, step in enumerate(steps):
        if isinstance(step, Dense):
            product = ops.matmul(row, constant(step.linear.weight), False, True)
            product.set_friendly_name(f"dense.{number_}")
            row = _ACTIVATIONS[step.activation](ops.add(product, constant(step.linear.bias.reshape(1, -1))))
        elif isinstance(step, LayerNorm):
            centred = ops.mvn(row, integers(-1), True, step.epsilon, "inside_sqrt")
            scaled = ops.multiply(centred, constant(step.norm.weight.reshape(1, -1)))
            row = ops.add(scaled, constant(step.norm.bias.reshape(1, -1)))
        else:
            # torch.nn.functional.normalize: x / max(|x|, 1e-12).
            row = ops.normalize_l2(row, integers(1), 1e-24, "max")
    return row


def _pool(hidden: Node, attention_mask: Node, pooling: Pooling) -> Node:
    """Pool (batch, length or 1, hidden) into (batch, hidden), as sentence-transformers defines each mode."""
    if pooling is Pooling.CLS:
        return ops.gather(hidden, integer(0), integer(1))
    if pooling is Pooling.LAST:
        length = ops.gather(ops.shape_of(attention_mask), integer(1), integer(0))
        places = ops.range(integer(0), length, integer(1), "i64")
        last = ops.reduce_max(ops.multiply(attention_mask, places), integers(1), True)
        return ops.squeeze(ops.gather(hidden, last, integer(1), 1), integers(1))
    mask = ops.unsqueeze(ops.convert(attention_mask, destination_type="f32"), integers(2))
    if pooling is Pooling.MAX:
        lowest = number(float(np.finfo(np.float32).min))
        return ops.reduce_max(ops.select(ops.greater(mask, number(0.5)), hidden, lowest), integers(1), False)
    if pooling is Pooling.WEIGHTED_MEAN:
        mask = ops.multiply(mask, ops.cumsum(mask, integer(1)))
    total = ops.reduce_sum(ops.multiply(hidden, mask), integers(1), False)
    count = ops.maximum(ops.reduce_sum(mask, integers(1), False), number(1e-9))
    return ops.divide(total, ops.sqrt(count) if pooling is Pooling.MEAN_SQRT_LENGTH else count)


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
