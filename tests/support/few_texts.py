"""As many texts as quantizing takes at the least, for tests that are not about calibration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from intel_quantized_embeddings.quantization import cache, calibration, settling
from intel_quantized_embeddings.quantization.calibration import CalibrationSplit, Texts

TEN_TEXTS = [
    f"the {word} of the river at night"
    for word in ("bank", "boat", "bridge", "end", "fish", "light", "mouth", "source", "stone", "water")
]
# The same as arguments of `quantize`.
FEW = {"calibration_texts": TEN_TEXTS, "calibration_queries": TEN_TEXTS}


def compare_no_strengths(patch: pytest.MonkeyPatch) -> None:
    """Let quantizing take the strength that is best for MiniLM instead of comparing four, in a quarter of the time."""
    patch.setattr(settling, "ALPHAS", (0.85,))


def measure_on_an_eighth(patch: pytest.MonkeyPatch) -> None:
    """Let what is quantized on first use report its loss on every eighth held-out text, calibrated as always."""

    def split(texts: Texts) -> CalibrationSplit:
        parts = calibration.split(texts)
        held_out = Texts(documents=parts.held_out.documents[::8], queries=parts.held_out.queries[::8])
        return replace(parts, held_out=held_out)

    patch.setattr(cache, "split", split)


def quantize_quickly(patch: pytest.MonkeyPatch) -> None:
    """Let quantizing take ten texts where none are given, and compare no strengths."""
    compare_no_strengths(patch)
    for module in (cache, calibration):
        patch.setattr(module, "built_in_texts", lambda: Texts(documents=tuple(TEN_TEXTS), queries=tuple(TEN_TEXTS)))
