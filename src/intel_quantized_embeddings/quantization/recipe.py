"""What a quantizer is told and what it offers; `quantization/table.py` says which there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.int8_folder.config import ActivationRanges, MethodName
from intel_quantized_embeddings.runtimes.base import ModelGraph

# SmoothQuant's strengths (alpha, https://arxiv.org/abs/2211.10438) worth comparing; None is without
# it. Which is best differs by model (docs/quantization.md).
ALPHAS: tuple[float | None, ...] = (0.85, 0.75, 0.5, None)
DEFAULT_ALPHA = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way of quantizing with everything decided, as a quantizer follows it.

    Attributes:
        method: When the ranges of activations are set. With QAT they are as with STATIC; the weights differ.
        alpha: SmoothQuant's strength, None for none.
        activation_ranges: How ranges follow from the calibration texts; None where they don't.
        floating_point_layers: Names of linear layers that stay in floating point.
        weight_bits: Bits of int8 weights, 8 or 7; None where the quantizer has no choice.
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
    """What it can do; the first is what it does unasked."""

    RECIPE_VERSION: int
    """Raised whenever the same model and texts would come out as another int8 model."""

    def require_quantizer(self) -> None:
        """Check that its libraries are there, before any work is done; else it is a MissingExtraError."""
        ...

    def attention_precision(self) -> str | None:
        """The arithmetic that attention will get on this CPU; None where the library decides."""
        ...

    def weight_bits(self, asked: int | None) -> int | None:
        """Return the bits of int8 weights: those asked for, else those whose sums this CPU computes exactly.

        Asking a quantizer that has no choice is an OptionError.
        """
        ...

    def activation_ranges(self, asked: ActivationRanges | None, *, one_row: bool) -> ActivationRanges:
        """Return how ranges are set: as the caller asks, else as the quantizer prefers.

        `one_row` says whether the last layer computes nothing but each text's first row. Ranges that the quantizer does
        not have are an OptionError.
        """
        ...

    def linear_layers(self, embedder: ModelGraph) -> tuple[str, ...]:
        """Names of the linear layers, in the order of the graph: `layer.0.query` and so on."""
        ...

    def quantize_graph(self, embedder: ModelGraph, token_ids: Sequence[Sequence[int]], recipe: Recipe) -> Any:
        """Quantize an fp32 embedder, which is left as it was, for the runtime's `save_graph` and `compile_graph`.

        Each calibration text is run alone at its natural length: padding would put activations of padding into the
        ranges. What the library can't do is a QuantizationError.
        """
        ...

    def put_back(self, embedder: ModelGraph, graph: Any, layer: str) -> Any | None:
        """Put one linear layer of an int8 graph back as it was in fp32, without quantizing anew.

        Returns another graph, near enough to the one quantized so to rank layers by; None where a graph can't be
        changed once it is quantized.
        """
        ...


def layers_named(asked: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the linear layers that names, or what stands before a dot in several, stand for, in the graph's order."""
    for name in asked:
        if not any(_is_or_holds(name, layer) for layer in known):
            raise OptionError(
                f"floating_point_layers: the model has no linear layer {name!r}; it has {', '.join(known)}."
            )
    return tuple(layer for layer in known if any(_is_or_holds(name, layer) for name in asked))


def _is_or_holds(name: str, layer: str) -> bool:
    return layer == name or layer.startswith(f"{name}.")
