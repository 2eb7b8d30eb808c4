"""`config.json` of a Hugging Face encoder -> `EncoderConfig`, in one vocabulary for every family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from intel_quantized_embeddings.architectures.config_values import ConfigValues, is_whole
from intel_quantized_embeddings.architectures.description import (
    Activation,
    Architecture,
    Block,
    Heads,
    LayerKind,
    Rotary,
)
from intel_quantized_embeddings.architectures.not_built_in import why_not
from intel_quantized_embeddings.architectures.table import BUILT_IN, architecture_of
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError

_ACTIVATIONS = {
    "gelu": Activation.GELU,
    "gelu_new": Activation.GELU_TANH,
    "gelu_pytorch_tanh": Activation.GELU_TANH,
    "relu": Activation.RELU,
    "silu": Activation.SILU,
    "swish": Activation.SILU,
}
# Names of an activation and a gate together.
_GATED_ACTIVATIONS = {"swiglu": Activation.SILU, "geglu": Activation.GELU, "reglu": Activation.RELU}

# Ids are 32 bits wide to the tokenizers library.
MOST_TOKENS = 2**32
# The longest input in tokens, however many positions rotary embeddings could tell apart.
LONGEST_TEXT = 2**17


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """The numbers that make one encoder of a family.

    Attributes:
        architecture: The family, with the names of its tensors.
        block: The computation, as flags.
        num_heads: Heads of queries.
        heads: For each layer, the sizes of its heads.
        attention_scale: Factor of attention's scores.
        embedding_size: Numbers in an embedding, before they become a hidden state.
        recall_size: Numbers in a layer's inputs from the embeddings; 0 without a third half of layers.
        output_size: Numbers in a token's vector.
        layers: For each layer, what differs between layers.
        max_positions: Rows of the position table, or the longest input where positions are rotary.
        max_length: The longest input in tokens that the positions can serve.
        first_position: Position of the first token: 0, or pad_token_id + 1.
        embedding_factor: Factor of word embeddings.
    """

    architecture: Architecture
    block: Block
    vocab_size: int
    hidden_size: int
    embedding_size: int
    recall_size: int
    output_size: int
    num_heads: int
    heads: tuple[Heads, ...]
    attention_scale: float
    layers: tuple[LayerKind, ...]
    embedding_factor: float
    intermediate_size: int
    layer_norm_eps: float
    max_positions: int
    pad_token_id: int

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def rotaries(self) -> tuple[Rotary, ...]:
        """The rotary positions that layers have, each once; none where positions are learned."""
        return tuple(dict.fromkeys(layer.rotary for layer in self.layers if layer.rotary is not None))

    @property
    def activation(self) -> Activation:
        return self.block.activation

    @property
    def relative_attention_buckets(self) -> int:
        return self.block.relative_attention_buckets

    @property
    def first_position(self) -> int:
        return self.pad_token_id + 1 if self.block.positions_after_padding else 0

    @property
    def max_length(self) -> int:
        return min(self.max_positions - self.first_position, self.architecture.longest_text or LONGEST_TEXT)

    @staticmethod
    def from_hf(config: Mapping[str, Any], *, where: str, exported: bool = False) -> EncoderConfig:
        """Read the contents of a Hugging Face `config.json`.

        Args:
            config: The parsed file.
            where: What to call the model in an error.
            exported: Whether an exported graph computes it, so that any variant of the architecture is allowed.

        Raises:
            UnsupportedModelError: The architecture, or a variant of it, is not built in.
            DamagedFilesError: A size is missing or impossible.
        """
        architecture = _architecture(config, where=where)
        keys = architecture.keys
        config = {architecture.renamed.get(key, key): value for key, value in config.items()} | {
            key: value for key, value in config.items() if key not in architecture.renamed
        }
        if not exported:
            _refuse_variants(config, architecture, where=where)

        held = ConfigValues(config, where=where)
        pad = config.get("pad_token_id")
        hidden, heads = held.size(keys.hidden_size), held.size(keys.num_heads)
        usual = Heads(
            size=_head_size(held, architecture, hidden=hidden, heads=heads),
            keys=_key_heads(held, architecture, heads=heads),
        )
        scaled_by = held.positive(
            keys.attention_scale or usual.size, default=architecture.default_attention_scale or usual.size
        )
        layers = _layers(held, architecture)
        factor = architecture.embedding_factor
        result = EncoderConfig(
            architecture=architecture,
            layer_norm_eps=held.positive(keys.layer_norm_eps, default=architecture.default_norm_eps),
            vocab_size=held.size(keys.vocab_size),
            hidden_size=hidden,
            embedding_size=_embedding_size(held, architecture, hidden=hidden),
            recall_size=0 if keys.recall_size is None else held.size(keys.recall_size),
            output_size=hidden if keys.output_size is None else held.size(keys.output_size),
            num_heads=heads,
            heads=(usual,) * len(layers) if architecture.heads is None else architecture.heads(held, usual),
            attention_scale=scaled_by**-0.5,
            layers=layers,
            embedding_factor=1.0 if factor is None else factor(hidden),
            intermediate_size=held.size(keys.intermediate_size),
            block=_block(architecture, held),
            max_positions=held.size(keys.max_positions),
            pad_token_id=pad if is_whole(pad) else architecture.pad_token_id,
        )
        for own in dict.fromkeys(result.heads):
            if result.rotaries and own.size % 2:
                raise held.damaged(f"has heads of {own.size} numbers, which rotary positions can't take in pairs.")
            if heads % own.keys:
                raise DamagedFilesError(
                    f"config.json of {where}: {heads} heads of queries do not divide into {own.keys} heads of keys and "
                    f"values."
                )
        if not 0 <= result.pad_token_id < result.vocab_size or result.max_length < 1:
            raise DamagedFilesError(
                f"config.json of {where}: pad_token_id={result.pad_token_id} does not go with a vocabulary of "
                f"{result.vocab_size} tokens and {result.max_positions} positions."
            )
        return result


def hidden_size(config: Mapping[str, Any]) -> int | None:
    """Return the size of a token's vector, by any architecture's `config.json`; None if it is not given."""
    architecture = architecture_of(config)
    keys: tuple[str, ...] = ("hidden_size", "dim", "d_model")
    if architecture is not None:
        own = architecture.keys.output_size or architecture.keys.hidden_size
        keys = (own, *(key for key, meant in architecture.renamed.items() if meant == own))
    return next((config[key] for key in keys if is_whole(config.get(key)) and config[key] > 0), None)


def exported_limits(config: Mapping[str, Any], *, default_max_length: int) -> tuple[int, int]:
    """Return the longest input in tokens and the padding id of an encoder that others exported.

    Args:
        config: Its `config.json`, of any architecture.
        default_max_length: The longest input if `config.json` does not give it.
    """
    try:
        known = EncoderConfig.from_hf(config, where="the export", exported=True)
    except (UnsupportedModelError, DamagedFilesError):
        pad, positions = config.get("pad_token_id"), config.get("max_position_embeddings")
        return (
            positions if is_whole(positions) and positions > 0 else default_max_length,
            pad if is_whole(pad) and 0 <= pad < MOST_TOKENS else 0,
        )
    return known.max_length, known.pad_token_id


def _block(architecture: Architecture, held: ConfigValues) -> Block:
    """Return the family's flags, with those that `config.json` decides."""
    block = architecture.block
    block = replace(block, activation=_activation(held, architecture.keys.activation, block))
    if architecture.weights.token_type_embeddings is not None and held.named("type_vocab_size") == 0:
        block = replace(block, token_types=False)
    return block if architecture.biases is None else replace(block, biases=architecture.biases(held))


def _activation(held: ConfigValues, key: str, block: Block) -> Activation:
    if key not in held:
        return block.activation
    name = held.named(key)
    known = _ACTIVATIONS | (_GATED_ACTIVATIONS if block.gated else {})
    activation = known.get(name) if isinstance(name, str) else None
    if activation is None:
        raise held.refuse(f"has the activation {name!r}; built in are {', '.join(sorted(known))} ({key}).")
    return activation


def _head_size(held: ConfigValues, architecture: Architecture, *, hidden: int, heads: int) -> int:
    key = architecture.keys.head_size
    if key is not None and held.named(key) is not None:
        return held.size(key)
    if hidden % heads:
        raise held.damaged(
            f"has sizes that don't fit: {hidden} hidden units do not divide into {heads} attention heads."
        )
    return hidden // heads


def _embedding_size(held: ConfigValues, architecture: Architecture, *, hidden: int) -> int:
    key = architecture.keys.embedding_size
    return hidden if key is None else held.size(key, default=architecture.default_embedding_size)


def _key_heads(held: ConfigValues, architecture: Architecture, *, heads: int) -> int:
    key = architecture.keys.num_key_heads
    return heads if key is None or held.named(key) is None else held.size(key)


def _layers(held: ConfigValues, architecture: Architecture) -> tuple[LayerKind, ...]:
    if architecture.layer_kinds is not None:
        return architecture.layer_kinds(held)
    return (LayerKind(),) * held.layers(architecture.keys.num_layers)


def _architecture(config: Mapping[str, Any], *, where: str) -> Architecture:
    architecture = architecture_of(config)
    if architecture is None:
        model_type = config.get("model_type")
        raise UnsupportedModelError(
            f"{where} is of architecture {model_type!r}, which is not built in (built in: {', '.join(BUILT_IN)}). "
            f"{why_not(model_type)}"
        )
    return architecture


# Classes that a repository's own code may replace, and with them the computation.
_MAPPED = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")


def _refuse_variants(config: Mapping[str, Any], architecture: Architecture, *, where: str) -> None:
    """Refuse variants that would load without an error and be computed wrongly."""
    position_type = config.get("position_embedding_type", "absolute")
    if position_type not in architecture.position_types:
        raise UnsupportedModelError(
            f"config.json of {where} has position_embedding_type={position_type!r}; built in for {architecture.name} "
            f"is {' or '.join(map(repr, architecture.position_types))}."
        )
    if config.get("is_decoder"):
        raise UnsupportedModelError(f"config.json of {where} has is_decoder=true: it is a decoder, not an encoder.")
    mapped = config.get("auto_map") or {}
    if not isinstance(mapped, Mapping) or any(
        not str(mapped[name]).startswith(architecture.own_code or "\0") for name in _MAPPED if name in mapped
    ):
        raise UnsupportedModelError(
            f"config.json of {where} has auto_map={mapped!r}: a model of the repository's own code, which is not run "
            f"here. Convert it to OpenVINO once, trusting that code, with optimum-intel's optimum-cli export "
            f"openvino --trust-remote-code, then load the folder."
        )
    quantized = config.get("quantization_config")
    if quantized:
        raise UnsupportedModelError(
            f"config.json of {where} has quantization_config={quantized!r}: weights in another library's low "
            f"precision, which is not built in. Load the model that it was made from, which is quantized here."
        )
    if config.get("pruned_heads"):
        pruned = config["pruned_heads"]
        raise UnsupportedModelError(f"config.json of {where} has pruned_heads={pruned!r}, which is not built in.")
    for refusal in architecture.refusals:
        value = config.get(refusal.key)
        if refusal.key in config and value not in refusal.unless:
            raise UnsupportedModelError(f"config.json of {where} has {refusal.key}={value!r}; {refusal.why}")
