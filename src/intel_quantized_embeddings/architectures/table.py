"""The architectures that are built in, a row each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intel_quantized_embeddings.architectures.bert import BERT
from intel_quantized_embeddings.architectures.description import Architecture
from intel_quantized_embeddings.architectures.distilbert import DISTILBERT
from intel_quantized_embeddings.architectures.electra import ELECTRA
from intel_quantized_embeddings.architectures.embedding_gemma2 import EMBEDDING_GEMMA2
from intel_quantized_embeddings.architectures.gemma3 import GEMMA3
from intel_quantized_embeddings.architectures.gte import GTE
from intel_quantized_embeddings.architectures.jina_bert import JINA_BERT
from intel_quantized_embeddings.architectures.jina_v3 import JINA_V3
from intel_quantized_embeddings.architectures.llama import EUROBERT, LLAMA
from intel_quantized_embeddings.architectures.modernbert import MODERNBERT
from intel_quantized_embeddings.architectures.mpnet import MPNET
from intel_quantized_embeddings.architectures.nomic import NOMIC
from intel_quantized_embeddings.architectures.qwen3 import QWEN3
from intel_quantized_embeddings.architectures.roberta import ROBERTA

ARCHITECTURES: tuple[Architecture, ...] = (
    *(BERT, ROBERTA, DISTILBERT, MPNET, ELECTRA, JINA_BERT),
    *(MODERNBERT, NOMIC, GTE, JINA_V3, EUROBERT, QWEN3, LLAMA, GEMMA3, EMBEDDING_GEMMA2),
)

_BY_MODEL_TYPE = {model_type: one for one in ARCHITECTURES for model_type in one.model_types}

# By `model_type` of `config.json`.
BUILT_IN = tuple(sorted(_BY_MODEL_TYPE))

# Prefixes of tensors: a checkpoint may have any family's prefix, not only its own.
PREFIXES = ("", *(prefix for one in ARCHITECTURES for prefix in one.prefixes))


def architecture_of(config: Mapping[str, Any]) -> Architecture | None:
    """Return the architecture that a `config.json` names; None if it is not built in."""
    for one in ARCHITECTURES:
        if one.written_as and all(config.get(key) == value for key, value in one.written_as.items()):
            return one
    model_type = config.get("model_type")
    return _BY_MODEL_TYPE.get(model_type) if isinstance(model_type, str) else None


def text_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `config.json` with what it says of the encoder of texts in an object of its own at the top level."""
    architecture = architecture_of(config)
    part = config.get(architecture.sections[config["model_type"]]) if architecture and takes_more(config) else None
    return {**config, **part, "model_type": config["model_type"]} if isinstance(part, Mapping) else dict(config)


def takes_more(config: Mapping[str, Any]) -> bool:
    """Return whether a model takes images or sounds too, by other encoders than that of texts."""
    architecture = architecture_of(config)
    return architecture is not None and config.get("model_type") in architecture.sections


def is_built_in(config: Mapping[str, Any]) -> bool:
    """Return whether the architecture that a `config.json` names can be built here."""
    return architecture_of(config) is not None
