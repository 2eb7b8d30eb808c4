"""Search the SmoothQuant strength that is most faithful on the held-out inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from intel_quantized_embeddings.int8_folder.config import WITHOUT_CALIBRATION
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.quantization.subject import Candidate, Subject


def most_faithful(
    subject: Subject, recipe: Recipe, *, strengths: Sequence[float | None], say: Callable[[str], object]
) -> tuple[Candidate, dict[str, float]]:
    """Quantize with each strength; return the candidate with the highest score, and each strength's score."""
    scores: dict[str, float] = {}
    best: Candidate | None = None
    for number, alpha in enumerate(strengths, start=1):
        attempt = subject.attempt(replace(recipe, alpha=alpha))
        score = attempt.fidelity.score
        scores[_name(alpha)] = round(score, 6)
        if recipe.method not in WITHOUT_CALIBRATION:
            say(f"  {number}/{len(strengths)} SmoothQuant {_name(alpha)}: {attempt.fidelity.measure} {score:.4f}")
        if best is None or score > best.fidelity.score:
            best = attempt
    assert best is not None  # there is at least one strength
    if recipe.method not in WITHOUT_CALIBRATION:
        say(f"  kept SmoothQuant {_name(best.recipe.alpha)}")
    return best, scores


def _name(alpha: float | None) -> str:
    return "off" if alpha is None else str(alpha)
