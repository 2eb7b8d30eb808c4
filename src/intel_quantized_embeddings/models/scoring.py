"""A cross-encoder's settings, read from its folder: the longest input, and the activation of scores."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.errors import DamagedFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.models.endings import scores_next_token, scoring_words
from intel_quantized_embeddings.models.modules import read_modules, read_transformer_config, refuse_unknown_keys
from intel_quantized_embeddings.models.pair_template import STRUCTURED, PairTemplate, asked_format, read_template
from intel_quantized_embeddings.models.prompts import read_prompts
from intel_quantized_embeddings.models.settings import read_max_length
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.models.tokenizer_files import TOKENIZER_FILE, special_tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Keys that a cross-encoder's `config_sentence_transformers.json` may have.
_OWN_CONFIG_KEYS = (
    "model_type",
    "activation_fn",
    "prompts",
    "default_prompt_name",
    "keep_in_fp32_modules",
    "__version__",
    "requirements",
)

# One token of a query, one of a document, and the special tokens of a pair, three or four.
FEWEST_TOKENS = 6


class Activation(str, Enum):
    """The activation of a score, by the last part of torch's name."""

    IDENTITY = "Identity"
    SIGMOID = "Sigmoid"

    def apply(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the activation to scores. Shape of both: (n_pairs,)."""
        if self is Activation.IDENTITY:
            return scores
        import numpy as np

        # tanh never overflows, as exp does.
        through: NDArray[np.float32] = (0.5 * (1 + np.tanh(0.5 * scores))).astype(np.float32)
        return through


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEncoderSettings:
    """The settings by which pairs of texts become scores, besides the weights.

    Attributes:
        max_length: Longest pair in tokens, special tokens included; longer ones are cut.
        activation: The activation of scores.
        lowercase: Whether texts are lowercased before tokenization, whatever the tokenizer does.
        modules: The modules that make a score of token vectors, in words; empty for the architecture's own classifier.
        template: The chat template of pairs, in Jinja; empty if the tokenizer's own template for pairs is used.
        instruction: The message before query and document in the template.
        in_parts: Whether each message in the template is a list of one part.
    """

    max_length: int
    activation: Activation
    lowercase: bool = False
    modules: tuple[str, ...] = ()
    template: str = ""
    instruction: str = ""
    in_parts: bool = False

    def tokenizer(self, folder: Path) -> Tokenizer:
        """Open a folder's tokenizer; raises the errors of `Tokenizer` and `PairTemplate`."""
        template = None
        if self.template:
            template = PairTemplate(
                self.template,
                instruction=self.instruction,
                in_parts=self.in_parts,
                special=special_tokens(folder),
                where=folder,
            )
        return Tokenizer(
            folder / TOKENIZER_FILE, max_length=self.max_length, lowercase=self.lowercase, pair_template=template
        )

    def override(self, *, max_length: int | None, max_positions: int) -> CrossEncoderSettings:
        """Replace the length by the caller's, if given; the OptionError names the allowed values."""
        if max_length is None:
            return dataclasses.replace(self, max_length=min(self.max_length, max_positions))
        if not FEWEST_TOKENS <= max_length <= max_positions:
            raise OptionError(
                f"max_length={max_length} is not allowed; it counts a pair's tokens, special ones among them: "
                f"{FEWEST_TOKENS} to {max_positions}, this model's positions."
            )
        return dataclasses.replace(self, max_length=max_length)


def read_cross_encoder_settings(
    folder: Path, *, name: str, default_max_length: int | None = None
) -> CrossEncoderSettings:
    """Read a cross-encoder's folder, as sentence-transformers and transformers write it.

    `name` is the model's name in errors, `default_max_length` is for a folder that does not give its longest input.
    """
    config = read_json(folder / "config.json")
    own, instruction = _own_config(folder / "config_sentence_transformers.json")
    modules, words = read_modules(folder), scoring_words(folder)
    if not words and (any(kind != "Transformer" for kind, _ in modules) or len(modules) > 1):
        raise UnsupportedModelError(
            f"{name} has the modules {', '.join(kind for kind, _ in modules)}; a cross-encoder is a Transformer alone, "
            f"or one with a LogitScore, or with a Pooling and a Dense, whose folder says that it is a CrossEncoder. "
            f"Load a model that makes embeddings with Encoder.load or Reranker.load."
        )
    where = next((where for _, where in modules), folder)
    if where.resolve() != folder.resolve():
        raise UnsupportedModelError(f"{name} keeps its transformer in {where}; it must lie in the folder itself.")
    task = "feature-extraction" if words else "sequence-classification"
    if scores_next_token(folder):
        task = "text-generation"
    transformer = read_transformer_config(folder, task=task, chats=True)
    chat = asked_format(folder, transformer, has_modules=bool(modules))
    if instruction and chat is None:
        raise UnsupportedModelError(
            f"{folder / 'config_sentence_transformers.json'} puts the prompt {instruction!r} before pairs "
            f"(default_prompt_name), which is built in for pairs that go through a chat template only."
        )
    return CrossEncoderSettings(
        max_length=read_max_length(folder, transformer, config, default_max_length),
        activation=_activation(config, own, name=name),
        lowercase=bool(transformer.get("do_lower_case")),
        modules=words,
        template="" if chat is None else read_template(folder),
        instruction=instruction,
        in_parts=chat == STRUCTURED,
    )


def _own_config(path: Path) -> tuple[dict[str, Any], str]:
    """Return the content of a file, and the prompt that it puts before pairs."""
    own = read_json(path)
    refuse_unknown_keys(own, _OWN_CONFIG_KEYS, path)
    kind = own.get("model_type", "CrossEncoder")
    if kind != "CrossEncoder":
        raise UnsupportedModelError(
            f"{path} has model_type={kind!r}; what scores pairs of texts is a 'CrossEncoder'. Load a model that makes "
            f"embeddings with Encoder.load or Reranker.load."
        )
    prompts, default = read_prompts(path)
    return own, "" if default is None else prompts[default]


def _activation(config: dict[str, Any], own: dict[str, Any], *, name: str) -> Activation:
    """Return the activation that sentence-transformers takes, from one of three places; sigmoid if none is named."""
    nested = config.get("sentence_transformers") or {}
    if not isinstance(nested, dict):
        raise DamagedFilesError(f"config.json of {name}: sentence_transformers is {nested!r}; a table is expected.")
    asked = (
        own.get("activation_fn") or nested.get("activation_fn") or config.get("sbert_ce_default_activation_function")
    )
    if not asked:
        return Activation.SIGMOID
    package, _, last = str(asked).rpartition(".")
    known = {activation.value: activation for activation in Activation}
    # For any class outside torch, sentence-transformers takes its own default instead.
    if package.split(".")[0] != "torch" or last not in known:
        allowed = " and ".join(known)
        raise UnsupportedModelError(f"{name} puts its scores through {asked!r}; built in are {allowed} of torch.nn.")
    return known[last]
