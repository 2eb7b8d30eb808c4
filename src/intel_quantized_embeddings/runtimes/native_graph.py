"""Weights as the engine takes them: arrays by the engine's names, padded, some of them joined or scaled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.architectures import (
    Activation,
    EncoderConfig,
    EncoderWeights,
    LayerWeights,
    Linear,
    Norm,
    ScoringHead,
)
from intel_quantized_embeddings.architectures.relative_bias import relative_bias_by_offset
from intel_quantized_embeddings.options import Pooling
from intel_quantized_embeddings.runtimes.native_shape import ACTIVATIONS, LANES, LEVELS, TANH, Shape, padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

# The engine's softmax takes powers of two.
LOG2_E = math.log2(math.e)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeGraph:
    """A model for the engine.

    Attributes:
        shape: Its sizes and choices.
        arrays: What the engine looks up. A linear layer in floating point has its `NAME.weight`, (outputs, inputs);
            one in int8 has `NAME.codes`, `NAME.scales`, `NAME.sums` and perhaps `NAME.factors` instead. In a model of
            int8 the table `words` is `words.codes` and `words.scales`, whatever its layers are.
    """

    shape: Shape
    arrays: Mapping[str, NDArray[Any]]

    def linear_layers(self) -> tuple[str, ...]:
        """Names of the layers' linear parts, in order; a cross-encoder's head is none of them."""
        return tuple(f"layers.{i}.{part}" for i in range(self.shape.layers) for part in LEVELS)


def embedder_graph(
    encoder: EncoderConfig, weights: EncoderWeights, *, pooling: Pooling, normalize: bool
) -> NativeGraph:
    """Lay out an embedder in fp32."""
    shape = Shape.of(encoder, pooling=pooling, normalize=normalize)
    return NativeGraph(shape=shape, arrays=_arrays(encoder, weights))


def scorer_graph(encoder: EncoderConfig, weights: EncoderWeights, head: ScoringHead) -> NativeGraph:
    """Lay out a cross-encoder in fp32: its head is on the first token's vector."""
    shape = Shape.of(
        encoder,
        pooling=Pooling.CLS,
        normalize=False,
        second_text=weights.second_text is not None,
        head=TANH if head.with_tanh else ACTIVATIONS[Activation.RELU],
    )
    arrays = _arrays(encoder, weights)
    width = padded(encoder.hidden_size)
    if weights.second_text is not None:
        arrays["second_text"] = _padded(weights.second_text, width)
    arrays |= _linear("head_dense", head.dense, width, width)
    arrays |= _linear("head_output", head.output, LANES, width)
    return NativeGraph(shape=shape, arrays=arrays)


def _arrays(encoder: EncoderConfig, weights: EncoderWeights) -> dict[str, NDArray[Any]]:
    width, first = padded(encoder.hidden_size), encoder.first_position
    arrays: dict[str, NDArray[Any]] = {
        "words": _padded(weights.word_embeddings, encoder.vocab_size, width),
        "positions": _padded(weights.position_embeddings[first:], encoder.max_length, width),
        **_norm("embedding_norm", weights.embedding_norm, width),
    }
    if encoder.block.positions_after_padding:
        arrays["padding"] = _padded(weights.position_embeddings[encoder.pad_token_id], width)
    if weights.relative_attention_bias is not None:
        table = relative_bias_by_offset(weights.relative_attention_bias, encoder.max_length - 1)
        # The engine reads in sixteens, and so beyond the end.
        arrays["relative"] = np.append(table.ravel() * np.float32(LOG2_E), np.zeros(2 * LANES, dtype=np.float32))
    for index, layer in enumerate(weights.layers):
        arrays |= _layer(encoder, layer, f"layers.{index}.")
    return arrays


def _layer(encoder: EncoderConfig, layer: LayerWeights, at: str) -> dict[str, NDArray[Any]]:
    width, inner = padded(encoder.hidden_size), padded(encoder.intermediate_size)
    # What attention's scores are divided by, and what makes e's powers two's, go into the queries.
    scale = np.float32(LOG2_E / math.sqrt(encoder.head_size))
    query = Linear(layer.query.weight * scale, layer.query.bias * scale)
    parts = [_linear("", part, width, width) for part in (query, layer.key, layer.value)]
    return {
        at + "qkv.weight": np.concatenate([part[".weight"] for part in parts]),
        at + "qkv.bias": np.concatenate([part[".bias"] for part in parts]),
        **_linear(at + "attention_output", layer.attention_output, width, width),
        **_norm(at + "attention_norm", layer.attention_norm, width),
        **_linear(at + "intermediate", layer.intermediate, inner, width),
        **_linear(at + "output", layer.output, width, inner),
        **_norm(at + "output_norm", layer.output_norm, width),
    }


def _linear(name: str, linear: Linear, outputs: int, inputs: int) -> dict[str, NDArray[Any]]:
    return {f"{name}.weight": _padded(linear.weight, outputs, inputs), f"{name}.bias": _padded(linear.bias, outputs)}


def _norm(name: str, norm: Norm, width: int) -> dict[str, NDArray[Any]]:
    # A weight and a shift of 0 keep what pads a row at 0.
    return {f"{name}.weight": _padded(norm.weight, width), f"{name}.bias": _padded(norm.bias, width)}


def _padded(array: Array, *shape: int) -> Array:
    """Return an array with zeros behind, itself where it has that shape already."""
    if array.shape == shape:
        return np.ascontiguousarray(array, dtype=np.float32)
    wide = np.zeros(shape, dtype=np.float32)
    wide[tuple(slice(n) for n in array.shape)] = array
    return wide
