"""`Recipe`, which a quantizer follows, and the Protocol of quantizers; `quantization/table.py` lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.int8_folder.config import ActivationRanges, MethodName
from intel_quantized_embeddings.runtimes.base import ModelGraph

# SmoothQuant's strengths (alpha, https://arxiv.org/abs/2211.10438) worth comparing; None is without
# it. The best one differs by model (docs/quantization.md).
ALPHAS: tuple[float | None, ...] = (0.85, 0.75, 0.5, None)
DEFAULT_ALPHA = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All settings of one quantization, decided.

    Attributes:
        method: The method. QAT sets ranges like STATIC, with other weights.
        alpha: SmoothQuant's strength, None for none.
        activation_ranges: The rule by which calibration texts give ranges; None if they don't.
        floating_point_layers: Names of linear layers that stay in floating point.
        weight_bits: Bits of int8 weights, 8 or 7; None if the quantizer has no choice.
    """

    method: MethodName = MethodName.STATIC
    alpha: float | None = None
    activation_ranges: ActivationRanges | None = None
    floating_point_layers: tuple[str, ...] = ()
    weight_bits: int | None = None


class QuantizerModule(Protocol):
    """One runtime's quantizer."""

    LIBRARIES: tuple[str, ...]
    """Distributions whose versions the manifest records."""

    METHODS: tuple[MethodName, ...]
    """Its methods, the default first."""

    RECIPE_VERSION: int
    """Raised whenever the same model and texts would come out as another int8 model."""

    def require_quantizer(self) -> None:
        """Check before any work that its libraries are installed; the error is a MissingExtraError."""
        ...

    def attention_precision(self) -> str | None:
        """Return the arithmetic that attention will have on this CPU; None if the library decides."""
        ...

    def weight_bits(self, asked: int | None) -> int | None:
        """Return the bits of int8 weights: those asked for, else those whose sums this CPU computes exactly.

        For a quantizer without a choice, asking is an OptionError.
        """
        ...

    def activation_ranges(self, asked: ActivationRanges | None, *, one_row: bool) -> ActivationRanges:
        """Return the rule of ranges: the caller's, else the quantizer's default.

        `one_row` says whether the last layer computes only each text's first row. Ranges that the quantizer does
        not have are an OptionError.
        """
        ...

    def linear_layers(self, embedder: ModelGraph) -> tuple[str, ...]:
        """Return the names of the linear layers, in the order of the graph: `layer.0.query` and so on."""
        ...

    def quantize_graph(self, embedder: ModelGraph, token_ids: Sequence[Sequence[int]], recipe: Recipe) -> Any:
        """Quantize an fp32 embedder, without changing it, for the runtime's `save_graph` and `compile_graph`.

        Each calibration text is run alone at its natural length, to keep activations of padding out of the ranges. A
        failure of the library is a QuantizationError.
        """
        ...

    def put_back(self, embedder: ModelGraph, graph: Any, layer: str) -> Any | None:
        """Restore one linear layer of an int8 graph to fp32, without quantizing again.

        Returns another graph, close enough to one quantized without that layer to rank layers by; None if a quantized
        graph can't be changed.
        """
        ...


def layers_named(asked: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the linear layers of full names and of prefixes such as `layer.0`, in the graph's order."""
    for name in asked:
        if not any(_is_or_holds(name, layer) for layer in known):
            raise OptionError(
                f"floating_point_layers: the model has no linear layer {name!r}; it has {', '.join(known)}."
            )
    return tuple(layer for layer in known if any(_is_or_holds(name, layer) for name in asked))


def _is_or_holds(name: str, layer: str) -> bool:
    return layer == name or layer.startswith(f"{name}.")
