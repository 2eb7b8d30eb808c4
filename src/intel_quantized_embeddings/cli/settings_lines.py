"""The settings of a model, quantized or not, as lines for people."""

from __future__ import annotations

from intel_quantized_embeddings.models.scoring import CrossEncoderSettings
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.sparse import SparseHead, SparseSettings
from intel_quantized_embeddings.similarity import Similarity

_COMPARED = {
    Similarity.COSINE: "cosine",
    Similarity.DOT: "dot product",
    Similarity.EUCLIDEAN: "euclidean distance",
    Similarity.MANHATTAN: "Manhattan distance",
}


def settings_lines(settings: ModelSettings | CrossEncoderSettings | SparseSettings) -> dict[str, list[str]]:
    """Return the settings of a model of any kind as lines under labels, for `labelled`."""
    lowercased = ", lowercased first" if settings.lowercase else ""
    if isinstance(settings, CrossEncoderSettings):
        return {
            "gives": [f"scores of pairs, through {settings.activation.value.lower()}"],
            "scored by": list(settings.modules),
            "pairs as": [f"a chat, its instruction {settings.instruction!r}"] if settings.template else [],
            "longest pair": [f"{settings.max_length} tokens{lowercased}"],
        }
    if isinstance(settings, SparseSettings):
        kept = f"the {settings.max_active_dims} largest kept" if settings.max_active_dims else "all kept"
        how = {
            "gives": [f"sparse vectors: {_sparse_way(settings)}, {kept}"],
        }
    else:
        how = {
            "pooling": [f"{settings.pooling_name}, {'normalized' if settings.normalize else 'not normalized'}"],
            "between": list(settings.modules),
        }
    return how | {
        "queries": [_beginning(settings.query_instruction)],
        "documents": [_beginning(settings.document_instruction)],
        "longest text": [f"{settings.max_length} tokens{lowercased}"],
        "compared by": [_COMPARED[settings.similarity]],
    }


def _sparse_way(settings: SparseSettings) -> str:
    if settings.head is SparseHead.TOKEN_WEIGHTS:
        return "weights of a text's own tokens"
    if settings.head is SparseHead.TABLE:
        return "weights of a text's own tokens, looked up in a table"
    return f"{settings.pooling.value} of {settings.activation.value} over tokens"


def _beginning(instruction: str) -> str:
    return f'begin with "{instruction}"' if instruction else "as they are"
