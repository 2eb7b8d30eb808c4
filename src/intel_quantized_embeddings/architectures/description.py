"""What there is to say of a family of encoders, as data: `Architecture` and its parts.

The defaults are BERT's, so that a family says how it differs. A family is a module that makes one `Architecture` and
a row in `architectures/table.py`; whoever reads a model, or builds one, asks the description and knows no family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from intel_quantized_embeddings.architectures.config_values import ConfigValues


class Activation(str, Enum):
    """The feed-forward layer's non-linearity."""

    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    RELU = "relu"
    SILU = "silu"


class NormPlace(Enum):
    """Where the norms of a layer stand, around its two halves: attention and the feed-forward network.

    POST: on the sum of what goes into a half and what comes out, in the sum's place. PRE: on what goes into the half
    alone, and once more behind the last layer. SANDWICH: as PRE, and on what comes out of the half too, before it is
    added.
    """

    POST = "post"
    PRE = "pre"
    SANDWICH = "sandwich"


class Part(Enum):
    """The parts of a layer that have biases in some families."""

    QKV = "qkv"
    ATTENTION_OUTPUT = "attention_output"
    INTERMEDIATE = "intermediate"
    OUTPUT = "output"
    NORM = "norm"


ALL_PARTS = frozenset(Part)


@dataclass(frozen=True, slots=True)
class Rotary:
    """Rotary positions (https://arxiv.org/abs/2104.09864).

    Attributes:
        theta: Their base.
        ntk: So many times as long texts as they were trained for, by GTE's way of stretching them
            (https://arxiv.org/abs/2407.19669, section 2.1); 1 as they were trained.
    """

    theta: float
    ntk: float = 1.0


@dataclass(frozen=True, slots=True)
class LayerKind:
    """What differs from layer to layer.

    Attributes:
        before: So many tokens before its own place a query sees; None for all.
        after: And so many behind it.
        rotary: The rotary positions; None where positions are learned.
    """

    before: int | None = None
    after: int | None = None
    rotary: Rotary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What an encoder computes, by flags that the builders read.

    Of an `Architecture` they are what holds where `config.json` says nothing, of an `EncoderConfig` what holds.

    Attributes:
        positions_after_padding: Whether the first token has the position after the padding id, and padding, which
            counts no further, the one of that id (fairseq's habit); else positions count from 0.
        relative_attention_buckets: Distances that a learned bias of attention scores tells apart, as T5's does; 0
            without one.
        alibi: Whether scores have a bias that grows with the distance, by a slope of each head, on both sides
            (https://arxiv.org/abs/2108.12409), instead of positions.
        activation: What stands between the two layers of the feed-forward network.
        gated: Whether a second layer beside the first, which is activated, is multiplied with it.
        norms: Where they stand.
        rms_norm: Whether norms leave the mean where it is (https://arxiv.org/abs/1910.07467).
        norm_offset: What is added to the weights of norms.
        first_norm_missing: Whether the first layer, behind the norm over the embeddings, begins without one.
        biases: The parts that have them.
        token_types: Whether embeddings of token types are added.
    """

    positions_after_padding: bool = False
    relative_attention_buckets: int = 0
    alibi: bool = False
    activation: Activation = Activation.GELU
    gated: bool = False
    norms: NormPlace = NormPlace.POST
    rms_norm: bool = False
    norm_offset: float = 0.0
    first_norm_missing: bool = False
    biases: frozenset[Part] = ALL_PARTS
    token_types: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigKeys:
    """What a family calls in `config.json` what differs from model to model.

    Attributes:
        layer_norm_eps: A number where no `config.json` decides it.
        num_key_heads: Heads of keys and values; None where there are as many as of queries.
        head_size: None where all heads are as wide as the hidden state.
        attention_scale: What scores are divided by the root of; None where it is the head's size.
        embedding_size: Numbers in an embedding; None where there are always as many as in the hidden state.
    """

    vocab_size: str = "vocab_size"
    hidden_size: str = "hidden_size"
    num_layers: str = "num_hidden_layers"
    num_heads: str = "num_attention_heads"
    intermediate_size: str = "intermediate_size"
    activation: str = "hidden_act"
    layer_norm_eps: str | float = "layer_norm_eps"
    max_positions: str = "max_position_embeddings"
    num_key_heads: str | None = None
    head_size: str | None = None
    attention_scale: str | None = None
    embedding_size: str | None = None


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


# Of families whose layers differ in their positions: it would not be said which of them it scales.
NO_ROPE_SCALING = Refusal(
    key="rope_scaling",
    unless=(None, {"rope_type": "default"}, {"type": "default"}),
    why="scaled positions are not built in for this family.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightNames:
    """Which tensor is which weight: Hugging Face's names, without the prefix of a checkpoint that has a head.

    Those of a layer are relative to `layer.format(number)`. Names of linear layers and norms lack what names their
    two tensors.

    Attributes:
        position_embeddings: None where positions are rotary, or a bias of attention's scores.
        embedding_norm: The norm over the embeddings; None where there is none.
        embedding_projection: What makes hidden states of embeddings that are narrower or wider, behind that norm; None
            where they never are.
        qkv: Queries, keys and values in one layer, in this order; None where each has its own.
        gate: The layer that is activated and multiplied with the intermediate one; None where there is none, or where
            one layer is both.
        gate_and_intermediate: Both in one layer; None where each has its own.
        gate_first: Whether the gate comes first in it.
        query_norm: The norm of each head of queries, and so on for keys; None without.
        qkv_norm: The norm in front of attention, in families that have one there, and so on: `attention_norm` and
            `output_norm` are behind a half of the layer, the others in front.
        final_norm: The one behind the last layer.
        norm_parts: What norms call their scale and shift; checkpoints converted from TensorFlow say gamma and beta.
        token_type_embeddings: None where there are no token types.
        relative_attention_bias: None where the block has no relative buckets.
        none_of: Layers that a variant has which is not built in, and whose files say nothing else of it.
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
    final_norm: str | None = None
    norm_parts: tuple[tuple[str, str], ...] = (("weight", "bias"), ("gamma", "beta"))
    token_type_embeddings: str | None = None
    relative_attention_bias: str | None = None
    none_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadNames:
    """Names of the layers of a cross-encoder's head.

    Attributes:
        dense: The one on the pooled vector, the first token's; None where `output` is alone.
        output: The one that gives the scores.
        activation: What follows the dense one, by transformers' name.
        norm: A layer norm between the two; None without one.
        activation_key: The key of `config.json` that names another one; None where it does not decide it.
        pooling: The key of `config.json` that says which vector is pooled, "cls" or "mean"; None for the first token's.
        last_token: Whether the last token's vector is pooled, where no key says it.
        may_lack_biases: Whether a layer of it may have no bias.
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
class Architecture:
    """All there is of one family.

    Attributes:
        name: What messages call it.
        model_types: What `config.json` calls it.
        written_as: What it says of it instead, where `model_type` is another family's.
        weights: Its tensors.
        head: Its sequence classifier; None where none is built in.
        next_token: The layer that gives a causal model's scores of each token as the next one, without a bias. Where
            `config.json` ties it, it is the table of words. None where none is built in.
        prefixes: What its checkpoints with a head put before every name of the encoder.
        block: What it computes.
        biases: Reads which parts have biases; None where `config.json` does not decide it.
        layer_kinds: Reads what differs from layer to layer; None where nothing does.
        embedding_factor: What embeddings of words are multiplied with, by the width of the hidden state.
        renamed: Other names of keys in `config.json`, and those that are meant.
        own_code: How entries of `auto_map` begin that name a repository's code which computes the same.
        position_types: The values of `position_embedding_type` that mean what is built in.
        keys: Its sizes in `config.json`.
        default_norm_eps: What is added to a norm's variance where `config.json` does not say it.
        default_embedding_size: Numbers in an embedding where `config.json` does not say it.
        default_attention_scale: What scores are divided by the root of where `config.json` does not say it; None where
            it is the head's size.
        pad_token_id: The padding id where `config.json` names none.
        refusals: Variants that are not built in, beside those of any family.
    """

    name: str
    model_types: tuple[str, ...]
    weights: WeightNames
    prefixes: tuple[str, ...]
    written_as: Mapping[str, object] = field(default_factory=dict)
    head: HeadNames | None = None
    next_token: str | None = None
    block: Block = Block()
    biases: Callable[[ConfigValues], frozenset[Part]] | None = None
    layer_kinds: Callable[[ConfigValues], tuple[LayerKind, ...]] | None = None
    embedding_factor: Callable[[int], float] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    own_code: tuple[str, ...] = ()
    position_types: tuple[str, ...] = ("absolute",)
    keys: ConfigKeys = ConfigKeys()
    default_norm_eps: float = 1e-12
    default_embedding_size: int | None = None
    default_attention_scale: float | None = None
    pad_token_id: int = 0
    refusals: tuple[Refusal, ...] = ()
