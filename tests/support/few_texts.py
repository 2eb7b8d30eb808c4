"""As many texts as quantizing takes at the least, for tests that are not about calibration."""

from __future__ import annotations

import pytest

from intel_quantized_embeddings.quantization import cache, calibration, settling
from intel_quantized_embeddings.quantization.calibration import Texts

TEN_TEXTS = [
    f"the {word} of the river at night"
    for word in ("bank", "boat", "bridge", "end", "fish", "light", "mouth", "source", "stone", "water")
]


def compare_no_strengths(patch: pytest.MonkeyPatch) -> None:
    """Let quantizing take the strength that is best for MiniLM instead of comparing four, in a quarter of the time."""
    patch.setattr(settling, "ALPHAS", (0.85,))


def quantize_quickly(patch: pytest.MonkeyPatch) -> None:
    """Let quantizing take ten texts where none are given, and compare no strengths."""
    compare_no_strengths(patch)
    for module in (cache, calibration):
        patch.setattr(module, "built_in_texts", lambda: Texts(documents=tuple(TEN_TEXTS), queries=tuple(TEN_TEXTS)))
