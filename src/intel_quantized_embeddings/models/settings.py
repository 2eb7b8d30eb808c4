"""What a model's folder says of pooling, normalization, instructions and length.

Reads what sentence-transformers writes, the forms of versions 2 to 6.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.architectures.table import architecture_of
from intel_quantized_embeddings.errors import (
    DamagedFilesError,
    ModelFilesError,
    OptionError,
    UnsupportedModelError,
)
from intel_quantized_embeddings.files.json_files import read_json as read_json  # also read by this name elsewhere
from intel_quantized_embeddings.models.endings import (
    chain_width,
    check_pooling,
    read_chain,
    read_poolings,
    scoring_chain,
)
from intel_quantized_embeddings.models.known import KnownModels, look_up
from intel_quantized_embeddings.models.modules import (
    longest_input,
    read_modules,
    read_transformer_config,
    refuse_other_pipelines,
    refuse_unknown_keys,
)
from intel_quantized_embeddings.options import Pooling
from intel_quantized_embeddings.similarity import Similarity

# sentence-transformers' names of what is asked for and what is searched, in the order it tries them.
_QUERY_PROMPTS = ("query",)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")

# transformers writes a huge number here where a tokenizer has no limit of its own.
_NO_LIMIT = 1_000_000

# What `config_sentence_transformers.json` may hold; that of a cross-encoder has more.
_OWN_CONFIG_KEYS = (
    "model_type",
    "prompts",
    "default_prompt_name",
    "similarity_fn_name",
    "truncate_dim",
    "__version__",
    "requirements",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """The settings by which texts become vectors, besides the weights.

    Attributes:
        pooling: How token vectors become one vector.
        normalize: Whether vectors are scaled to length 1, at last.
        max_length: Longest input in tokens, special tokens included; what is longer is cut.
        query_instruction: Put before every query.
        document_instruction: Put before every document.
        lowercase: Whether texts are lowercased before tokenization, whatever the tokenizer does
            (`do_lower_case` of `sentence_bert_config.json`).
        similarity: How vectors are to be compared (`similarity_fn_name`). They do not depend on it.
        default_instruction: Put before a text that is said to be neither query nor document (`default_prompt_name`);
            the vectors of queries and documents do not depend on it.
        other_prompts: The folder's other prompts as (name, text), for `IntelQuantizedSentenceTransformer`.
        more_poolings: Others, whose vectors are put behind the first one's.
        modules: What the pooled vector goes through before that, in words: "Dense 384 to 768, Identity".
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
        """How token vectors become one: one mode, or several whose vectors are put one behind another."""
        return (self.pooling, *self.more_poolings)

    @property
    def pooling_name(self) -> str:
        """The poolings as the option `pooling` takes them."""
        return "+".join(mode.value for mode in self.poolings)

    @property
    def lengths_matter(self) -> bool:
        """Whether a vector's length changes how it compares."""
        return not self.normalize and self.similarity is not Similarity.COSINE

    def override(
        self,
        *,
        max_length: int | None = None,
        query_instruction: str | None = None,
        document_instruction: str | None = None,
        max_positions: int | None = None,
    ) -> ModelSettings:
        """Replace what is not None.

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

    Its `config.json` names a sequence classifier, and no module pools; or it says that it does, and a chain of modules
    makes the score.
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
    """Read a model folder's settings, filling gaps from what is known by name.

    Args:
        folder: The model's folder.
        name: Its hub id, or the folder as the user named it.
        pooling: Overrides the folder.
        normalize: Overrides the folder.
        default_max_length: For a folder that does not say how many tokens its model takes.

    Raises:
        OptionError: `pooling` is unknown; or the folder does not say it, and neither does the caller.
        UnsupportedModelError: The folder asks for a pooling or module that is not built in.
        DamagedFilesError: A metadata file is not what it should be.
    """
    config = read_json(folder / "config.json")
    known = look_up(_names(folder, name))
    modules = read_modules(folder)
    refuse_other_pipelines(folder, modules)
    prompts, default_prompt = _prompts(folder, config)
    task = "sequence-classification" if is_cross_encoder(folder) else "feature-extraction"
    transformer = read_transformer_config(folder, task=task)
    if pooling is not None:
        first, *more = Pooling.parse_several(pooling)
        check_pooling(_pooling_file(folder, modules))
    else:
        first, *more = _poolings(folder, modules, known, name=name, origin=config.get("_name_or_path"))
    query = _instruction(prompts, _QUERY_PROMPTS, default_prompt, known.query_instruction if known else "")
    document = _instruction(prompts, _DOCUMENT_PROMPTS, default_prompt, known.document_instruction if known else "")
    others = {name: text for name, text in prompts.items() if name not in ("query", "document")}
    chain, unit_length = read_chain(modules)
    return ModelSettings(
        pooling=first,
        more_poolings=tuple(more),
        modules=chain,
        normalize=unit_length if normalize is None else normalize,
        max_length=read_max_length(folder, transformer, config, default_max_length),
        query_instruction=query,
        document_instruction=document,
        lowercase=bool(transformer.get("do_lower_case")),
        similarity=read_similarity(folder),
        default_instruction="" if default_prompt is None else prompts[default_prompt],
        # Other names of the document's prompt are no prompts of their own.
        other_prompts=tuple(
            (name, text) for name, text in others.items() if name not in _DOCUMENT_PROMPTS or text != document
        ),
    )


def _names(folder: Path, name: str) -> list[str]:
    """Return the model's own names: as asked for, its folder, the hub's cache folder.

    `_name_or_path` of config.json is not one of them: it names what the model was made from.
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
    if known is not None:
        return (known.pooling,)
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
        f"the wrong one gives vectors that search badly without any error.{hint}"
    )


def _prompts(folder: Path, model: dict[str, Any]) -> tuple[dict[str, str], str | None]:
    path = folder / "config_sentence_transformers.json"
    config = read_json(path)
    refuse_unknown_keys(config, _OWN_CONFIG_KEYS, path)
    kind = config.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise UnsupportedModelError(
            f"{path} has model_type={kind!r}: it makes no embeddings of one vector a text. An Encoder is a "
            f"'SentenceTransformer'."
        )
    if (dimension := config.get("truncate_dim")) is not None:
        _refuse_shorter_vectors(dimension, model, path)
    return read_prompts(path)


def read_prompts(path: Path) -> tuple[dict[str, str], str | None]:
    """Read the prompts of a `config_sentence_transformers.json`, and the name of the default one.

    Raises:
        DamagedFilesError: They are not a table of names and texts, or the default is not among them.
    """
    config = read_json(path)
    prompts = config.get("prompts") or {}
    default = config.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(prompt, str) for prompt in prompts.values()):
        raise DamagedFilesError(f"{path}: prompts is {prompts!r}; a table of names and texts is expected.")
    if default is not None and default not in list(prompts):
        raise DamagedFilesError(
            f"{path}: default_prompt_name is {default!r}, which is not among the prompts {sorted(prompts)}."
        )
    return prompts, default


def read_similarity(folder: Path) -> Similarity:
    """Read how vectors are to be compared from a folder, quantized or not; the cosine where it does not say.

    Raises:
        UnsupportedModelError: It names one that is not built in.
        DamagedFilesError: The file can't be read.
    """
    path = folder / "config_sentence_transformers.json"
    asked = read_json(path).get("similarity_fn_name")
    try:
        return Similarity.COSINE if asked is None else Similarity(asked)
    except ValueError as exc:
        allowed = ", ".join(repr(one.value) for one in Similarity)
        raise UnsupportedModelError(
            f"{path} has similarity_fn_name={asked!r}, which is not built in; built in are {allowed}."
        ) from exc


def _refuse_shorter_vectors(dimension: object, model: dict[str, Any], path: Path) -> None:
    architecture = architecture_of(model)
    own = model.get("hidden_size" if architecture is None else architecture.keys.hidden_size)
    if isinstance(dimension, int) and isinstance(own, int) and dimension >= chain_width(path.parent, own):
        return
    raise UnsupportedModelError(
        f"{path} has truncate_dim={dimension!r}: vectors that are cut as they come out, and not brought to length 1 "
        f"again, which is not built in. Take the key out and load with truncate_dim={dimension!r} to have them cut and "
        f"of the length that the model's own have."
    )


def _instruction(prompts: dict[str, str], names: tuple[str, ...], default: str | None, known: str) -> str:
    """The first prompt of its kind, in the order sentence-transformers documents, else the default one.

    Empty prompts are placeholders that sentence-transformers writes by itself: alone, they do not hide
    what is known. (Its version 6 lets its placeholders hide a `passage` prompt; the model means the prompt.)
    """
    for name in names:
        if name in prompts:
            return prompts[name] or ("" if any(prompts.values()) else known)
    if default is not None:
        return prompts[default]
    return known


def read_max_length(folder: Path, transformer: dict[str, Any], config: dict[str, Any], default: int | None) -> int:
    """Find the longest input in tokens that a folder's files name.

    Args:
        folder: The model's folder.
        transformer: Its `sentence_bert_config.json`.
        config: Its `config.json`.
        default: For a folder that does not say it.

    Raises:
        OptionError: They name none, and neither does the caller.
        DamagedFilesError: What one names is no number of tokens.
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
