"""Weights in the engine's form: arrays by the engine's names, padded, some of them joined or scaled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.architectures import (
    Dense,
    EncoderConfig,
    EncoderWeights,
    Ending,
    LayerNorm,
    LayerWeights,
    Linear,
    Norm,
    Recall,
    SparseEnding,
    TokenWeights,
    VocabularyEnding,
)
from intel_quantized_embeddings.architectures.description import Heads, NormPlace
from intel_quantized_embeddings.architectures.relative_bias import bias_by_offset
from intel_quantized_embeddings.architectures.rotary import inverse_frequencies, rotary_tables
from intel_quantized_embeddings.runtimes.native_shape import (
    DENSE_STEP,
    LANES,
    LAYER_NORM_STEP,
    LEVELS,
    POOL_STEP,
    POOLINGS,
    RECALL_PARTS,
    STEP_ACTIVATIONS,
    UNIT_LENGTH_STEP,
    VOCABULARY_ACTIVATIONS,
    Shape,
    padded,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

# Suffix of the array from which a table of rotary positions is made when the model is loaded.
FREQUENCIES = ".frequencies"

# The width of layers' third halves, if they have one.
RECALL = "recall.inputs"

# Ids of tokens that have no weight, of a model that weighs a text's own tokens; the engine knows nothing of them.
LEFT_OUT = "left_out"

# The engine's softmax takes powers of two.
LOG2_E = math.log2(math.e)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeGraph:
    """A model for the engine.

    Attributes:
        shape: Its sizes and choices.
        arrays: The engine's arrays by name. A linear layer in floating point has `NAME.weight`, (outputs, inputs); one
            in int8 has `NAME.codes`, `NAME.scales`, `NAME.sums` and perhaps `NAME.factors` instead. An int8 model has
            `words.codes` and `words.scales` in place of the table `words`, even if layers are in floating point.
    """

    shape: Shape
    arrays: Mapping[str, NDArray[Any]]

    def linear_layers(self) -> tuple[str, ...]:
        """Return the names of the layers' linear parts, in order, without the steps behind them."""
        parts = (*LEVELS, *(RECALL_PARTS if RECALL in self.arrays else ()))
        return tuple(f"layers.{i}.{part}" for i in range(self.shape.layers) for part in parts)

    @property
    def vocabulary(self) -> str | None:
        """The name of a sparse model's step that gives a number for each token of the vocabulary; None of others."""
        return f"steps.{self.shape.steps - 1}" if self.shape.has_vocabulary else None


def native_graph(
    encoder: EncoderConfig, weights: EncoderWeights, ending: Ending | SparseEnding, *, second_text: bool = False
) -> NativeGraph:
    """Lay out a model in fp32 from its sizes, its layers and its ending."""
    if isinstance(ending, Ending):
        ending = ending.folded()
    shape = Shape.of(encoder, ending, second_text=second_text)
    arrays = _arrays(encoder, weights)
    if second_text and weights.second_text is not None:
        arrays["second_text"] = _padded(weights.second_text, padded(encoder.embedding_size))
    return NativeGraph(shape=shape, arrays=arrays | _steps(ending, encoder.hidden_size))


def _steps(ending: Ending | SparseEnding, hidden: int) -> dict[str, NDArray[Any]]:
    """Return the table `steps` of iqe.h, and the weights of each step."""
    table: list[tuple[int, int, int]] = []
    if isinstance(ending, Ending) and ending.row_pooling is None:
        table += [(POOL_STEP, POOLINGS[mode], (part + 1) * hidden) for part, mode in enumerate(ending.poolings)]
    widths = ending.widths(hidden, where="the model")
    arrays: dict[str, NDArray[Any]] = {}
    for step, takes, gives in zip(ending.steps, widths, widths[1:], strict=False):
        name = f"steps.{len(table)}"
        if isinstance(step, Dense):
            table.append((DENSE_STEP, STEP_ACTIVATIONS[step.activation], gives))
            arrays |= _linear(name, step.linear, padded(gives), padded(takes))
        elif isinstance(step, LayerNorm):
            table.append((LAYER_NORM_STEP, 0, gives))
            arrays |= _norm(name, step.norm, padded(gives))
            arrays[f"{name}.epsilon"] = np.array([step.epsilon], dtype=np.float32)
        else:
            table.append((UNIT_LENGTH_STEP, 0, gives))
    if isinstance(ending, TokenWeights):
        arrays[LEFT_OUT] = np.array(ending.left_out, dtype=np.int32)
    if isinstance(ending, VocabularyEnding):
        outputs = padded(widths[-1])
        arrays |= _linear(f"steps.{len(table)}", ending.vocabulary, outputs, padded(widths[-2]))
        table.append((DENSE_STEP, VOCABULARY_ACTIVATIONS[ending.logarithms], outputs))
    return arrays | ({"steps": np.array(table, dtype=np.int32)} if table else {})


def _arrays(encoder: EncoderConfig, weights: EncoderWeights) -> dict[str, NDArray[Any]]:
    width, first = padded(encoder.embedding_size), encoder.first_position
    positions = weights.position_embeddings[first:]
    arrays: dict[str, NDArray[Any]] = {
        "words": _padded(weights.word_embeddings, encoder.vocab_size, width),
        "positions": _padded(positions, len(positions), width),
        **_norm("embedding_norm", weights.embedding_norm, width),
    }
    if encoder.block.positions_after_padding:
        arrays["padding"] = _padded(weights.position_embeddings[encoder.pad_token_id], width)
    if weights.embedding_projection is not None:
        arrays |= _linear("embedding_projection", weights.embedding_projection, padded(encoder.hidden_size), width)
        arrays["embedding_projection.inputs"] = np.array([encoder.embedding_size], dtype=np.int32)
    table = bias_by_offset(encoder, weights, encoder.max_length - 1)
    if table is not None:
        # The engine reads sixteen numbers at a time, and so beyond the end.
        arrays["relative"] = np.append(table.ravel() * np.float32(LOG2_E), np.zeros(2 * LANES, dtype=np.float32))
    arrays |= _kinds(encoder)
    if encoder.recall_size:
        arrays[RECALL] = np.array([encoder.recall_size], dtype=np.int32)
    for index, layer in enumerate(weights.layers):
        arrays |= _layer(encoder, layer, encoder.heads[index], f"layers.{index}.")
    return arrays | _norms(encoder, weights)


def _kinds(encoder: EncoderConfig) -> dict[str, NDArray[Any]]:
    """Return the properties in which layers differ, in the engine's form."""
    arrays: dict[str, NDArray[Any]] = {}
    longest = encoder.max_length
    reaches = [
        (longest if kind.before is None else kind.before, longest if kind.after is None else kind.after)
        for kind in encoder.layers
    ]
    if any(reach != (longest, longest) for reach in reaches):
        arrays["layers.reaches"] = np.array(reaches, dtype=np.int32)
    if len(set(encoder.heads)) > 1:
        arrays["layers.heads"] = np.array([(heads.size, heads.keys) for heads in encoder.heads], dtype=np.int32)
    turns = [
        (kind.rotary, heads.size)
        for kind, heads in zip(encoder.layers, encoder.heads, strict=True)
        if kind.rotary is not None
    ]
    tables = tuple(dict.fromkeys(turns))
    if tables:
        arrays["layers.rotary"] = np.array([tables.index(turn) for turn in turns], dtype=np.int32)
    for index, (rotary, size) in enumerate(tables):
        arrays[f"rotary.{index}{FREQUENCIES}"] = inverse_frequencies(rotary, size)
    return arrays


def rotary_table(frequencies: Array, positions: int) -> Array:
    """Return a table of rotary positions as the engine reads it. Shape: (positions, 2, head_size / 2, padded)."""
    table = np.stack(rotary_tables(frequencies, positions), axis=1)
    return _padded(table, positions, 2, padded(len(frequencies)))


def _norms(encoder: EncoderConfig, weights: EncoderWeights) -> dict[str, NDArray[Any]]:
    """Return all norms, named by the half of a layer that they follow, which may be the one before their own."""
    width = padded(encoder.hidden_size)
    places = encoder.block.norms
    arrays: dict[str, NDArray[Any]] = {}
    for index, layer in enumerate(weights.layers):
        at = f"layers.{index}."
        if places is NormPlace.POST:
            arrays |= _norm(at + "attention_norm", layer.attention_norm, width)
            arrays |= _norm(at + "output_norm", layer.output_norm, width)
            continue
        following = weights.layers[index + 1].qkv_norm if index + 1 < len(weights.layers) else weights.final_norm
        arrays |= _norm(at + "attention_norm", layer.intermediate_norm, width)
        arrays |= _norm(at + "output_norm", following, width)
        if places is NormPlace.SANDWICH:
            arrays |= _norm(at + "attention_branch_norm", layer.attention_norm, width)
            arrays |= _norm(at + "output_branch_norm", layer.output_norm, width)
    return arrays if places is NormPlace.POST else arrays | _norm("first_norm", weights.layers[0].qkv_norm, width)


def _layer(encoder: EncoderConfig, layer: LayerWeights, heads: Heads, at: str) -> dict[str, NDArray[Any]]:
    width, inner = padded(encoder.hidden_size), padded(encoder.intermediate_size)
    queries, keys = padded(encoder.num_heads * heads.size), padded(heads.keys * heads.size)
    # The scale of attention's scores, and the factor that turns powers of e into powers of 2, go into the queries or
    # their norm.
    scale = np.float32(LOG2_E * encoder.attention_scale)
    query = layer.query
    if layer.query_norm is None:
        query = Linear(query.weight * scale, query.bias * scale)
    parts = [
        _linear("", part, outputs, width)
        for part, outputs in ((query, queries), (layer.key, keys), (layer.value, keys))
    ]
    arrays = {
        at + "qkv.weight": np.concatenate([part[".weight"] for part in parts]),
        at + "qkv.bias": np.concatenate([part[".bias"] for part in parts]),
        **_linear(at + "attention_output", layer.attention_output, width, queries),
        **_linear(at + "output", layer.output, width, inner),
    }
    if layer.query_norm is not None and layer.key_norm is not None:
        arrays[at + "query_norm"] = _padded(layer.query_norm * scale, padded(heads.size))
        arrays[at + "key_norm"] = _padded(layer.key_norm, padded(heads.size))
    if layer.value_norm is not None:
        arrays[at + "value_norm"] = _padded(layer.value_norm, padded(heads.size))
    if layer.recall is not None:
        arrays |= _recall(encoder, layer.recall, at + "recall")
    if layer.gate is None:
        return arrays | _linear(at + "intermediate", layer.intermediate, inner, width)
    gate, value = _linear("", layer.gate, inner, width), _linear("", layer.intermediate, inner, width)
    # The engine takes sixteen gates, then the sixteen numbers that they are multiplied with, and so on.
    for kind in (".weight", ".bias"):
        pair = np.stack([part[kind].reshape(inner // LANES, LANES, -1) for part in (gate, value)], axis=1)
        shape = (2 * inner, width) if kind == ".weight" else (2 * inner,)
        arrays[f"{at}intermediate{kind}"] = np.ascontiguousarray(pair.reshape(shape))
    return arrays


def _recall(encoder: EncoderConfig, recall: Recall, name: str) -> dict[str, NDArray[Any]]:
    width, inputs = padded(encoder.hidden_size), padded(encoder.recall_size)
    return {
        **_linear(f"{name}_inputs", recall.inputs, inputs, width),
        **_norm(f"{name}_input_norm", recall.input_norm, inputs),
        **_linear(f"{name}_gate", recall.gate, inputs, width),
        **_linear(f"{name}_output", recall.output, width, inputs),
        **_norm(f"{name}_norm", recall.norm, width),
        f"{name}_factor": np.array([recall.factor], dtype=np.float32),
    }


def _linear(name: str, linear: Linear, outputs: int, inputs: int) -> dict[str, NDArray[Any]]:
    return {f"{name}.weight": _padded(linear.weight, outputs, inputs), f"{name}.bias": _padded(linear.bias, outputs)}


def _norm(name: str, norm: Norm | None, width: int) -> dict[str, NDArray[Any]]:
    if norm is None:
        return {}
    # A weight and a shift of 0 keep a row's padding at 0.
    return {f"{name}.weight": _padded(norm.weight, width), f"{name}.bias": _padded(norm.bias, width)}


def _padded(array: Array, *shape: int) -> Array:
    """Return an array padded with zeros, itself if it has that shape already."""
    if array.shape == shape:
        return np.ascontiguousarray(array, dtype=np.float32)
    wide = np.zeros(shape, dtype=np.float32)
    wide[tuple(slice(n) for n in array.shape)] = array
    return wide
