"""Architectures that people ask for and that are not built in: why, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONVERT = (
    "Convert it to OpenVINO once with pip install 'intel-quantized-embeddings[export]' and `iqe export MODEL FOLDER`, "
    "then load the folder."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotBuiltIn:
    """Why an architecture is not built in.

    Attributes:
        has: The part of it that the builders lack.
        instead: The advice in the message.
    """

    has: str
    instead: str = CONVERT


_DEBERTA = NotBuiltIn(has="scores of contents and of positions apart in its attention")
_T5 = NotBuiltIn(has="scores without a scale, and one bias by distance that all its layers share")
_EMBEDDING_GEMMA2 = NotBuiltIn(
    has="heads of two sizes, norms on values, and a gate on the embeddings in every layer",
    instead="optimum-intel 2.2 converts nothing that transformers before 5.6 lacks: run it with sentence-transformers, "
    "or take EmbeddingGemma 300m, which is built in.",
)

# By the `model_type` of `config.json`.
_ROWS: Mapping[str, NotBuiltIn] = {
    "deberta": _DEBERTA,
    "deberta-v2": _DEBERTA,
    "embedding_gemma2": _EMBEDDING_GEMMA2,
    "embedding_gemma2_text": _EMBEDDING_GEMMA2,
    "lfm2": NotBuiltIn(has="convolutions between its layers of attention"),
    "mt5": _T5,
    "t5": _T5,
}


def why_not(model_type: Any) -> str:
    """Return the part of a message that says why an architecture is not built in, if known, and what to do instead."""
    row = _ROWS.get(model_type) if isinstance(model_type, str) else None
    return CONVERT if row is None else f"It has {row.has}. {row.instead}"
