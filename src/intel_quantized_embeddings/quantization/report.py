"""The reports that `quantize` and `quantize_cross_encoder` return."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from intel_quantized_embeddings.int8_folder.fidelity import Fidelity, ScoreFidelity, SparseFidelity
from intel_quantized_embeddings.int8_folder.record import Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of quantizing a model of any kind.

    Attributes:
        folder: The int8 folder.
        fidelity: Its closeness to fp32 on held-out inputs; None if it was not measured.
        method: The name of the method, as `quantize` takes it.
        choice: The comparison that chose the method, with both figures; None if a second one was not tried.
        smooth_quant_alpha: The SmoothQuant strength that was kept, None for none.
        floating_point_layers: Linear layers that are not int8.
        drop: The loss against fp32; None if no limit was set.
        seconds: Time of the whole job.
        bytes_before: Size of the fp32 weights.
        bytes_after: Size of the int8 encoder.
    """

    folder: Path
    fidelity: Fidelity | ScoreFidelity | SparseFidelity | None
    method: str
    choice: str | None
    smooth_quant_alpha: float | None
    floating_point_layers: tuple[str, ...]
    drop: Drop | None
    seconds: float
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationReport(Report):
    """The result of quantizing an embedding model; its attributes are those of `Report`.

    Attributes:
        fidelity: Cosines to fp32 on held-out texts; None if they were not measured.
    """

    fidelity: Fidelity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEncoderReport(Report):
    """The result of quantizing a cross-encoder; its attributes are those of `Report`. The head is never int8.

    Attributes:
        fidelity: Scores compared with fp32's on held-out pairs; None if they were not measured.
    """

    fidelity: ScoreFidelity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseReport(Report):
    """The result of quantizing a sparse model; its attributes are those of `Report`.

    Attributes:
        fidelity: Vectors compared with fp32's on held-out texts; None if they were not measured. It has no queries if
            they are looked up in a table, which stays as it is.
    """

    fidelity: SparseFidelity | None
