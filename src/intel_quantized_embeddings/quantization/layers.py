"""Put layers back in floating point, the most sensitive first, until int8 loses no more than a limit allows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from intel_quantized_embeddings.errors import QuantizationError
from intel_quantized_embeddings.int8_folder.config import MethodName
from intel_quantized_embeddings.int8_folder.record import Drop, SpeedCost, percent
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.quantization.subject import Candidate, GraphEncoder, Subject

if TYPE_CHECKING:
    from intel_quantized_embeddings.tasks.datasets import Dataset

# By arithmetic, a model that is 3.4 times as fast in int8 as in fp32 is 1.9 times as fast with a third of it in fp32.
# bfloat16, on a CPU that has it, is 2.4 times as fast (docs/quantization.md), and nearer to fp32.
MOST_SHARE = 1 / 3

# Layers are ranked with every third text: enough to tell them apart, and a third of the time.
_RANKED_BY_EVERY = 3

_TURNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LossMeasure:
    """A measure of the loss.

    Attributes:
        measure: As in `Drop`.
        drop: Function from a candidate to the share that it loses, negative for a gain.
    """

    measure: str
    drop: Callable[[Candidate], float]


def held_out_measure() -> LossMeasure:
    """Measure 1 less the mean cosine to fp32 on the held-out texts, with the same weight for documents and queries."""
    return LossMeasure(measure="mean cosine on held-out texts", drop=lambda attempt: 1 - attempt.fidelity.score)


def dataset_measure(subject: Subject, dataset: Dataset) -> LossMeasure:
    """Measure the lost share of fp32's main score on a dataset; fp32 is measured at once, and must score above 0."""
    from intel_quantized_embeddings.tasks.measure import measure, relative_drop

    similarity = subject.text_settings.similarity
    fp32 = measure(dataset, subject.fp32_encoder(), similarity=similarity)
    relative_drop(fp32, fp32)  # whether there is one shows before anything is calibrated
    return LossMeasure(
        measure=f"{fp32.metrics[0].name} on {dataset.name}",
        drop=lambda attempt: relative_drop(fp32, measure(dataset, subject.encoder(attempt), similarity=similarity)),
    )


def within_limit(
    subject: Subject, whole: Candidate, judge: LossMeasure, *, limit: float, say: Callable[[str], object]
) -> tuple[Candidate, Drop]:
    """Put layers back in floating point one by one until the loss is within a limit.

    `whole` has every layer in int8 but those that the settings leave in floating point. Returns the first candidate
    within the limit, and its loss; if a third of the layers is not enough, that is a QuantizationError.
    """
    before = lost = judge.drop(whole)
    say(f"  {judge.measure}: {percent(lost)} lost, {percent(limit)} allowed")
    if lost <= limit:
        return whole, Drop(measure=judge.measure, limit=limit, before=before, kept=lost)
    layers = subject.quantizer.linear_layers(subject.model)
    fixed = whole.recipe.floating_point_layers
    ranked = by_sensitivity(subject, whole.recipe, [layer for layer in layers if layer not in fixed], say=say)
    put_back: list[str] = []
    for layer in ranked[: max(1, int(len(layers) * MOST_SHARE) - len(fixed))]:
        put_back.append(layer)
        kept = subject.attempt(_with_layers(whole.recipe, put_back, layers))
        lost = judge.drop(kept)
        say(f"  {len(put_back)}. {layer} in floating point: {percent(lost)} lost")
        if lost <= limit:
            speed = _cost_in_speed(subject, whole, kept)
            say(f"  throughput on the held-out texts: {speed}")
            return kept, Drop(
                measure=judge.measure, limit=limit, before=before, kept=lost, put_back=tuple(put_back), speed=speed
            )
    others = subject.quantizer.METHODS
    exact = "quantize with method='weight-only', " if MethodName.WEIGHT_ONLY in others else ""
    raise QuantizationError(
        f"int8 of {subject.source.name} loses {percent(before)} ({judge.measure}), over max_drop={limit}, and "
        f"still {percent(lost)} with {len(put_back)} of its {len(layers)} linear layers in floating point "
        f"({', '.join(put_back)}). More would be slower than bfloat16: allow a larger drop, calibrate on texts like "
        f"yours, {exact}or load the model with precision='bf16' or 'fp32'."
    )


def by_sensitivity(
    subject: Subject, recipe: Recipe, layers: Sequence[str], *, say: Callable[[str], object]
) -> list[str]:
    """Return the layers, those first whose return to floating point alone gives back most."""
    say(f"  ranking {len(layers)} layers, each alone in floating point, on every third text")
    whole = subject.attempt(recipe, every=_RANKED_BY_EVERY)
    gains = {}
    for layer in layers:
        attempt = subject.put_back(whole, layer, every=_RANKED_BY_EVERY)
        gains[layer] = attempt.fidelity.score - whole.fidelity.score
    ranked = sorted(layers, key=gains.__getitem__, reverse=True)
    say(f"  most sensitive: {', '.join(f'{layer} ({gains[layer]:+.5f})' for layer in ranked[:5])}")
    return ranked


def _with_layers(recipe: Recipe, put_back: Sequence[str], known: Sequence[str]) -> Recipe:
    wanted = {*recipe.floating_point_layers, *put_back}
    return replace(recipe, floating_point_layers=tuple(layer for layer in known if layer in wanted))


def _cost_in_speed(subject: Subject, whole: Candidate, kept: Candidate) -> SpeedCost:
    """Encode the held-out texts in turns, so that a slower machine slows all three graphs down."""
    encoders = (subject.fp32_encoder(), subject.encoder(whole), subject.encoder(kept))
    turns = []
    for turn in range(1 + _TURNS):
        order = sorted(range(len(encoders)), reverse=turn % 2 == 1)
        seconds = {place: _seconds(encoders[place], subject) for place in order}
        if turn:  # the first run warms up
            turns.append(seconds)
    fp32_by_int8, fp32_by_kept, int8_by_kept = (
        round(statistics.median(seconds[one] / seconds[other] for seconds in turns), 3)
        for one, other in ((0, 1), (0, 2), (1, 2))
    )
    return SpeedCost(int8_by_fp32=fp32_by_int8, kept_by_fp32=fp32_by_kept, kept_by_int8=int8_by_kept)


def _seconds(encoder: GraphEncoder, subject: Subject) -> float:
    started = time.perf_counter()
    encoder.encode_documents(subject.texts.held_out.documents)
    encoder.encode_queries(subject.texts.held_out.queries)
    return time.perf_counter() - started
