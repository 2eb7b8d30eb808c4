"""A sparse model's settings, read from its folder: the pooling of tokens into a row, and the rows' similarity.

Reads what sentence-transformers' SparseEncoder writes, versions 5 and 6, and checkpoints of transformers that name a
masked-LM head, which that class takes for SPLADE models too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.architectures import TOKEN_WEIGHTS_FILE, SparsePooling
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.models.modules import read_modules, read_transformer_config, refuse_unknown_keys
from intel_quantized_embeddings.models.prompts import SPARSE_TYPE, read_instructions, read_similarity
from intel_quantized_embeddings.models.routes import own_config_file
from intel_quantized_embeddings.models.settings import read_max_length
from intel_quantized_embeddings.models.static import UNLIMITED
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.models.tokenizer_files import TOKENIZER_FILE, special_tokens
from intel_quantized_embeddings.models.weight_table import MODULE as TABLE
from intel_quantized_embeddings.similarity import Similarity

_TRANSFORMERS = ("MLMTransformer", "Transformer")
POOLING = "SpladePooling"
# `embedding_dimension` is the vocabulary's size, which the weights say.
_POOLING_KEYS = ("pooling_strategy", "activation_function", "embedding_dimension", "word_embedding_dimension")
_OWN_CONFIG_KEYS = (
    "model_type",
    "prompts",
    "default_prompt_name",
    "similarity_fn_name",
    "max_active_dims",
    "__version__",
    "requirements",
)
_MASKED_LM = "ForMaskedLM"
_PICKLED = "sparse_linear.pt"
_WITHOUT_WEIGHT = ("cls_token", "eos_token", "pad_token", "unk_token")


class SparseActivation(str, Enum):
    """The activation behind a masked-LM head, by sentence-transformers' names.

    RELU: log(1 + max(x, 0)). LOG1P_RELU: log(1 + x) of that once more, as OpenSearch's models have it
    (https://arxiv.org/abs/2504.14839).
    """

    RELU = "relu"
    LOG1P_RELU = "log1p_relu"

    @property
    def logarithms(self) -> int:
        """The number of times that log(1 + x) is taken."""
        return 2 if self is SparseActivation.LOG1P_RELU else 1


class SparseHead(str, Enum):
    """The head that makes weights of token vectors.

    MASKED_LM: a masked-LM head, which weighs all tokens of the vocabulary. TOKEN_WEIGHTS: one linear layer, which
    weighs the text's own tokens, as in bge-m3 beside its dense vectors. TABLE: no layers at all; the text's own tokens
    have their weights from a table, as the queries of OpenSearch's inference-free models.
    """

    MASKED_LM = "masked-lm"
    TOKEN_WEIGHTS = "token-weights"
    TABLE = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseSettings:
    """The settings by which texts become sparse vectors, besides the weights.

    Attributes:
        pooling: The pooling of the numbers that a text's tokens have for one token of the vocabulary.
        activation: The activation on each of these numbers, before pooling.
        max_length: Longest input in tokens, special tokens included; longer ones are cut.
        query_instruction: Put before every query.
        document_instruction: Put before every document.
        lowercase: Whether texts are lowercased before tokenization, whatever the tokenizer does.
        max_active_dims: Number of weights that a vector keeps, the largest; None for all.
        similarity: The function that compares vectors: the dot product if the folder does not say.
        default_instruction: Put before texts that are neither queries nor documents.
        other_prompts: The folder's other prompts as (name, text).
        head: The head; but for MASKED_LM there is no logarithm, whatever `activation` says.
    """

    pooling: SparsePooling
    activation: SparseActivation
    max_length: int
    query_instruction: str = ""
    document_instruction: str = ""
    lowercase: bool = False
    max_active_dims: int | None = None
    similarity: Similarity = Similarity.DOT
    default_instruction: str = ""
    other_prompts: tuple[tuple[str, str], ...] = ()
    head: SparseHead = SparseHead.MASKED_LM

    @property
    def pooling_name(self) -> str:
        """The name of this way to make vectors; SPLADE's is text-embeddings-inference's."""
        return "splade" if self.head is SparseHead.MASKED_LM else self.head.value

    def tokenizer(self, folder: Path) -> Tokenizer:
        """Open a folder's tokenizer; raises what `Tokenizer` does."""
        return Tokenizer(
            folder / TOKENIZER_FILE,
            max_length=self.max_length,
            lowercase=self.lowercase,
            special=self.head is not SparseHead.TABLE,
        )

    def override(
        self,
        *,
        max_length: int | None = None,
        query_instruction: str | None = None,
        document_instruction: str | None = None,
        max_positions: int | None = None,
    ) -> SparseSettings:
        """Replace what is not None.

        Raises:
            OptionError: `max_length` is below 3 or above what the model has positions for.
        """
        length = self.max_length if max_length is None else max_length
        if max_length is not None and (max_length < 3 or max_length > (max_positions or max_length)):
            raise OptionError(
                f"max_length={max_length} is not allowed; it counts tokens, two special ones among them: 3 to "
                f"{max_positions or 'the positions that the model has'}."
            )
        return dataclasses.replace(
            self,
            max_length=length if max_positions is None else min(length, max_positions),
            query_instruction=self.query_instruction if query_instruction is None else query_instruction,
            document_instruction=self.document_instruction if document_instruction is None else document_instruction,
        )


def is_sparse(folder: Path) -> bool:
    """Return whether a folder holds a sparse model: by its modules, or a masked language model if it has none.

    A module that is not built in is an UnsupportedModelError.
    """
    modules = [kind for kind, _ in read_modules(folder)]
    return bool({POOLING, TABLE} & set(modules)) or (not modules and is_masked_lm(folder))


def is_masked_lm(folder: Path) -> bool:
    """Return whether a folder's `config.json` names a model with a masked-LM head."""
    architectures = read_json(folder / "config.json").get("architectures")
    return isinstance(architectures, list) and any(str(name).endswith(_MASKED_LM) for name in architectures)


def read_sparse_settings(folder: Path, *, name: str, default_max_length: int | None = None) -> SparseSettings:
    """Read a sparse model's folder.

    Args:
        folder: The model's.
        name: Its hub id, or the folder as the user named it.
        default_max_length: For a folder that does not say how many tokens its model takes.

    Raises:
        UnsupportedModelError: It is no sparse model, or asks for something that is not built in.
        DamagedFilesError: A metadata file is not what it should be.
        OptionError: The folder does not say how long its texts are, and neither does the caller.
    """
    modules = read_modules(folder)
    path = own_config_file(folder)
    own = read_json(path)
    if TABLE in [kind for kind, _ in modules]:
        return _table(folder, modules, own, path)
    if POOLING not in [kind for kind, _ in modules] and weighs_tokens(folder):
        return _token_weights(folder, name=name, default_max_length=default_max_length)
    refuse_unknown_keys(own, _OWN_CONFIG_KEYS, path)
    if modules:
        _refuse_other_modules(folder, modules)
    elif not is_masked_lm(folder):
        raise UnsupportedModelError(
            f"{name} is no sparse model: it has no {POOLING} module, and config.json names no masked-LM head "
            f"(architectures). Load a model that makes embeddings with Encoder.load."
        )
    _refuse_other_types(own, path)
    transformer = read_transformer_config(folder, task="fill-mask")
    if modules and modules[0][0] == "Transformer" and transformer.get("transformer_task") != "fill-mask":
        raise UnsupportedModelError(
            f"{folder} has a Transformer module without transformer_task='fill-mask' in its "
            f"sentence_bert_config.json: no masked-LM head stands between it and {POOLING}."
        )
    pooling, activation = _pooling(modules[-1][1] / "config.json") if modules else (None, None)
    return SparseSettings(
        pooling=pooling or SparsePooling.MAX,
        activation=activation or SparseActivation.RELU,
        max_length=read_max_length(folder, transformer, read_json(folder / "config.json"), default_max_length),
        lowercase=bool(transformer.get("do_lower_case")),
        **_own_settings(folder, own, path),
    )


def weighs_tokens(folder: Path) -> bool:
    """Return whether a folder has a layer that weighs a text's own tokens; a pickle alone is a ModelFilesError."""
    if (folder / TOKEN_WEIGHTS_FILE).is_file():
        return True
    if (folder / _PICKLED).is_file():
        raise ModelFilesError(
            f"{folder / _PICKLED} is a pickle, which is not read, because unpickling runs code. Convert it once into "
            f"{TOKEN_WEIGHTS_FILE}: docs/sparse.md has the lines."
        )
    return False


def special_ids(folder: Path, settings: SparseSettings) -> tuple[int, ...]:
    """Return the ids of the special tokens that have no weight: what begins, ends and pads a text, and what is unknown.

    The code of bge-m3's authors leaves out the same (https://github.com/FlagOpen/FlagEmbedding).
    """
    named, tokenizer = special_tokens(folder), settings.tokenizer(folder).uncut
    ids = [tokenizer.token_to_id(named[kind]) for kind in _WITHOUT_WEIGHT if kind in named]
    return tuple(sorted({id_ for id_ in ids if id_ is not None}))


def _token_weights(folder: Path, *, name: str, default_max_length: int | None) -> SparseSettings:
    """Read the settings of a model that weighs a text's own tokens: its files say no more than a length."""
    config = read_json(folder / "config.json")
    transformer = read_transformer_config(folder, task="feature-extraction")
    if not set(_WITHOUT_WEIGHT[:2]) <= set(special_tokens(folder)):
        raise UnsupportedModelError(
            f"tokenizer_config.json of {name} does not say which tokens begin and end a text ({_WITHOUT_WEIGHT[0]}, "
            f"{_WITHOUT_WEIGHT[1]}), which have no weight."
        )
    return SparseSettings(
        pooling=SparsePooling.MAX,
        activation=SparseActivation.RELU,
        max_length=read_max_length(folder, transformer, config, default_max_length),
        lowercase=bool(transformer.get("do_lower_case")),
        head=SparseHead.TOKEN_WEIGHTS,
    )


def _table(folder: Path, modules: list[tuple[str, Path]], own: dict[str, Any], path: Path) -> SparseSettings:
    """Read the settings of a table of tokens' weights; its tokenizer says how long texts are, or has no limit."""
    if len(modules) > 1:
        raise UnsupportedModelError(
            f"{folder} runs {', '.join(kind for kind, _ in modules)}; a {TABLE} is built in alone, without modules "
            f"before or behind it."
        )
    refuse_unknown_keys(own, _OWN_CONFIG_KEYS, path)
    _refuse_other_types(own, path)
    return SparseSettings(
        pooling=SparsePooling.MAX,
        activation=SparseActivation.RELU,
        max_length=min(read_max_length(modules[0][1], {}, {}, UNLIMITED), UNLIMITED),
        head=SparseHead.TABLE,
        **_own_settings(folder, own, path),
    )


def _own_settings(folder: Path, own: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what `config_sentence_transformers.json` says, as fields of settings."""
    compared = read_similarity(folder) if own.get("similarity_fn_name") is not None else Similarity.DOT
    return {"max_active_dims": _active(own, path), "similarity": compared, **read_instructions(path)}


def _refuse_other_types(own: dict[str, Any], path: Path) -> None:
    if (kind := own.get("model_type", SPARSE_TYPE)) != SPARSE_TYPE:
        raise UnsupportedModelError(f"{path} has model_type={kind!r}; a sparse model is a {SPARSE_TYPE!r}.")


def _refuse_other_modules(folder: Path, modules: list[tuple[str, Path]]) -> None:
    kinds, path = [kind for kind, _ in modules], folder / "modules.json"
    if len(kinds) != 2 or kinds[0] not in _TRANSFORMERS or kinds[1] != POOLING:
        raise UnsupportedModelError(
            f"{path} runs {', '.join(kinds)}; a sparse model is a Transformer with a masked-LM head, then a {POOLING}. "
            f"Load a model that makes embeddings with Encoder.load."
        )
    if modules[0][1].resolve() != folder.resolve():
        raise UnsupportedModelError(
            f"{path} keeps the {kinds[0]} module in {modules[0][1]}; its files are read from the model's folder "
            f'itself. Move them there and write "path": "" for the module.'
        )


def _pooling(path: Path) -> tuple[SparsePooling, SparseActivation]:
    config = read_json(path)
    refuse_unknown_keys(config, _POOLING_KEYS, path)
    pooling, activation = config.get("pooling_strategy", "max"), config.get("activation_function", "relu")
    for key, asked, known in (
        ("pooling_strategy", pooling, SparsePooling),
        ("activation_function", activation, SparseActivation),
    ):
        allowed = [one.value for one in known]
        if asked not in allowed:
            raise UnsupportedModelError(f"{path} has {key}={asked!r}; built in are {', '.join(allowed)}.")
    return SparsePooling(pooling), SparseActivation(activation)


def _active(own: dict[str, Any], path: Path) -> int | None:
    value = own.get("max_active_dims")
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise DamagedFilesError(f"{path} has max_active_dims={value!r}; a number of 1 or more is needed.")
