"""An encoder's weights as arrays, the same classes for every family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Linear:
    """`x @ weight.T + bias`; weight is (out, in), bias is (out,), zeros where a family has none."""

    weight: Array
    bias: Array


@dataclass(frozen=True, slots=True)
class Norm:
    """A norm's scale and shift, each (hidden,); the shift is zeros where a family has none."""

    weight: Array
    bias: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """A layer's third half, behind the feed-forward network: the token's embedding counts once more.

    What is added to the hidden state h of an embedding e is
    norm(output(activation(gate(h)) * input_norm(inputs(e)))), and the sum is multiplied with a number. transformers
    calls this per-layer inputs.

    Attributes:
        inputs: (recall, hidden).
        input_norm: A norm without a mean over `inputs`' rows.
        gate: (recall, hidden).
        output: (hidden, recall).
        norm: The norm of what is added.
        factor: The number.
    """

    inputs: Linear
    input_norm: Norm
    gate: Linear
    output: Linear
    norm: Norm
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """The weights of one transformer layer. Parts that a family does not have are None.

    Attributes:
        gate: The layer that is activated and multiplied with the intermediate one, which is then not activated.
        query_norm: The weight of the norm of each head of queries, (head_size,).
        key_norm: The weight of the norm of each head of keys, (head_size,).
        value_norm: The weight of the norm of each head of values, (head_size,): ones.
        qkv_norm: The norm in front of attention.
        attention_norm: The norm behind attention.
        intermediate_norm: The norm in front of the feed-forward network.
        output_norm: The norm behind the feed-forward network.
        recall: The third half.
    """

    query: Linear
    key: Linear
    value: Linear
    attention_output: Linear
    intermediate: Linear
    output: Linear
    gate: Linear | None = None
    query_norm: Array | None = None
    key_norm: Array | None = None
    value_norm: Array | None = None
    qkv_norm: Norm | None = None
    attention_norm: Norm | None = None
    intermediate_norm: Norm | None = None
    output_norm: Norm | None = None
    recall: Recall | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderWeights:
    """The weights of an encoder, float32.

    Attributes:
        word_embeddings: (vocab, embedding), multiplied with the family's factor.
        position_embeddings: (max_positions, embedding), with the first token type's embedding
            already added: a text alone is all of type 0, so the sum is a constant. With rotary positions or ALiBi that
            embedding alone, (1, embedding), or zeros.
        embedding_norm: The norm over the embeddings; None without one.
        embedding_projection: The layer that makes hidden states of embeddings; None if they have that width.
        final_norm: The norm behind the last layer; None without one.
        output_projection: The layer behind that norm; None without one. No runtime builds it: `Ending.behind` takes it.
        relative_attention_bias: (buckets, heads); None if a family has none.
        second_text: The second token type's embedding less the first's, (embedding,), which is added to the tokens of a
            pair's second text. None without one. The tokenizer decides whether a text gets it.
    """

    word_embeddings: Array
    position_embeddings: Array
    embedding_norm: Norm | None
    layers: tuple[LayerWeights, ...]
    relative_attention_bias: Array | None
    second_text: Array | None = None
    embedding_projection: Linear | None = None
    final_norm: Norm | None = None
    output_projection: Linear | None = None
