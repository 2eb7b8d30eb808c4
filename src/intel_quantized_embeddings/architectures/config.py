"""`config.json` of a Hugging Face encoder -> `EncoderConfig`, in one vocabulary for every family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from intel_quantized_embeddings.architectures.description import Activation, Architecture, Block
from intel_quantized_embeddings.architectures.table import BUILT_IN, architecture_of
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError

_ACTIVATIONS = {
    "gelu": Activation.GELU,
    "gelu_new": Activation.GELU_TANH,
    "gelu_pytorch_tanh": Activation.GELU_TANH,
    "relu": Activation.RELU,
}

# Ids are 32 bits wide to the tokenizers library.
MOST_TOKENS = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """The numbers that make one encoder of a family.

    Attributes:
        architecture: The family, with the names of its tensors.
        block: What it computes.
        max_positions: Rows of the position table.
        max_length: The longest input in tokens that the position table can serve.
        first_position: Position of the first token: 0, or pad_token_id + 1.
    """

    architecture: Architecture
    block: Block
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    layer_norm_eps: float
    max_positions: int
    pad_token_id: int

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads

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
        return self.max_positions - self.first_position

    @staticmethod
    def from_hf(config: Mapping[str, Any], *, where: str, exported: bool = False) -> EncoderConfig:
        """Read the contents of a Hugging Face `config.json`.

        Args:
            config: The parsed file.
            where: What to call the model in an error.
            exported: Whether a graph computes it, whatever variant of the architecture it is.

        Raises:
            UnsupportedModelError: The architecture, or a variant of it, is not built in.
            DamagedFilesError: A size is missing or impossible.
        """
        architecture = _architecture(config, where=where)
        keys = architecture.keys
        if not exported:
            _refuse_variants(config, architecture, where=where)

        held = _Values(config, where=where)
        pad = config.get("pad_token_id")
        result = EncoderConfig(
            architecture=architecture,
            layer_norm_eps=held.positive(keys.layer_norm_eps, default=1e-12),
            vocab_size=held.size(keys.vocab_size),
            hidden_size=held.size(keys.hidden_size),
            num_layers=held.size(keys.num_layers),
            num_heads=held.size(keys.num_heads),
            intermediate_size=held.size(keys.intermediate_size),
            block=_block(architecture, held),
            max_positions=held.size(keys.max_positions),
            pad_token_id=pad if _is_whole(pad) else architecture.pad_token_id,
        )
        if result.hidden_size % result.num_heads:
            raise DamagedFilesError(
                f"config.json of {where}: {result.hidden_size} hidden units do not divide into "
                f"{result.num_heads} attention heads."
            )
        if not 0 <= result.pad_token_id < result.vocab_size or result.max_length < 1:
            raise DamagedFilesError(
                f"config.json of {where}: pad_token_id={result.pad_token_id} does not go with a vocabulary of "
                f"{result.vocab_size} tokens and {result.max_positions} positions."
            )
        return result


def exported_limits(config: Mapping[str, Any], *, default_max_length: int) -> tuple[int, int]:
    """Return the longest input in tokens and the padding id of an encoder that others exported.

    Args:
        config: Its `config.json`, of any architecture.
        default_max_length: The longest input where that does not say it.
    """
    try:
        known = EncoderConfig.from_hf(config, where="the export", exported=True)
    except (UnsupportedModelError, DamagedFilesError):
        pad, positions = config.get("pad_token_id"), config.get("max_position_embeddings")
        return (
            positions if _is_whole(positions) and positions > 0 else default_max_length,
            pad if _is_whole(pad) and 0 <= pad < MOST_TOKENS else 0,
        )
    return known.max_length, known.pad_token_id


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


class _Values:
    """What a `config.json` holds, checked."""

    def __init__(self, config: Mapping[str, Any], *, where: str) -> None:
        self._config = config
        self._where = where

    def size(self, key: str, *, default: int | None = None) -> int:
        value = self._config.get(key, default)
        if not _is_whole(value) or value < 1:
            raise DamagedFilesError(
                f"config.json of {self._where} has {key}={value!r}; a positive integer is needed there."
            )
        return value

    def positive(self, key: str | float, *, default: float) -> float:
        """Return the number under a key, or the one that stands in the key's place."""
        if not isinstance(key, str):
            return key
        value = self._config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise DamagedFilesError(f"config.json of {self._where} has {key}={value!r}; a positive number is needed.")
        return float(value)

    def activation(self, key: str, *, default: Activation) -> Activation:
        if key not in self._config:
            return default
        name = self._config[key]
        activation = _ACTIVATIONS.get(name) if isinstance(name, str) else None
        if activation is None:
            raise UnsupportedModelError(
                f"{self._where} uses the activation {name!r}; built in are {', '.join(sorted(_ACTIVATIONS))}."
            )
        return activation


def _block(architecture: Architecture, held: _Values) -> Block:
    """The family's flags, with what `config.json` decides of them."""
    keys, block = architecture.keys, architecture.block
    block = replace(block, activation=held.activation(keys.activation, default=block.activation))
    if keys.relative_attention_buckets is not None:
        buckets = held.size(keys.relative_attention_buckets, default=block.relative_attention_buckets)
        block = replace(block, relative_attention_buckets=buckets)
    return block


def _architecture(config: Mapping[str, Any], *, where: str) -> Architecture:
    architecture = architecture_of(config)
    if architecture is None:
        raise UnsupportedModelError(
            f"{where} is of architecture {config.get('model_type')!r}, which is not built in "
            f"(built in: {', '.join(BUILT_IN)}). Convert it to OpenVINO once with "
            f"pip install 'intel-quantized-embeddings[export]' and `iqe export MODEL FOLDER`, "
            f"then load the folder."
        )
    return architecture


# Classes that a repository's own code may replace, and with them the computation.
_MAPPED = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")


def _refuse_variants(config: Mapping[str, Any], architecture: Architecture, *, where: str) -> None:
    """Refuse what would load without complaint and compute something else."""
    position_type = config.get("position_embedding_type", "absolute")
    if position_type != "absolute":
        raise UnsupportedModelError(
            f"config.json of {where} has position_embedding_type={position_type!r}; only 'absolute' is built in."
        )
    if config.get("is_decoder"):
        raise UnsupportedModelError(f"config.json of {where} has is_decoder=true: it is a decoder, not an encoder.")
    mapped = config.get("auto_map") or {}
    if not isinstance(mapped, Mapping) or any(name in mapped for name in _MAPPED):
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
