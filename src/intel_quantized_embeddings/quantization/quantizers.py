"""Each runtime's quantizer: what `quantization/openvino.py` and `quantization/ipex.py` both offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from intel_quantized_embeddings.runtimes.base import EmbedderGraph, RuntimeName

# SmoothQuant's strengths (alpha, https://arxiv.org/abs/2211.10438) worth comparing; None is without
# it. Which is best differs by model (docs/quantization.md).
ALPHAS: tuple[float | None, ...] = (0.85, 0.75, 0.5, None)
DEFAULT_ALPHA = 0.75


class QuantizerModule(Protocol):
    """One runtime's quantizer."""

    LIBRARIES: tuple[str, ...]
    """Distributions whose versions the manifest records."""

    def require_quantizer(self) -> None:
        """Check that its libraries are there, before any work is done.

        Raises:
            MissingExtraError: They are not.
        """
        ...

    def attention_precision(self) -> str | None:
        """The arithmetic that attention will get on this CPU; None where the library decides."""
        ...

    def quantize_graph(
        self, embedder: EmbedderGraph, token_ids: Sequence[Sequence[int]], *, alpha: float | None
    ) -> Any:
        """Quantize an embedder; the one given is left as it was.

        Args:
            embedder: In fp32.
            token_ids: The calibration texts, each run alone at its natural length: padding would
                put activations of padding into the ranges.
            alpha: SmoothQuant's strength, None for none.

        Returns:
            The int8 graph, for the runtime's `save_graph` and `compile_graph`.

        Raises:
            QuantizationError: The library failed.
        """
        ...


def quantizer_module(runtime: RuntimeName) -> QuantizerModule:
    """Import the quantizer of a runtime."""
    if runtime is RuntimeName.OPENVINO:
        from intel_quantized_embeddings.quantization import openvino

        return openvino
    from intel_quantized_embeddings.quantization import ipex

    return ipex
