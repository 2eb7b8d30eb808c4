"""The description of a family of encoders, as data: `Architecture` and its parts.

The defaults are BERT's, so that a family says only how it differs. A family is a module that makes one `Architecture`
and a row in `architectures/table.py`. Readers and builders of models follow the description and know no family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from intel_quantized_embeddings.architectures.config_values import ConfigValues
from intel_quantized_embeddings.architectures.tensor_names import HeadNames, MaskedLMNames, WeightNames


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
class Heads:
    """The sizes of one layer's attention, whose heads of queries are as many in every layer.

    Attributes:
        size: Numbers in a head.
        keys: Heads of keys and values, each shared by as many heads of queries.
    """

    size: int
    keys: int


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
        value_norm: Whether each head of values has a norm, without weights.
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
    value_norm: bool = False
    biases: frozenset[Part] = ALL_PARTS
    token_types: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigKeys:
    """The keys of a family's `config.json` under which the sizes of a model stand.

    Attributes:
        layer_norm_eps: A key, or the number itself if no `config.json` decides it.
        num_key_heads: Heads of keys and values; None if there are always as many as of queries.
        head_size: None if all heads together are always as wide as the hidden state.
        attention_scale: The number whose root divides the scores, as a key, or itself if no `config.json` decides it;
            None if that is always the head's size.
        embedding_size: Numbers in an embedding; None if it is always the size of the hidden state.
        recall_size: Numbers in a layer's inputs from the embeddings; None without a third half of layers.
        output_size: Numbers in a token's vector; None if it is always the size of the hidden state.
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
    attention_scale: str | float | None = None
    embedding_size: str | None = None
    recall_size: str | None = None
    output_size: str | None = None


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
class Architecture:
    """The description of one family.

    Attributes:
        name: The family's name in messages.
        model_types: Values of `model_type` in `config.json`.
        sections: The key of the object that describes the encoder of texts in `config.json`, by the `model_type` of
            models that take images or sounds too. Their other encoders are left out.
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
        heads: Function that reads each layer's heads, from those that `keys` find too; None if all layers have these.
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
        longest_text: The longest input in tokens that its models are made for, if `config.json` may say far more; None
            if it is to be believed.
        refusals: Variants that are not built in, beside those of any family.
    """

    name: str
    model_types: tuple[str, ...]
    weights: WeightNames
    prefixes: tuple[str, ...]
    sections: Mapping[str, str] = field(default_factory=dict)
    written_as: Mapping[str, object] = field(default_factory=dict)
    head: HeadNames | None = None
    next_token: str | None = None
    masked_lm: MaskedLMNames | None = None
    block: Block = Block()
    biases: Callable[[ConfigValues], frozenset[Part]] | None = None
    layer_kinds: Callable[[ConfigValues], tuple[LayerKind, ...]] | None = None
    heads: Callable[[ConfigValues, Heads], tuple[Heads, ...]] | None = None
    embedding_factor: Callable[[int], float] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    own_code: tuple[str, ...] = ()
    position_types: tuple[str, ...] = ("absolute",)
    keys: ConfigKeys = ConfigKeys()
    default_norm_eps: float = 1e-12
    default_embedding_size: int | None = None
    default_attention_scale: float | None = None
    pad_token_id: int = 0
    longest_text: int | None = None
    refusals: tuple[Refusal, ...] = ()
