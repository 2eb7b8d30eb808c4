"""What there is to say of a family of encoders, as data: `Architecture` and its parts.

The defaults are BERT's, so that a family says how it differs. A family is a module that makes one `Architecture` and
a row in `architectures/table.py`; whoever reads a model, or builds one, asks the description and knows no family.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Activation(str, Enum):
    """The feed-forward layer's non-linearity."""

    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    RELU = "relu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What an encoder computes, by flags that the builders read.

    Of an `Architecture` they are what holds where `config.json` says nothing, of an `EncoderConfig` what holds. What is
    no flag here is the same in every family: post-norm layers with a bias everywhere, learned positions, and a norm
    over the embeddings.

    Attributes:
        positions_after_padding: Whether the first token has the position after the padding id, and padding, which
            counts no further, the one of that id (fairseq's habit); else positions count from 0.
        relative_attention_buckets: Distances that a learned bias of attention scores tells apart, as T5's does; 0
            without one.
        activation: What stands between the two layers of the feed-forward network.
    """

    positions_after_padding: bool = False
    relative_attention_buckets: int = 0
    activation: Activation = Activation.GELU


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigKeys:
    """What a family calls in `config.json` what differs from model to model.

    Attributes:
        layer_norm_eps: A number where no `config.json` decides it.
        relative_attention_buckets: None where there are none.
    """

    vocab_size: str = "vocab_size"
    hidden_size: str = "hidden_size"
    num_layers: str = "num_hidden_layers"
    num_heads: str = "num_attention_heads"
    intermediate_size: str = "intermediate_size"
    activation: str = "hidden_act"
    layer_norm_eps: str | float = "layer_norm_eps"
    max_positions: str = "max_position_embeddings"
    relative_attention_buckets: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Values of a key of `config.json` that would load without complaint and compute something else.

    Attributes:
        key: The key; a file without it is fine.
        unless: The values that are built in.
        why: The rest of the sentence that names key and value.
    """

    key: str
    unless: tuple[object, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightNames:
    """Which tensor is which weight: Hugging Face's names, without the prefix of a checkpoint that has a head.

    Those of a layer are relative to `layer.format(number)`. Names of linear layers and norms lack what names their
    two tensors.

    Attributes:
        norm_parts: What norms call their scale and shift; checkpoints converted from TensorFlow say gamma and beta.
        token_type_embeddings: None where there are no token types.
        relative_attention_bias: None where the block has no relative buckets.
    """

    word_embeddings: str
    position_embeddings: str
    embedding_norm: str
    layer: str
    query: str
    key: str
    value: str
    attention_output: str
    attention_norm: str
    intermediate: str
    output: str
    output_norm: str
    norm_parts: tuple[tuple[str, str], ...] = (("weight", "bias"), ("gamma", "beta"))
    token_type_embeddings: str | None = None
    relative_attention_bias: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadNames:
    """Names of the two layers of a cross-encoder's head.

    Attributes:
        dense: The one on the first token's vector.
        with_tanh: Whether tanh follows it; relu otherwise.
        output: The one that gives the scores.
    """

    dense: str
    output: str
    with_tanh: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """All there is of one family.

    Attributes:
        name: What messages call it.
        model_types: What `config.json` calls it.
        weights: Its tensors.
        head: Its sequence classifier.
        prefixes: What its checkpoints with a head put before every name of the encoder.
        block: What it computes.
        keys: Its sizes in `config.json`.
        pad_token_id: The padding id where `config.json` names none.
        tells_texts_apart: Whether a pair's second text is of the second token type. Elsewhere tokenizers give no types,
            whatever the size of the table.
        refusals: Variants that are not built in, beside those of any family.
    """

    name: str
    model_types: tuple[str, ...]
    weights: WeightNames
    head: HeadNames
    prefixes: tuple[str, ...]
    block: Block = Block()
    keys: ConfigKeys = ConfigKeys()
    pad_token_id: int = 0
    tells_texts_apart: bool = False
    refusals: tuple[Refusal, ...] = ()
