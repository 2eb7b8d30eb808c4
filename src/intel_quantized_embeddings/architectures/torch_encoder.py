"""The encoder as a plain `torch.nn` module: token ids in, one pooled vector a text out.

The same arithmetic as `runtimes/openvino_graph.py`, from the same `EncoderWeights`. It traces to
TorchScript with dynamic batch and length. The only module of `architectures` that imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from intel_quantized_embeddings.architectures.config import EncoderConfig
from intel_quantized_embeddings.architectures.description import Activation, Heads
from intel_quantized_embeddings.architectures.ending import Ending
from intel_quantized_embeddings.architectures.layers import EncoderWeights, LayerWeights, Linear, Norm
from intel_quantized_embeddings.architectures.relative_bias import relative_bias_by_offset
from intel_quantized_embeddings.errors import UnsupportedModelError
from intel_quantized_embeddings.options import Pooling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Queries, keys and values, each (batch, heads, length, head_size), and the term that is added to the scores.
Attention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


LINEAR_LAYERS = ("query", "key", "value", "attention_output", "intermediate", "output")


class TorchEmbedder(nn.Module):
    """A whole embedder of one of the built-in families: float32, ready to be traced."""

    def __init__(self, config: EncoderConfig, weights: EncoderWeights, ending: Ending) -> None:
        """Copy the weights into modules.

        Args:
            config: The encoder's sizes.
            weights: Its weights, float32.
            ending: The part behind its layers.

        Raises:
            UnsupportedModelError: The model is of another family, or has more behind its layers than pooling by cls,
                mean or last, and scaling to length 1.
        """
        super().__init__()
        if config.rotaries or config.block.gated or config.architecture.keys.embedding_size is not None:
            raise UnsupportedModelError(
                f"What runs with torch (runtime='ipex', and method='qat' of any runtime) is frozen at the first BERT "
                f"families, and {config.architecture.name} is none of them. Load the model with runtime='native' or "
                f"'openvino', and quantize it with another method."
            )
        self.embeddings = _Embeddings(config, weights)
        last = config.num_layers - 1
        self.layers = nn.ModuleList(
            EncoderLayer(
                config, layer, config.heads[index], first_only=index == last and ending.row_pooling is Pooling.CLS
            )
            for index, layer in enumerate(weights.layers)
        )
        self.pooling = TorchPooling(ending)
        self._relative = weights.relative_attention_bias is not None
        if weights.relative_attention_bias is not None:
            self._reach = config.max_positions - 1
            table = relative_bias_by_offset(weights.relative_attention_bias, self._reach)
            self.register_buffer("relative_bias", _tensor(table))
        self.eval().requires_grad_(False)

    def set_attention(self, attention: Attention, *, in_bfloat16: bool) -> None:
        """Compute attention with another function, and queries, keys and values in bfloat16 or not."""
        for layer in self.layers:
            layer.attention, layer.attention_in_bfloat16 = attention, in_bfloat16

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode one batch.

        Args:
            input_ids: Shape: (batch, length), int64.
            attention_mask: 1 for a text's own tokens, 0 for padding. Shape: (batch, length), int64.

        Returns:
            Shape: (batch, hidden), float32.
        """
        hidden = self.embeddings(input_ids)
        bias = self._attention_bias(attention_mask)
        for layer in self.layers:
            hidden = layer(hidden, bias)
        pooled: Tensor = self.pooling(hidden, attention_mask)
        return pooled

    def _attention_bias(self, attention_mask: Tensor) -> Tensor:
        """Return the term that is added to attention scores. Shape: (batch, 1 or heads, 1 or length, length)."""
        # As in the OpenVINO graph: exp() of it is 0 in float32, and it is finite in bfloat16.
        mask = ((1.0 - attention_mask.to(torch.float32)) * -1e9)[:, None, None, :]
        if not self._relative:
            return mask
        places = torch.arange(attention_mask.size(1))
        offsets = places[None, :] - places[:, None]
        return mask + self.relative_bias[:, offsets + self._reach][None]


class TorchPooling(nn.Module):
    """Pools the last hidden state into one vector for each text, as sentence-transformers defines each mode."""

    def __init__(self, ending: Ending) -> None:
        super().__init__()
        plain = ending.as_plain()
        if plain is None:
            asked = ", ".join([mode.value for mode in ending.poolings] + [type(step).__name__ for step in ending.steps])
            raise UnsupportedModelError(
                f"behind its layers this model has {asked}. With torch (runtime='ipex', and method='qat' of any "
                f"runtime) only pooling by cls, mean or last is built in, and scaling to length 1: use "
                f"runtime='native' or 'openvino', and another method."
            )
        self._pooling, self._normalize = plain

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Pool (batch, length, hidden) into (batch, hidden) in float32; with CLS pooling length 1 is enough."""
        hidden = hidden.to(torch.float32)
        if self._pooling is Pooling.CLS:
            pooled = hidden[:, 0]
        elif self._pooling is Pooling.LAST:
            last = (attention_mask * torch.arange(attention_mask.size(1))).amax(dim=1)
            pooled = hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.size(2)))[:, 0]
        else:
            mask = attention_mask.to(hidden.dtype)[:, :, None]
            pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-9)
        return functional.normalize(pooled, dim=-1) if self._normalize else pooled


class _Embeddings(nn.Module):
    def __init__(self, config: EncoderConfig, weights: EncoderWeights) -> None:
        super().__init__()
        self._pad = config.pad_token_id
        self._after_padding = config.block.positions_after_padding
        self.words = nn.Embedding.from_pretrained(_tensor(weights.word_embeddings))
        self.positions = nn.Embedding.from_pretrained(_tensor(weights.position_embeddings))
        self.norm = _norm(weights.embedding_norm, config)

    def forward(self, input_ids: Tensor) -> Tensor:
        if self._after_padding:
            # transformers' create_position_ids_from_input_ids: padding gets the padding position,
            # the others count on from it.
            is_token = (input_ids != self._pad).to(torch.int64)
            position_ids = is_token.cumsum(dim=1) * is_token + self._pad
        else:
            # One row of positions for each text, not one for all: where both have the same shape,
            # IPEX adds and normalizes in one step, which rounds differently; so it always does.
            position_ids = torch.arange(input_ids.size(1)).expand_as(input_ids)
        embedded: Tensor = self.norm(self.words(input_ids) + self.positions(position_ids))
        return embedded


class EncoderLayer(nn.Module):
    """One post-norm layer; with `first_only` its output is (batch, 1, hidden).

    Attributes:
        scales: Factors of the inputs of some linear layers (SmoothQuant), by the name of the layer; `query` stands for
            key and value too.
    """

    def __init__(self, config: EncoderConfig, layer: LayerWeights, heads: Heads, *, first_only: bool) -> None:
        super().__init__()
        self._first_only = first_only
        self._heads, self._head_size = config.num_heads, heads.size
        self._activation = config.block.activation
        self.attention: Attention = functional.scaled_dot_product_attention
        self.attention_in_bfloat16 = False
        self.query, self.key, self.value = _linear(layer.query), _linear(layer.key), _linear(layer.value)
        self.attention_output = _linear(layer.attention_output)
        self.attention_norm = _norm(layer.attention_norm, config)
        self.intermediate = _linear(layer.intermediate)
        self.output = _linear(layer.output)
        self.output_norm = _norm(layer.output_norm, config)
        self.scales = nn.ParameterDict()

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        rows, attended = self._attend(hidden, bias)
        rows = self.attention_norm(self.attention_output(attended) + rows)
        inner = self._activate(self.intermediate(self._scaled(rows, "intermediate")))
        outer: Tensor = self.output_norm(self.output(self._scaled(inner, "output")) + rows)
        return outer

    def _attend(self, hidden: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows that the layer computes, and their attention's output: both (batch, length or 1, hidden)."""
        rows, inputs = hidden, self._scaled(hidden, "query")
        asking = inputs
        if self._first_only:
            # Copies: IPEX's int8 layers read a strided view as if it were not one, and give NaN.
            rows, asking, bias = rows[:, :1].contiguous(), inputs[:, :1].contiguous(), bias[:, :, :1]
        with self._bfloat16():
            query, key, value = self.query(asking), self.key(inputs), self.value(inputs)
        attended = self.attention(self._split(query), self._split(key), self._split(value), bias.to(query.dtype))
        return rows, attended.transpose(1, 2).flatten(2).to(rows.dtype)

    def _bfloat16(self) -> AbstractContextManager[object]:
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.attention_in_bfloat16 else nullcontext()

    def _scaled(self, inputs: Tensor, name: str) -> Tensor:
        return inputs * self.scales[name] if name in self.scales else inputs

    def _split(self, projected: Tensor) -> Tensor:
        """Reshape (batch, length, hidden) into (batch, heads, length, head_size)."""
        return projected.unflatten(-1, (self._heads, self._head_size)).transpose(1, 2)

    def _activate(self, inputs: Tensor) -> Tensor:
        if self._activation is Activation.RELU:
            return functional.relu(inputs)
        if self._activation is Activation.SILU:
            return functional.silu(inputs)
        return functional.gelu(inputs, approximate="tanh" if self._activation is Activation.GELU_TANH else "none")


def _linear(linear: Linear) -> nn.Linear:
    rows, columns = linear.weight.shape
    made = nn.Linear(columns, rows)
    made.weight.data, made.bias.data = _tensor(linear.weight), _tensor(linear.bias)
    return made


def _norm(norm: Norm | None, config: EncoderConfig) -> nn.LayerNorm:
    assert norm is not None  # every post-norm family has all three
    made = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
    made.weight.data, made.bias.data = _tensor(norm.weight), _tensor(norm.bias)
    return made


def _tensor(array: NDArray[np.float32]) -> Tensor:
    # torch warns of arrays that can't be written, as safetensors' memory maps are.
    return torch.from_numpy(array.copy())
