"""The results of one evaluation, and their JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.evaluation.comparison import Comparison, compare
from intel_quantized_embeddings.files.json_files import write_json
from intel_quantized_embeddings.reporting.machine import Machine
from intel_quantized_embeddings.tasks.datasets import Dataset
from intel_quantized_embeddings.tasks.measure import Measurement

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDataset:
    """All encoders on one dataset."""

    dataset: str  # its name, kind and size
    reference: dict[str, float]  # the reference encoder's score by every metric
    comparisons: dict[str, Comparison]  # every other encoder compared with it, by label

    @classmethod
    def of(cls, dataset: Dataset, reference: Measurement, others: Mapping[str, Measurement]) -> OnDataset:
        """Compare measurements; raises the errors of `compare`."""
        return cls(
            dataset=str(dataset),
            reference={metric.name: metric.score for metric in reference.metrics},
            comparisons={label: compare(reference, other) for label, other in others.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResults:
    """The results of a run.

    Attributes:
        date: Its end, UTC.
        command: The command line, without paths.
        reference: The label of the encoder that the others are compared with.
        fingerprints: Every encoder's fingerprint, by label; see `Encoder.fingerprint`.
        settings: Pooling, instructions, maximum length, or a cross-encoder's activation: the same for all.
        libraries: Versions.
    """

    date: str
    command: list[str]
    model: str
    reference: str
    fingerprints: dict[str, str]
    settings: dict[str, Any]
    machine: Machine
    libraries: dict[str, str]
    datasets: list[OnDataset] = field(default_factory=list)

    def write(self, file: Path) -> None:
        """Write the results as JSON."""
        write_json(file, {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)})
