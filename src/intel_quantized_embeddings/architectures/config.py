"""`config.json` of a Hugging Face encoder -> `EncoderConfig`, in one vocabulary for every family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeGuard

from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError


class Family(str, Enum):
    """The encoder families that are built in; all are post-norm BERTs with small differences."""

    BERT = "bert"
    ROBERTA = "roberta"
    DISTILBERT = "distilbert"
    MPNET = "mpnet"


class Activation(str, Enum):
    """The feed-forward layer's non-linearity."""

    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    RELU = "relu"


# XLM-RoBERTa and CamemBERT are RoBERTa with another vocabulary.
_FAMILIES = {
    "bert": Family.BERT,
    "roberta": Family.ROBERTA,
    "xlm-roberta": Family.ROBERTA,
    "camembert": Family.ROBERTA,
    "distilbert": Family.DISTILBERT,
    "mpnet": Family.MPNET,
}

# As `config.json` calls them.
BUILT_IN = tuple(sorted(_FAMILIES))

_ACTIVATIONS = {
    "gelu": Activation.GELU,
    "gelu_new": Activation.GELU_TANH,
    "gelu_pytorch_tanh": Activation.GELU_TANH,
    "relu": Activation.RELU,
}

# Families whose position embeddings start after the padding id (fairseq's habit):
# the first token has position pad_token_id + 1, and padding does not advance it.
_POSITIONS_AFTER_PADDING = (Family.ROBERTA, Family.MPNET)


# Ids are 32 bits wide to the tokenizers library.
MOST_TOKENS = 2**32


@dataclass(frozen=True, slots=True)
class _Keys:
    """A family's names of sizes in `config.json`, and its default ids."""

    hidden_size: str = "hidden_size"
    num_layers: str = "num_hidden_layers"
    num_heads: str = "num_attention_heads"
    intermediate_size: str = "intermediate_size"
    activation: str = "hidden_act"
    pad_token_id: int = 0


_KEYS = {
    Family.BERT: _Keys(),
    Family.ROBERTA: _Keys(pad_token_id=1),
    Family.MPNET: _Keys(pad_token_id=1),
    Family.DISTILBERT: _Keys(
        hidden_size="dim",
        num_layers="n_layers",
        num_heads="n_heads",
        intermediate_size="hidden_dim",
        activation="activation",
    ),
}


def is_built_in(config: Mapping[str, Any]) -> bool:
    """Return whether the architecture that a `config.json` names can be built here."""
    model_type = config.get("model_type")
    return isinstance(model_type, str) and model_type in _FAMILIES


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """The numbers that make one encoder of a family.

    Attributes:
        max_positions: Rows of the position table.
        max_length: The longest input in tokens that the position table can serve.
        first_position: Position of the first token: 0, or pad_token_id + 1.
        relative_attention_buckets: MPNet's relative position buckets, 0 elsewhere.
    """

    family: Family
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    activation: Activation
    layer_norm_eps: float
    max_positions: int
    pad_token_id: int
    relative_attention_buckets: int = 0

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def positions_after_padding(self) -> bool:
        return self.family in _POSITIONS_AFTER_PADDING

    @property
    def first_position(self) -> int:
        return self.pad_token_id + 1 if self.positions_after_padding else 0

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
        family = _family(config, where=where)
        keys = _KEYS[family]
        if not exported:
            _refuse_variants(config, family, where=where)

        def size(key: str, default: int | None = None) -> int:
            value = config.get(key, default)
            if not _is_whole(value) or value < 1:
                raise DamagedFilesError(
                    f"config.json of {where} has {key}={value!r}; a positive integer is needed there."
                )
            return value

        # DistilBERT's is fixed, whatever its config.json says.
        eps = 1e-12 if family is Family.DISTILBERT else config.get("layer_norm_eps", 1e-12)
        if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not eps > 0:
            raise DamagedFilesError(f"config.json of {where} has layer_norm_eps={eps!r}; a positive number is needed.")
        pad = config.get("pad_token_id")
        result = EncoderConfig(
            family=family,
            vocab_size=size("vocab_size"),
            hidden_size=size(keys.hidden_size),
            num_layers=size(keys.num_layers),
            num_heads=size(keys.num_heads),
            intermediate_size=size(keys.intermediate_size),
            activation=_activation(config.get(keys.activation, "gelu"), where=where),
            layer_norm_eps=float(eps),
            max_positions=size("max_position_embeddings"),
            pad_token_id=pad if _is_whole(pad) else keys.pad_token_id,
            relative_attention_buckets=(
                size("relative_attention_num_buckets", default=32) if family is Family.MPNET else 0
            ),
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


def _family(config: Mapping[str, Any], *, where: str) -> Family:
    model_type = config.get("model_type")
    family = _FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise UnsupportedModelError(
            f"{where} is of architecture {model_type!r}, which is not built in "
            f"(built in: {', '.join(BUILT_IN)}). Convert it to OpenVINO once with "
            f"pip install 'intel-quantized-embeddings[export]' and `iqe export MODEL FOLDER`, "
            f"then load the folder."
        )
    return family


def _activation(name: object, *, where: str) -> Activation:
    activation = _ACTIVATIONS.get(name) if isinstance(name, str) else None
    if activation is None:
        raise UnsupportedModelError(
            f"{where} uses the activation {name!r}; built in are {', '.join(sorted(_ACTIVATIONS))}."
        )
    return activation


# Classes that a repository's own code may replace, and with them the computation.
_MAPPED = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")


def _refuse_variants(config: Mapping[str, Any], family: Family, *, where: str) -> None:
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
    if family is Family.MPNET and config.get("pad_token_id", 1) not in (1, None):
        raise UnsupportedModelError(
            f"config.json of {where} has pad_token_id={config['pad_token_id']!r}; MPNet counts positions from the "
            f"padding id 1, whatever that file says, and no other is built in."
        )
