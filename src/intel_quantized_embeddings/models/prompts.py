"""Reader of `config_sentence_transformers.json`: prompts, and how vectors are to be compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.models.known_models import KnownModels
from intel_quantized_embeddings.models.modules import refuse_unknown_keys
from intel_quantized_embeddings.models.routes import own_config_file
from intel_quantized_embeddings.similarity import Similarity

# sentence-transformers' names of prompts for queries and documents, in the order in which it tries them.
_QUERY_PROMPTS = ("query",)
DOCUMENT_PROMPTS = ("document", "passage", "corpus")

# The `model_type` of a sparse model.
SPARSE_TYPE = "SparseEncoder"

# Keys that `config_sentence_transformers.json` may have; a cross-encoder's file may have more.
_OWN_CONFIG_KEYS = (
    "model_type",
    "prompts",
    "default_prompt_name",
    "similarity_fn_name",
    "truncate_dim",
    "__version__",
    "requirements",
)


def read_own_config(folder: Path, known: KnownModels | None, *, width: Callable[[], int | None]) -> dict[str, Any]:
    """Read an embedder's file as fields of `ModelSettings`, filling gaps from the models known by name.

    `width` is the size of its vectors, if known: a file that asks for shorter ones is refused.
    """
    path = own_config_file(folder)
    config = read_json(path)
    refuse_unknown_keys(config, _OWN_CONFIG_KEYS, path)
    kind = config.get("model_type", "SentenceTransformer")
    if kind == SPARSE_TYPE:
        raise UnsupportedModelError(f"{path} has model_type={kind!r}: load a sparse model with SparseEncoder.load.")
    if kind != "SentenceTransformer":
        raise UnsupportedModelError(
            f"{path} has model_type={kind!r}: it makes no embeddings of one vector a text. An Encoder is a "
            f"'SentenceTransformer'."
        )
    if (dimension := config.get("truncate_dim")) is not None:
        _refuse_shorter_vectors(dimension, width(), path)
    return {**read_instructions(path, known), "similarity": read_similarity(folder)}


def read_instructions(path: Path, known: KnownModels | None = None) -> dict[str, Any]:
    """Read what a `config_sentence_transformers.json` puts before texts, as fields of settings."""
    prompts, default = read_prompts(path)
    query = _instruction(prompts, _QUERY_PROMPTS, default, known.query_instruction if known else "")
    document = _instruction(prompts, DOCUMENT_PROMPTS, default, known.document_instruction if known else "")
    # Other names of the document's prompt are not prompts of their own.
    others = {
        name: text
        for name, text in prompts.items()
        if name not in ("query", "document") and (name not in DOCUMENT_PROMPTS or text != document)
    }
    return {
        "query_instruction": query,
        "document_instruction": document,
        "default_instruction": "" if default is None else prompts[default],
        "other_prompts": tuple(others.items()),
    }


def read_prompts(path: Path) -> tuple[dict[str, str], str | None]:
    """Read the prompts of a `config_sentence_transformers.json`, and the name of the default one."""
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
    """Read how vectors are to be compared from a folder, quantized or not; the cosine if it does not say."""
    path = own_config_file(folder)
    asked = read_json(path).get("similarity_fn_name")
    try:
        return Similarity.COSINE if asked is None else Similarity(asked)
    except ValueError as exc:
        allowed = ", ".join(repr(one.value) for one in Similarity)
        raise UnsupportedModelError(
            f"{path} has similarity_fn_name={asked!r}, which is not built in; built in are {allowed}."
        ) from exc


def _instruction(prompts: dict[str, str], names: tuple[str, ...], default: str | None, known: str) -> str:
    """Return the first prompt of its kind, in the order that sentence-transformers documents, else the default one.

    Empty prompts are placeholders that sentence-transformers writes by itself: alone, they do not hide the instruction
    known by name. (Its version 6 lets its placeholders hide a `passage` prompt; the model means the prompt.)
    """
    for name in names:
        if name in prompts:
            return prompts[name] or ("" if any(prompts.values()) else known)
    if default is not None:
        return prompts[default]
    return known


def _refuse_shorter_vectors(dimension: object, width: int | None, path: Path) -> None:
    if isinstance(dimension, int) and width is not None and dimension >= width:
        return
    raise UnsupportedModelError(
        f"{path} has truncate_dim={dimension!r}: vectors that are cut as they come out, and not brought to length 1 "
        f"again, which is not built in. Take the key out and load with truncate_dim={dimension!r} to have them cut and "
        f"of the length that the model's own have."
    )
