"""Static int8 where it is near enough to fp32, and weights alone in int8 where it is not."""

from __future__ import annotations

from collections.abc import Callable

from intel_quantized_embeddings.int8_folder.config import MethodName, QuantizationConfig
from intel_quantized_embeddings.int8_folder.record import Choice
from intel_quantized_embeddings.quantization.recipe import QuantizerModule, Recipe
from intel_quantized_embeddings.quantization.subject import Candidate, Subject

# The least mean cosine to fp32 on held-out texts, or rank correlation on held-out pairs, that static int8 must have.
# Models that it suits have 0.994 and more, in 7 bits too, and lose no score that could be told from chance
# (docs/accuracy.md). Those whose activations have outliers, too wide for the one range of a tensor, have 0.96 and less
# (docs/quantization.md).
LEAST_SCORE = 0.99


def unmeasured(config: QuantizationConfig, quantizer: QuantizerModule) -> str:
    """Return words for a run that measures nothing; they tell if the method might have been another by measuring."""
    kept = ", so static int8 is kept however far from fp32 it is" if _may_choose(config, quantizer) else ""
    return f"nothing measured{kept}"


def static_or_weight_only(
    subject: Subject, static: Candidate, config: QuantizationConfig, *, say: Callable[[str], object]
) -> tuple[Candidate, Choice | None]:
    """Keep static int8 if it is near enough to fp32; else try weight-only int8, and keep the nearer of the two.

    Returns what is kept and the reason, which is None if only static int8 was tried, as when a method was asked for.
    """
    if not _may_choose(config, subject.quantizer) or static.fidelity.score >= LEAST_SCORE:
        return static, None
    recipe = Recipe(method=MethodName.WEIGHT_ONLY, floating_point_layers=static.recipe.floating_point_layers)
    other = subject.attempt(recipe)
    choice = Choice(
        measure=static.fidelity.measure,
        bound=LEAST_SCORE,
        scores={one.recipe.method.value: round(one.fidelity.score, 6) for one in (static, other)},
    )
    kept = other if other.fidelity.score > static.fidelity.score else static
    say(f"  kept {kept.recipe.method.value} int8: {choice}")
    return kept, choice


def _may_choose(config: QuantizationConfig, quantizer: QuantizerModule) -> bool:
    """Return whether the quantizer has both methods and the settings name none."""
    both = quantizer.METHODS[0] is MethodName.STATIC and MethodName.WEIGHT_ONLY in quantizer.METHODS
    return both and config.method is None
