"""The description of a family of encoders, as data: `Architecture` and its parts.

The defaults are BERT's, so that a family says only how it differs. A family is a module that makes one `Architecture`
and a row in `architectures/table.py`. Readers and builders of models follow the description and know no family.
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
    """The places of a layer's norms around its two halves: attention and the feed-forward network.

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
        theta: The base of the frequencies.
        ntk: Factor by which positions are stretched for longer texts than those of the training, in GTE's way
            (https://arxiv.org/abs/2407.19669, section 2.1); 1 for none.
    """

    theta: float
    ntk: float = 1.0


@dataclass(frozen=True, slots=True)
class LayerKind:
    """The properties in which layers of one encoder differ.

    Attributes:
        before: Number of tokens before its own place that a query sees; None for all.
        after: Number of tokens behind its own place that a query sees; None for all.
        rotary: The rotary positions; None where positions are learned.
    """

    before: int | None = None
    after: int | None = None
    rotary: Rotary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The computation of an encoder, as flags that the builders read.

    An `Architecture` has the family's defaults, an `EncoderConfig` the values of one model.

    Attributes:
        positions_after_padding: Whether positions count from the padding id + 1, and padding has the position of that
            id (as in fairseq); else positions count from 0.
        relative_attention_buckets: Number of distances that a learned bias of attention scores tells apart, as in T5; 0
            without such a bias.
        alibi: Whether scores have a bias that grows with the distance, by a slope of each head, on both sides
            (https://arxiv.org/abs/2108.12409), instead of positions.
        activation: The activation between the two layers of the feed-forward network.
        gated: Whether the first layer's activated output is multiplied with that of a second layer beside it.
        norms: The places of the norms.
        rms_norm: Whether norms do not subtract the mean (https://arxiv.org/abs/1910.07467).
        norm_offset: Number that is added to the weights of norms.
        first_norm_missing: Whether the first layer, behind the norm over the embeddings, begins without one.
        biases: The parts that have biases.
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
    """The keys of a family's `config.json` under which the sizes of a model stand.

    Attributes:
        layer_norm_eps: A key, or the number itself if no `config.json` decides it.
        num_key_heads: Heads of keys and values; None if there are always as many as of queries.
        head_size: None if all heads together are always as wide as the hidden state.
        attention_scale: The number whose root divides the scores; None if that is always the head's size.
        embedding_size: Numbers in an embedding; None if it is always the size of the hidden state.
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
    """Values of a key of `config.json` that would load without an error and be computed wrongly.

    Attributes:
        key: The key; a file without it is fine.
        unless: The values that are built in.
        why: The rest of the sentence that names key and value.
    """

    key: str
    unless: tuple[object, ...]
    why: str


# For families whose layers differ in their positions: the key does not say which of them it scales.
NO_ROPE_SCALING = Refusal(
    key="rope_scaling",
    unless=(None, {"rope_type": "default"}, {"type": "default"}),
    why="scaled positions are not built in for this family.",
)


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
        final_norm: The norm behind the last layer.
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
    final_norm: str | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The description of one family.

    Attributes:
        name: The family's name in messages.
        model_types: Values of `model_type` in `config.json`.
        written_as: Keys and values of `config.json` that mean this family if `model_type` is another's.
        weights: The names of its tensors.
        head: Its sequence classifier; None if none is built in.
        next_token: The layer, without a bias, that gives a causal model's logits of the next token; the table of word
            embeddings if `config.json` ties the two. None if none is built in.
        masked_lm: Its masked-LM head; None if none is built in.
        prefixes: Prefixes of the encoder's tensors in checkpoints that have a head.
        block: The computation.
        biases: Function that reads which parts have biases; None if `config.json` does not decide it.
        layer_kinds: Function that reads in what layers differ; None if they do not.
        embedding_factor: Function from the width of the hidden state to the factor of word embeddings.
        renamed: Alternative keys of `config.json`, and the keys that they stand for.
        own_code: Prefixes of `auto_map` entries that name a repository's code which computes the same.
        position_types: The values of `position_embedding_type` that are built in.
        keys: The keys of its sizes in `config.json`.
        default_norm_eps: Number added to a norm's variance if `config.json` does not give it.
        default_embedding_size: Numbers in an embedding if `config.json` does not give it.
        default_attention_scale: The number whose root divides the scores if `config.json` does not give it; None for
            the head's size.
        pad_token_id: The padding id if `config.json` gives none.
        refusals: Variants that are not built in, beside those of any family.
    """

    name: str
    model_types: tuple[str, ...]
    weights: WeightNames
    prefixes: tuple[str, ...]
    written_as: Mapping[str, object] = field(default_factory=dict)
    head: HeadNames | None = None
    next_token: str | None = None
    masked_lm: MaskedLMNames | None = None
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
