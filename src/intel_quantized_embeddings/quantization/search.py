"""Which SmoothQuant strength to quantize with: the one that is most faithful on the held-out texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from intel_quantized_embeddings.quantization.recipe import Recipe


class _Fidelity(Protocol):
    @property
    def measure(self) -> str: ...

    @property
    def score(self) -> float: ...


class _Attempt(Protocol):
    @property
    def recipe(self) -> Recipe: ...

    @property
    def fidelity(self) -> _Fidelity: ...


_A = TypeVar("_A", bound=_Attempt)
_A_co = TypeVar("_A_co", bound=_Attempt, covariant=True)


class _Subject(Protocol[_A_co]):
    """A `Subject`, or anything else that can be quantized and compared with fp32."""

    def attempt(self, recipe: Recipe) -> _A_co: ...


def most_faithful(
    subject: _Subject[_A], recipe: Recipe, *, strengths: Sequence[float | None], say: Callable[[str], object]
) -> tuple[_A, dict[str, float]]:
    """Quantize with each strength.

    Args:
        subject: The model.
        recipe: All but the strength.
        strengths: At least one.
        say: Called with a line at each step.

    Returns:
        The attempt with the highest score, and each strength's score.

    Raises:
        QuantizationError: The quantizer failed.
    """
    scores: dict[str, float] = {}
    best: _A | None = None
    for number, alpha in enumerate(strengths, start=1):
        attempt = subject.attempt(replace(recipe, alpha=alpha))
        score = attempt.fidelity.score
        scores[_name(alpha)] = round(score, 6)
        say(f"  {number}/{len(strengths)} SmoothQuant {_name(alpha)}: {attempt.fidelity.measure} {score:.4f}")
        if best is None or score > best.fidelity.score:
            best = attempt
    assert best is not None  # there is at least one strength
    say(f"  kept SmoothQuant {_name(best.recipe.alpha)}")
    return best, scores


def _name(alpha: float | None) -> str:
    return "off" if alpha is None else str(alpha)
