"""Static int8 of an OpenVINO graph with NNCF."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.errors import MissingExtraError, QuantizationError
from intel_quantized_embeddings.runtimes.openvino_graph import ATTENTION_MASK, INPUT_IDS, POOLING_PREFIX

if TYPE_CHECKING:
    import openvino as ov
    from nncf.quantization.range_estimator import RangeEstimatorParameters
    from numpy.typing import NDArray

# SmoothQuant's strengths (alpha, https://arxiv.org/abs/2211.10438) worth comparing; None is without
# it. Which is best differs by model (docs/quantization.md).
ALPHAS: tuple[float | None, ...] = (0.85, 0.75, 0.5, None)
DEFAULT_ALPHA = 0.75


def require_nncf() -> None:
    """Check that the quantizer is there, before any work is done.

    Raises:
        MissingExtraError: It is not.
    """
    try:
        import nncf  # noqa: F401
    except ImportError as exc:
        raise MissingExtraError(package="nncf", extra="quantize", needed_for="Quantizing to int8") from exc


def quantize_graph(
    graph: ov.Model, token_ids: Sequence[Sequence[int]], *, alpha: float | None, one_token_layer: bool
) -> ov.Model:
    """Quantize an embedder; the graph given is left as it was.

    Args:
        graph: An fp32 embedder.
        token_ids: The calibration texts, each run alone at its natural length: padding would
            put activations of padding into the ranges.
        alpha: SmoothQuant's strength, None for none.
        one_token_layer: Whether a layer sees one token a text, as the last one does with CLS pooling.

    Raises:
        QuantizationError: NNCF failed.
    """
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        AdvancedSmoothQuantParameters,
    )

    # Texts of one length after another: OpenVINO prepares each length once.
    inputs = [_inputs(ids) for ids in sorted(token_ids, key=len)]
    with _quiet_nncf():
        try:
            return nncf.quantize(
                graph.clone(),
                nncf.Dataset(inputs),
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(inputs),
                ignored_scope=nncf.IgnoredScope(patterns=[f"{POOLING_PREFIX}.*"], validate=False),
                advanced_parameters=AdvancedQuantizationParameters(
                    activations_range_estimator_params=_activation_ranges(one_token_layer=one_token_layer),
                    # Moves no mean cosine by more than 0.0002 and takes 2 s of 10 (docs/quantization.md).
                    disable_bias_correction=True,
                    # -1 turns SmoothQuant off.
                    smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=-1.0 if alpha is None else alpha),
                ),
            )
        except Exception as exc:
            # NNCF raises its own types, RuntimeError, and OpenVINO's.
            raise QuantizationError(f"NNCF could not quantize the model: {type(exc).__name__}: {exc}") from exc


def _activation_ranges(*, one_token_layer: bool) -> RangeEstimatorParameters:
    """How the range of an activation follows from the extremes of each text.

    NNCF's default takes their mean. Where a layer sees one token a text, that cuts off the extremes of
    half the texts, so there the widest are taken; elsewhere it makes no difference to cosines.
    """
    from nncf.quantization.range_estimator import (
        AggregatorType,
        RangeEstimatorParameters,
        StatisticsCollectorParameters,
        StatisticsType,
    )

    if not one_token_layer:
        return RangeEstimatorParameters()
    return RangeEstimatorParameters(
        min=StatisticsCollectorParameters(statistics_type=StatisticsType.MIN, aggregator_type=AggregatorType.MIN),
        max=StatisticsCollectorParameters(statistics_type=StatisticsType.MAX, aggregator_type=AggregatorType.MAX),
    )


def _inputs(ids: Sequence[int]) -> dict[str, NDArray[np.int64]]:
    row = np.array([ids], dtype=np.int64)
    return {INPUT_IDS: row, ATTENTION_MASK: np.ones_like(row)}


@contextmanager
def _quiet_nncf() -> Iterator[None]:
    """Keep NNCF's log lines and progress bars off the terminal, and put both back afterwards."""
    import rich

    logger, console = logging.getLogger("nncf"), rich.get_console()
    level, quiet = logger.level, console.quiet
    logger.setLevel(logging.ERROR)
    console.quiet = True
    try:
        yield
    finally:
        logger.setLevel(level)
        console.quiet = quiet
