"""What a folder records of its loss against fp32, where that was limited."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedCost:
    """The cost of layers in floating point: throughput on the held-out texts, the three graphs taking turns.

    Attributes:
        int8_by_fp32: With no layer put back, by that of fp32.
        kept_by_fp32: Of the folder, by that of fp32.
        kept_by_int8: Of the folder, by that with no layer put back.
    """

    int8_by_fp32: float
    kept_by_fp32: float
    kept_by_int8: float

    def __str__(self) -> str:
        return (
            f"{self.kept_by_fp32:.2f} times fp32's throughput, {self.int8_by_fp32:.2f} before ({self.kept_by_int8:.2f} "
            f"of that speed)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A folder's loss against fp32 where a limit was set.

    Attributes:
        measure: Of what: the mean cosine on the held-out texts, or the main score on a dataset.
        limit: The largest loss allowed, as a share.
        before: Lost before any layer was put back in floating point.
        kept: Lost by the folder.
        put_back: Layers put back to get there, in that order.
        speed: What they cost; None where there are none.
    """

    measure: str
    limit: float
    before: float
    kept: float
    put_back: tuple[str, ...] = ()
    speed: SpeedCost | None = None

    def __str__(self) -> str:
        said = f"{self.measure}: {percent(self.kept)} lost to fp32, {percent(self.limit)} allowed"
        if not self.put_back:
            return said
        layers = ", ".join(self.put_back)
        return f"{said}; {percent(self.before)} before {layers} went back to floating point: {self.speed}"


def percent(share: float) -> str:
    """A share as a person reads it: 0.0123 is 1.23 %."""
    return f"{100 * share:.3g} %"
