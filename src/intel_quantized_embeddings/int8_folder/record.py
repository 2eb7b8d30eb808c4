"""The parts of a manifest: the source, the method, the calibration, and the loss against fp32."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The fp32 model: its id or folder name, the hub's commit, the hash of each weights file."""

    id: str
    revision: str | None
    weights_sha256: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The fine-tuning of weights before they were rounded (quantization-aware training).

    Attributes:
        texts: Number of texts that it could learn from.
        steps: Number of batches that it learned from.
        score_before: The mean cosine of the rounded weights on the held-out texts, without fine-tuning.
        score_after: The same with fine-tuning, with every linear layer in int8 that can be.
    """

    texts: int
    steps: int
    score_before: float
    score_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The reason why a second method was tried: the first was too far from fp32. The better of the two was kept.

    Attributes:
        measure: What they were compared by, on held-out inputs: "mean cosine" or "rank correlation" to fp32.
        bound: The least that the first was to have.
        scores: What each has, by its name; the first comes first.
    """

    measure: str
    bound: float
    scores: dict[str, float]

    def __str__(self) -> str:
        (first, least), (second, other) = self.scores.items()
        return (
            f"{self.measure} to fp32 on held-out inputs: {first} {least:.4f}, below {self.bound:g}, and {second} "
            f"{other:.4f}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """The method and settings by which a folder was quantized.

    Attributes:
        name: One of `MethodName`.
        smooth_quant_alpha: SmoothQuant's strength in [0, 1]; None without SmoothQuant.
        alphas_tried: The held-out score of each strength that was compared.
        attention: The arithmetic of attention, "fp32" or "bf16"; None if the quantizer has no choice.
        activation_ranges: "mean" of the texts' extremes or the "widest"; None if it was not recorded.
        floating_point_layers: Linear layers that are not int8.
        training: The fine-tuning of the weights; None without quantization-aware training.
        weight_bits: Bits of int8 weights, 8 or 7; None if the quantizer has no choice.
        choice: The comparison that chose it; None if static int8 was good enough, or a method was asked for by name.
    """

    name: str
    smooth_quant_alpha: float | None
    alphas_tried: dict[str, float]
    attention: str | None = None
    activation_ranges: str | None = None
    floating_point_layers: tuple[str, ...] = ()
    training: Training | None = None
    weight_bits: int | None = None
    choice: Choice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The calibration texts: their digest, and the number of each kind."""

    digest: str
    documents: int
    queries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedCost:
    """The cost of layers in floating point: throughput on the held-out texts, the three graphs taking turns.

    Attributes:
        int8_by_fp32: Throughput with every layer in int8, relative to fp32's.
        kept_by_fp32: Throughput of the folder, relative to fp32's.
        kept_by_int8: Throughput of the folder, relative to that with every layer in int8.
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
    """A folder's loss against fp32, if a limit was set.

    Attributes:
        measure: The measure of the loss: the mean cosine on the held-out texts, or the main score on a dataset.
        limit: The largest loss allowed, as a share.
        before: The loss before any layer was put back in floating point.
        kept: The loss of the folder.
        put_back: The layers that were put back in floating point, in that order.
        speed: The cost of these layers; None without any.
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
    """Format a share for people: 0.0123 is "1.23 %"."""
    return f"{100 * share:.3g} %"
