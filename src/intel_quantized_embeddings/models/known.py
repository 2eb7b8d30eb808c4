"""Look up published models by name, for folders that do not say how to pool and which instructions to use.

A name is a model's own if it is a published one, followed at most by words for how the model was packed. A fine-tuned
model may begin with the name of its ancestor, or name it in config.json: that tells nothing of its instructions. A
folder's own files always win; the table (`known_models.py`) only fills gaps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from intel_quantized_embeddings.models.known_models import KNOWN_MODELS, KnownModels

# Words at a name's end that say how a model was packed: its purpose, format and bits. None of them stands for training.
_PACKED = (
    r"(?:[-_.](?:rag|int8|int4|uint8|q8|q4|o[1-4]|fp32|fp16|bf16|[48]bit|onnx|openvino|ov|ipex|torchscript|safetensors"
    r"|static|dynamic|quant|quantized|optimized|avx2|avx512|vnni|arm64|cpu|q|qdq))*"
)


# Allowed before a "_": only publishers of these models and of their int8 forms. "legal_bge-small-en-v1.5" is another
# model.
_OWNERS = sorted({model.split("/")[0].lower() for known in KNOWN_MODELS for model in known.models} | {"intel"})
_OWNED = rf"(?:(?:.*--)?(?:(?:{'|'.join(_OWNERS)})_)?)"


def look_up(names: Iterable[str]) -> KnownModels | None:
    """Find the first of several names (ids, folder names) that is a known model's own."""
    for name in names:
        last = name.rstrip("/").rsplit("/", 1)[-1].lower()
        for known in KNOWN_MODELS:
            if re.fullmatch(f"{_OWNED}(?:{known.pattern}){_PACKED}", last):
                return known
    return None
