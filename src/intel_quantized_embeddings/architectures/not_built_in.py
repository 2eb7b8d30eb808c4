"""Architectures that people ask for and that are not built in: why, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONVERT = (
    "Convert it to OpenVINO once with pip install 'intel-quantized-embeddings[export]' and `iqe export MODEL FOLDER`, "
    "then load the folder."
)

_DEBERTA = "scores of contents and of positions apart in its attention"
_T5 = "scores without a scale, and one bias by distance that all its layers share"

# The part of an architecture that the builders lack, by the `model_type` of `config.json`.
_LACKING: Mapping[str, str] = {
    "deberta": _DEBERTA,
    "deberta-v2": _DEBERTA,
    "lfm2": "convolutions between its layers of attention",
    "mt5": _T5,
    "t5": _T5,
}


def why_not(model_type: Any) -> str:
    """Return the part of a message that says why an architecture is not built in, if known, and what to do instead."""
    lacking = _LACKING.get(model_type) if isinstance(model_type, str) else None
    return CONVERT if lacking is None else f"It has {lacking}. {CONVERT}"
