"""How the loss of int8 against fp32 is measured while layers are chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intel_quantized_embeddings.quantization.subject import Candidate, Subject
    from intel_quantized_embeddings.tasks.datasets import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class LossMeasure:
    """A measure of the loss.

    Attributes:
        measure: As in `Drop`.
        drop: The share lost by an attempt; negative where it gains.
    """

    measure: str
    drop: Callable[[Candidate], float]


def held_out_measure() -> LossMeasure:
    """1 less the mean cosine to fp32 on the held-out texts, documents and queries weighing the same."""
    return LossMeasure(measure="mean cosine on held-out texts", drop=lambda attempt: 1 - attempt.fidelity.score)


def dataset_measure(subject: Subject, dataset: Dataset) -> LossMeasure:
    """The share of fp32's main score on a dataset; fp32 is measured at once.

    Raises:
        MissingExtraError: What scores such a dataset is not installed.
        OptionError: fp32 scores 0 or below on it.
    """
    from intel_quantized_embeddings.tasks.measure import measure, relative_drop

    similarity = subject.text_settings.similarity
    fp32 = measure(dataset, subject.fp32_encoder(), similarity=similarity)
    relative_drop(fp32, fp32)  # whether there is one shows before anything is calibrated
    return LossMeasure(
        measure=f"{fp32.metrics[0].name} on {dataset.name}",
        drop=lambda attempt: relative_drop(fp32, measure(dataset, subject.encoder(attempt), similarity=similarity)),
    )
