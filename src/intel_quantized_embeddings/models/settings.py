"""A model's settings, read from its folder: pooling, normalization, instructions and length.

Reads what sentence-transformers writes, the forms of versions 2 to 6.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.architectures import hidden_size, takes_more
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.models.config_file import read_config
from intel_quantized_embeddings.models.endings import chain_width, read_chain, scoring_chain
from intel_quantized_embeddings.models.known import look_up
from intel_quantized_embeddings.models.known_models import KnownModels
from intel_quantized_embeddings.models.modules import (
    longest_input,
    read_modules,
    read_transformer_config,
    refuse_other_pipelines,
)
from intel_quantized_embeddings.models.pair_template import asked_format, refuse_other_chats
from intel_quantized_embeddings.models.poolings import check_pooling, read_poolings
from intel_quantized_embeddings.models.prompts import read_own_config
from intel_quantized_embeddings.models.static import read_table, static_length
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.models.tokenizer_files import TOKENIZER_FILE, special_tokens
from intel_quantized_embeddings.options import Pooling
from intel_quantized_embeddings.similarity import Similarity

# transformers writes a huge number here if a tokenizer has no limit of its own.
_NO_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """The settings by which texts become vectors, besides the weights.

    Attributes:
        pooling: The (first) pooling.
        normalize: Whether vectors are scaled to length 1 at the end.
        max_length: Longest input in tokens, special tokens included; longer ones are cut.
        query_instruction: Put before every query.
        document_instruction: Put before every document.
        lowercase: Whether texts are lowercased before tokenization, whatever the tokenizer does
            (`do_lower_case` of `sentence_bert_config.json`).
        similarity: The function that compares vectors (`similarity_fn_name`), which do not depend on it.
        default_instruction: Put before texts that are neither queries nor documents (`default_prompt_name`).
        other_prompts: The folder's other prompts as (name, text), for `IntelQuantizedSentenceTransformer`.
        more_poolings: Further poolings, whose vectors are appended to the first one's.
        modules: The modules between pooling and normalization, in words: "Dense 384 to 768, Identity".
    """

    pooling: Pooling
    normalize: bool
    max_length: int
    query_instruction: str
    document_instruction: str
    lowercase: bool = False
    similarity: Similarity = Similarity.COSINE
    default_instruction: str = ""
    other_prompts: tuple[tuple[str, str], ...] = ()
    more_poolings: tuple[Pooling, ...] = ()
    modules: tuple[str, ...] = ()

    @property
    def poolings(self) -> tuple[Pooling, ...]:
        """The poolings: one, or several whose vectors are concatenated."""
        return (self.pooling, *self.more_poolings)

    @property
    def pooling_name(self) -> str:
        """The poolings in the form of the option `pooling`."""
        return "+".join(mode.value for mode in self.poolings)

    @property
    def lengths_matter(self) -> bool:
        """Whether the similarity depends on the lengths of vectors."""
        return not self.normalize and self.similarity is not Similarity.COSINE

    def tokenizer(self, folder: Path) -> Tokenizer:
        """Open a folder's tokenizer; raises the errors of `Tokenizer`."""
        return Tokenizer(folder / TOKENIZER_FILE, max_length=self.max_length, lowercase=self.lowercase)

    def override(
        self,
        *,
        max_length: int | None = None,
        query_instruction: str | None = None,
        document_instruction: str | None = None,
        max_positions: int | None = None,
    ) -> ModelSettings:
        """Replace the settings that are not None.

        Raises:
            OptionError: `max_length` is below 3 or above what the model has positions for.
        """
        length = self.max_length if max_length is None else max_length
        if length < 3:
            raise OptionError(
                f"max_length={length!r} is not allowed; it counts tokens, two special ones among them: 3 or more."
            )
        if max_positions is not None and length > max_positions:
            if max_length is not None:
                raise OptionError(
                    f"max_length={length} is more than this model can take: it has {max_positions} positions."
                )
            length = max_positions
        return dataclasses.replace(
            self,
            max_length=length,
            query_instruction=self.query_instruction if query_instruction is None else query_instruction,
            document_instruction=(self.document_instruction if document_instruction is None else document_instruction),
        )


def is_cross_encoder(folder: Path) -> bool:
    """Return whether a folder holds a model that scores pairs of texts.

    That is the case if its `config.json` names a sequence classifier and no module pools, or if the folder says that it
    is a cross-encoder and a chain of modules makes the score.
    """
    if scoring_chain(folder):
        return True
    architectures = read_json(folder / "config.json").get("architectures")
    classifies = isinstance(architectures, list) and any(
        str(name).endswith("ForSequenceClassification") for name in architectures
    )
    return classifies and not any(kind == "Pooling" for kind, _ in read_modules(folder))


def read_settings(
    folder: Path,
    *,
    name: str,
    pooling: str | Pooling | None = None,
    normalize: bool | None = None,
    default_max_length: int | None = None,
) -> ModelSettings:
    """Read a model folder's settings, filling gaps from the models known by name.

    Args:
        folder: The model's folder.
        name: Its hub id, or the folder as the user named it.
        pooling: Overrides the folder's.
        normalize: Overrides the folder's.
        default_max_length: For a folder that does not give its longest input.

    Raises:
        OptionError: `pooling` is unknown, or neither the folder nor the caller names it.
        UnsupportedModelError: The folder asks for a pooling or module that is not built in.
        DamagedFilesError: A metadata file is not what it should be.
    """
    config = read_config(folder)
    known = look_up(_names(folder, name))
    modules = read_modules(folder)
    refuse_other_pipelines(folder, modules)
    own = read_own_config(folder, known, width=lambda: _width(folder, config))
    task = "sequence-classification" if is_cross_encoder(folder) else "feature-extraction"
    transformer = read_transformer_config(folder, task=task, takes_more=takes_more(config))
    if "message" in transformer.get("modality_config", ()):
        refuse_other_chats(folder, asked_format(folder, transformer, has_modules=True), special=special_tokens(folder))
    if pooling is not None:
        first, *more = Pooling.parse_several(pooling)
        check_pooling(_pooling_file(folder, modules))
    else:
        first, *more = _poolings(folder, modules, known, name=name, origin=config.get("_name_or_path"))
    chain, unit_length = read_chain(modules)
    return ModelSettings(
        pooling=first,
        more_poolings=tuple(more),
        modules=chain,
        normalize=unit_length if normalize is None else normalize,
        max_length=read_max_length(folder, transformer, config, default_max_length),
        lowercase=bool(transformer.get("do_lower_case")),
        **own,
    )


def read_static_settings(folder: Path, where: Path, *, name: str, normalize: bool | None = None) -> ModelSettings:
    """Read the settings of a static model, whose table is at `where`, as `read_settings` does."""
    modules, described = read_modules(folder), read_json(folder / "config.json")
    chain, unit_length = read_chain(modules)
    if chain:
        raise UnsupportedModelError(
            f"{folder / 'modules.json'} has {'; '.join(chain)} behind a StaticEmbedding, where only Normalize is built "
            f"in."
        )
    if not modules:
        unit_length = bool(described.get("normalize"))
    own = read_own_config(folder, look_up(_names(folder, name)), width=lambda: read_table(where).rows.shape[1])
    return ModelSettings(
        pooling=Pooling.MEAN,
        normalize=unit_length if normalize is None else normalize,
        max_length=static_length(folder, where),
        **own,
    )


def _width(folder: Path, model: dict[str, Any]) -> int | None:
    """Return the size of a model's vectors; None if its configuration does not give it."""
    own = hidden_size(model)
    return None if own is None else chain_width(folder, own)


def _names(folder: Path, name: str) -> list[str]:
    """Return the model's own names: as asked for, its folder, the hub's cache folder.

    `_name_or_path` of config.json is not one of them: it names the model's ancestor.
    """
    resolved = folder.resolve()
    names = [name, resolved.name]
    if resolved.parent.name == "snapshots":  # models--BAAI--bge-small-en-v1.5/snapshots/<commit>
        names.append(resolved.parent.parent.name)
    return names


def _pooling_file(folder: Path, modules: list[tuple[str, Path]]) -> Path:
    return next((where for kind, where in modules if kind == "Pooling"), folder / "1_Pooling") / "config.json"


def _poolings(
    folder: Path, modules: list[tuple[str, Path]], known: KnownModels | None, *, name: str, origin: object
) -> tuple[Pooling, ...]:
    path = _pooling_file(folder, modules)
    if path.is_file():
        return read_poolings(path)
    if any(kind == "Pooling" for kind, _ in modules):
        raise ModelFilesError(f"{folder / 'modules.json'} has a Pooling module, and {path} is not there.")
    if is_cross_encoder(folder):
        raise UnsupportedModelError(
            f"{name} is a cross-encoder: it scores pairs of texts and makes no embeddings. Load it with "
            f"CrossEncoder.load or Reranker.load."
        )
    if known is not None and known.behind:
        raise ModelFilesError(
            f"{folder} has no modules.json with a Pooling module. {name} is known by name: its pooling is followed by "
            f"{known.behind}, without which vectors are others. Fetch the model's whole folder, or pass "
            f"pooling={known.pooling.value!r} for what the encoder alone gives."
        )
    if known is not None:
        return (known.pooling,)
    masked = any(
        str(one).endswith("ForMaskedLM") for one in read_json(folder / "config.json").get("architectures") or []
    )
    sparse = (
        " It has a masked-LM head: if it is a sparse model, as SPLADE is, load it with SparseEncoder.load."
        if masked
        else ""
    )
    ancestor = look_up([origin]) if isinstance(origin, str) else None
    hint = (
        f" Its config.json says that it was made from {origin}, which is made for pooling={ancestor.pooling.value!r}, "
        f"and this one may be too."
        if ancestor
        else ""
    )
    raise OptionError(
        f"nothing in {name} says how to pool its token vectors (no 1_Pooling/config.json), and the model is not "
        f"known by name. Pass pooling='cls' or pooling='mean', whichever its model card says; "
        f"the wrong one gives vectors that search badly without any error.{hint}{sparse}"
    )


def pools_by_itself(folder: Path, *, name: str) -> bool:
    """Return whether a folder without modules says how it pools, or is known by name to be an embedder."""
    return _pooling_file(folder, []).is_file() or look_up(_names(folder, name)) is not None


def read_max_length(folder: Path, transformer: dict[str, Any], config: dict[str, Any], default: int | None) -> int:
    """Find the longest input in tokens that a folder's files name; `default` is for a folder that names none.

    `transformer` is its `sentence_bert_config.json`, `config` its `config.json`.
    """
    tokenizer = read_json(folder / "tokenizer_config.json")
    own = tokenizer["model_max_length"] if "model_max_length" in tokenizer else tokenizer.get("max_len")
    for name, value in (
        ("max_seq_length", longest_input(transformer)),
        ("model_max_length", own),
        ("max_position_embeddings", config.get("max_position_embeddings")),
    ):
        if value is None:
            continue
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 3:
            raise DamagedFilesError(
                f"{folder}: {name} is {value!r}; it counts tokens, two special ones among them: 3 or more."
            )
        if value < _NO_LIMIT:
            return int(value)
    if default is not None:
        return default
    raise OptionError(
        f"nothing in {folder} says how many tokens its model takes (max_seq_length, model_max_length or "
        f"max_position_embeddings). Pass max_length=."
    )
