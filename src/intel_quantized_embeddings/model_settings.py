"""What a model's folder says of pooling, normalization, instructions and length.

Reads what sentence-transformers writes, the forms of versions 2 to 6.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import (
    DamagedFilesError,
    ModelFilesError,
    OptionError,
    UnsupportedModelError,
)
from intel_quantized_embeddings.known_models import KnownModels, look_up
from intel_quantized_embeddings.paths_inside import path_inside
from intel_quantized_embeddings.pooling import Pooling
from intel_quantized_embeddings.similarity import Similarity

# sentence-transformers' names of what is asked for and what is searched, in the order it tries them.
_QUERY_PROMPTS = ("query",)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")

# transformers writes a huge number here where a tokenizer has no limit of its own.
_NO_LIMIT = 1_000_000

# Of a file that describes a model. The index of a model in a thousand parts has some 10 MB.
_LARGEST = 100_000_000

_HANDLED_MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """How texts become vectors, besides the weights.

    Attributes:
        pooling: How token vectors become one vector.
        normalize: Whether vectors are scaled to length 1.
        max_length: Longest input in tokens, special tokens included; what is longer is cut.
        query_instruction: Put before every query.
        document_instruction: Put before every document.
        lowercase: Whether texts are lowercased before tokenization, whatever the tokenizer does
            (`do_lower_case` of `sentence_bert_config.json`).
        similarity: How vectors are to be compared (`similarity_fn_name`). They do not depend on it.
        default_instruction: Put before a text that is said to be neither query nor document (`default_prompt_name`);
            the vectors of queries and documents do not depend on it.
    """

    pooling: Pooling
    normalize: bool
    max_length: int
    query_instruction: str
    document_instruction: str
    lowercase: bool = False
    similarity: Similarity = Similarity.COSINE
    default_instruction: str = ""

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


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an absent file is an empty one.

    Raises:
        DamagedFilesError: The file is not a JSON object.
    """
    if not path.is_file():
        return {}
    value = _parse(path)
    if not isinstance(value, dict):
        raise DamagedFilesError(f"{path} holds a JSON {type(value).__name__}; an object is expected.")
    return value


def is_cross_encoder(folder: Path) -> bool:
    """Whether a folder holds a model that scores pairs of texts.

    Its `config.json` names a sequence classifier, and no module pools.
    """
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
    known = look_up(_names(folder, name, config))
    modules = read_modules(folder)
    chosen = Pooling.parse(pooling) if pooling is not None else _pooling(folder, modules, known, name=name)
    prompts, default_prompt = _prompts(folder)
    transformer = next((where for kind, where in modules if kind == "Transformer"), folder)
    return ModelSettings(
        pooling=chosen,
        normalize=_normalize(modules) if normalize is None else normalize,
        max_length=read_max_length(transformer, config, default_max_length),
        query_instruction=_instruction(
            prompts, _QUERY_PROMPTS, default_prompt, known.query_instruction if known else ""
        ),
        document_instruction=_instruction(
            prompts, _DOCUMENT_PROMPTS, default_prompt, known.document_instruction if known else ""
        ),
        lowercase=any(c.get("do_lower_case") is True for c in transformer_configs(transformer)),
        similarity=_similarity(folder),
        default_instruction="" if default_prompt is None else prompts[default_prompt],
    )


def _names(folder: Path, name: str, config: dict[str, Any]) -> list[str]:
    """What the model may be known as: as asked for, its folder, the hub's cache folder, its origin."""
    resolved = folder.resolve()
    names = [name, resolved.name, str(config.get("_name_or_path", ""))]
    if resolved.parent.name == "snapshots":  # models--BAAI--bge-small-en-v1.5/snapshots/<commit>
        names.append(resolved.parent.parent.name)
    return names


def _parse(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, which none has")
        return json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise DamagedFilesError(f"{path} is not readable JSON: {exc}") from exc


def read_modules(folder: Path) -> list[tuple[str, Path]]:
    """The pipeline of `modules.json` as (class name, folder); empty where the file is absent.

    Only the class name is kept: version 6 moved the classes to other Python modules.

    Raises:
        UnsupportedModelError: There is a module that is not built in.
        DamagedFilesError: The file is not a list of modules.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return []
    parsed = _parse(path)
    try:
        if not isinstance(parsed, list):
            raise TypeError(f"it is a {type(parsed).__name__}")
        listed = [(str(m["type"]).rsplit(".", 1)[-1], str(m.get("path", ""))) for m in parsed]
    except (TypeError, KeyError, AttributeError) as exc:
        raise DamagedFilesError(f"{path} is not a list of modules with a type and a path.") from exc
    modules = []
    for kind, where in listed:
        if kind not in _HANDLED_MODULES:
            raise UnsupportedModelError(
                f"{path} has a {kind} module; built in are {', '.join(_HANDLED_MODULES)}. "
                f"Leaving it out would give other vectors than the model's own, so this model can't be run here."
            )
        modules.append((kind, path_inside(folder, where, listed_in=path)))
    return modules


def _pooling(folder: Path, modules: list[tuple[str, Path]], known: KnownModels | None, *, name: str) -> Pooling:
    at = next((where for kind, where in modules if kind == "Pooling"), folder / "1_Pooling")
    path = at / "config.json"
    if path.is_file():
        return _read_pooling(path)
    if any(kind == "Pooling" for kind, _ in modules):
        raise ModelFilesError(f"{folder / 'modules.json'} has a Pooling module, and {path} is not there.")
    if is_cross_encoder(folder):
        raise UnsupportedModelError(
            f"{name} is a cross-encoder: it scores pairs of texts and makes no embeddings. Load it with "
            f"CrossEncoder.load or Reranker.load."
        )
    if known is not None:
        return known.pooling
    raise OptionError(
        f"nothing in {name} says how to pool its token vectors (no 1_Pooling/config.json), and the model is not "
        f"known by name. Pass pooling='cls' or pooling='mean', whichever its model card says; "
        f"the wrong one gives vectors that search badly without any error."
    )


def _read_pooling(path: Path) -> Pooling:
    config = read_json(path)
    asked = config.get("pooling_mode")
    if asked is None:  # versions before 6: one flag a mode
        prefix = "pooling_mode_"
        asked = [key.removeprefix(prefix) for key, on in config.items() if on is True and key.startswith(prefix)]
    listed = asked if isinstance(asked, list) else [asked]
    names = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}
    modes = [names.get(str(mode), str(mode)) for mode in listed]
    allowed = [mode.value for mode in Pooling]
    if len(modes) != 1 or modes[0] not in allowed:
        raise UnsupportedModelError(f"{path} asks for the pooling {asked!r}; built in are {allowed}, one at a time.")
    if config.get("include_prompt") is False:
        raise UnsupportedModelError(
            f"{path} has include_prompt=false (the instruction's tokens are left out of pooling), "
            f"which is not built in."
        )
    return Pooling(modes[0])


def _normalize(modules: list[tuple[str, Path]]) -> bool:
    """A pipeline says so by its Normalize module; a folder without one gets unit vectors."""
    return not modules or any(kind == "Normalize" for kind, _ in modules)


def _prompts(folder: Path) -> tuple[dict[str, str], str | None]:
    path = folder / "config_sentence_transformers.json"
    config = read_json(path)
    prompts = config.get("prompts") or {}
    default = config.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(p, str) for p in prompts.values()):
        raise DamagedFilesError(f"{path}: prompts is {prompts!r}; a table of names and texts is expected.")
    if default is not None and default not in list(prompts):
        raise DamagedFilesError(
            f"{path}: default_prompt_name is {default!r}, which is not among the prompts {sorted(prompts)}."
        )
    return prompts, default


def _similarity(folder: Path) -> Similarity:
    """The one that the folder names; the cosine where it names none, as sentence-transformers has it."""
    path = folder / "config_sentence_transformers.json"
    asked = read_json(path).get("similarity_fn_name")
    try:
        return Similarity.COSINE if asked is None else Similarity(asked)
    except ValueError as exc:
        allowed = ", ".join(repr(one.value) for one in Similarity)
        raise UnsupportedModelError(
            f"{path} has similarity_fn_name={asked!r}, which is not built in; built in are {allowed}."
        ) from exc


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


def transformer_configs(transformer: Path) -> list[dict[str, Any]]:
    """`sentence_bert_config.json`, which also exists under the names of other architectures."""
    return [read_json(file) for file in sorted(transformer.glob("sentence_*config.json"))]


def read_max_length(transformer: Path, config: dict[str, Any], default: int | None) -> int:
    """The longest input in tokens that a folder's files name.

    Raises:
        OptionError: They name none, and neither does the caller.
    """
    candidates = [c.get("max_seq_length") for c in transformer_configs(transformer)]
    candidates.append(read_json(transformer / "tokenizer_config.json").get("model_max_length"))
    candidates.append(config.get("max_position_embeddings"))
    for value in candidates:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 3 <= value < _NO_LIMIT:
            return int(value)
    if default is not None:
        return default
    raise OptionError(
        f"nothing in {transformer} says how many tokens its model takes (max_seq_length, model_max_length or "
        f"max_position_embeddings). Pass max_length=."
    )
