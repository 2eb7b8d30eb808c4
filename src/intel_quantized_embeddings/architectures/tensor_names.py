"""Names of a family's tensors in checkpoints, as data: those of its encoder and of its heads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallNames:
    """Names of the parts of a layer's third half, which recalls the embeddings (`layers.Recall`).

    Attributes:
        inputs: The layer that makes the inputs of all layers of an embedding, one behind another; not in a layer.
        input_norm: The norm of each layer's inputs; not in a layer.
        gate: The layer that is activated and multiplied with the inputs.
        output: The layer behind that.
        norm: The norm of what is added.
        factor: The whole name of the number that a layer's output is multiplied with.
    """

    inputs: str
    input_norm: str
    gate: str
    output: str
    norm: str
    factor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightNames:
    """Hugging Face's names of the tensors, without the prefix of a checkpoint that has a head.

    Names of a layer's tensors are relative to `layer.format(number)`. Names of linear layers and norms lack the
    suffixes of their two tensors.

    Attributes:
        position_embeddings: None where positions are rotary, or a bias of attention's scores.
        embedding_norm: The norm over the embeddings; None where there is none.
        embedding_projection: The linear layer behind that norm that makes hidden states of narrower or wider
            embeddings; None if embeddings always have the hidden state's width.
        qkv: The layer of queries, keys and values, in this order; None if each has its own.
        gate: The layer that is activated and multiplied with the intermediate one; None if there is none, or if one
            layer is both.
        gate_and_intermediate: The layer that is both; None if each has its own.
        gate_first: Whether the gate comes first in that layer.
        query_norm: The norm of each head of queries; None without one. `key_norm` is the same for keys.
        qkv_norm: The norm in front of attention; None without one. `intermediate_norm` is in front of the feed-forward
            network, `attention_norm` and `output_norm` are behind the two.
        recall: A layer's third half; None without one.
        final_norm: The norm behind the last layer.
        output_projection: The linear layer behind that norm, without a bias; None without one.
        norm_parts: The suffixes of a norm's scale and shift; checkpoints converted from TensorFlow have gamma and beta.
        token_type_embeddings: None where there are no token types.
        relative_attention_bias: None where the block has no relative buckets.
        none_of: Layers of variants that are not built in and that only such tensors reveal.
    """

    word_embeddings: str
    layer: str
    attention_output: str
    output: str
    position_embeddings: str | None = None
    embedding_norm: str | None = None
    embedding_projection: str | None = None
    qkv: str | None = None
    query: str = ""
    key: str = ""
    value: str = ""
    intermediate: str = ""
    gate: str | None = None
    gate_and_intermediate: str | None = None
    gate_first: bool = True
    query_norm: str | None = None
    key_norm: str | None = None
    qkv_norm: str | None = None
    attention_norm: str | None = None
    intermediate_norm: str | None = None
    output_norm: str | None = None
    recall: RecallNames | None = None
    final_norm: str | None = None
    output_projection: str | None = None
    norm_parts: tuple[tuple[str, str], ...] = (("weight", "bias"), ("gamma", "beta"))
    token_type_embeddings: str | None = None
    relative_attention_bias: str | None = None
    none_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadNames:
    """Names of the layers of a cross-encoder's head.

    Attributes:
        dense: The layer on the pooled vector; None if `output` is the only layer.
        output: The layer that gives the scores.
        activation: The activation behind `dense`, by transformers' name.
        norm: A layer norm between the two; None without one.
        activation_key: The key of `config.json` that names another activation; None if none does.
        pooling: The key of `config.json` that names the pooling, "cls" or "mean"; None for the first token's vector.
        last_token: Whether the last token's vector is pooled, if no key names the pooling.
        may_lack_biases: Whether a layer of the head may have no bias.
    """

    dense: str | None
    output: str
    activation: str = "tanh"
    norm: str | None = None
    activation_key: str | None = None
    pooling: str | None = None
    last_token: bool = False
    may_lack_biases: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedLMNames:
    """Names of the layers of a masked-LM head, which gives a token's vector a number for each token of the vocabulary.

    Attributes:
        dense: The first layer, from hidden to hidden; it may have no bias.
        norm: The layer norm behind it.
        decoder: The layer that gives the numbers. Unless `config.json` unties it, its weight is the table of words.
        bias: Its bias; a model may have none.
        activation: What follows the dense one, by transformers' name.
        activation_key: The key of `config.json` that names another one; None where it does not decide it.
    """

    dense: str
    norm: str
    decoder: str
    bias: str
    activation: str = "gelu"
    activation_key: str | None = None
