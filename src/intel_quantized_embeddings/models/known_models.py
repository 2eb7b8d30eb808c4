"""Facts about published models, a row for each family with its best known models: `known_models.json`.

Sources are the models' cards and the files of their folders on the hub, at https://huggingface.co/ID; a test compares
with mteb's registry. Models whose sources disagree, or whose architecture is not built in, are not listed by id, and
may still match by pattern. Models that take any task in words have the instruction for search of their cards or
stored prompts. The own files of cross-encoders and sparse models say how they are used; nothing is filled in by name.
Sparse models without safetensors are not listed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.options import Pooling


@dataclass(frozen=True, slots=True)
class Listed:
    """A published model.

    Attributes:
        architecture: The `model_type` of its config.json; "static" for a table of tokens' rows, "jina_bert" for a BERT
            with ALiBi.
        dimension: Numbers in a vector.
        shorter: Sizes that its vectors may be cut to (Matryoshka), ascending, as its card says; if the card allows any
            size from a smallest one up, that one and its doublings.
    """

    architecture: str
    dimension: int
    shorter: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ListedCrossEncoder:
    """A published cross-encoder: the `model_type` of its config.json, and its licence as the hub abbreviates it."""

    architecture: str
    licence: str


@dataclass(frozen=True, slots=True)
class ListedSparse:
    """A published sparse model.

    Attributes:
        architecture: The `model_type` of its config.json.
        vocabulary: Numbers in a vector, zeros included.
        queries: "layers", or "table" if queries are looked up.
        licence: Its licence, as the hub abbreviates it.
    """

    architecture: str
    vocabulary: int
    queries: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModels:
    """A family of models that pool alike and take the same instructions.

    Attributes:
        pattern: Matches the last part of a model's id, lower case, whole but for an owner before it (after which
            folder names have "--" or "_" for "/"), and for words such as "int8" and "onnx" at the end, so that
            `bge-small-en-v1.5-rag-int8-static` is a BGE, and `bge-small-en-v1.5-legal` is not known.
        behind: The modules behind pooling, without a scaling to length 1, in words. A name can't replace their files,
            so a folder without them gets no pooling by its name either.
        licence: The licence of the listed models, as the hub abbreviates it.
        models: Hub id -> facts, of the models best known.
    """

    pattern: str
    pooling: Pooling
    query_instruction: str = ""
    document_instruction: str = ""
    behind: str = ""
    licence: str
    models: Mapping[str, Listed] = field(default_factory=dict)


def _family(row: dict[str, Any]) -> KnownModels:
    models = {model: Listed(kind, size, tuple(shorter)) for model, (kind, size, *shorter) in row["models"].items()}
    return KnownModels(**{**row, "pooling": Pooling(row["pooling"]), "models": models})


_TABLE = json.loads(Path(__file__).with_name("known_models.json").read_text("utf-8"))
KNOWN_MODELS = tuple(map(_family, _TABLE["families"]))
KNOWN_SPARSE = {model: ListedSparse(*facts) for model, facts in _TABLE["sparse"].items()}
KNOWN_CROSS_ENCODERS = {model: ListedCrossEncoder(*facts) for model, facts in _TABLE["cross_encoders"].items()}
