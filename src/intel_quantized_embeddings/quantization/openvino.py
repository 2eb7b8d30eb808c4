"""Static int8 of an OpenVINO graph with NNCF."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.errors import MissingExtraError, QuantizationError
from intel_quantized_embeddings.pooling import Pooling
from intel_quantized_embeddings.runtimes.base import EmbedderGraph
from intel_quantized_embeddings.runtimes.openvino_graph import ATTENTION_MASK, INPUT_IDS, POOLING_PREFIX
from intel_quantized_embeddings.runtimes.quiet import quiet_torch

if TYPE_CHECKING:
    import openvino as ov
    from nncf.quantization.range_estimator import RangeEstimatorParameters
    from numpy.typing import NDArray

LIBRARIES: tuple[str, ...] = ("openvino", "nncf")


def require_quantizer() -> None:
    """Check that the quantizer is there, before any work is done.

    Raises:
        MissingExtraError: It is not.
    """
    try:
        import nncf  # noqa: F401
    except ImportError as exc:
        raise MissingExtraError(package="nncf", extra="quantize", needed_for="Quantizing to int8") from exc


def attention_precision() -> None:
    """None: NNCF decides, layer by layer."""


def quantize_graph(embedder: EmbedderGraph, token_ids: Sequence[Sequence[int]], *, alpha: float | None) -> ov.Model:
    """Quantize an embedder; see `QuantizerModule.quantize_graph`."""
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        AdvancedSmoothQuantParameters,
    )

    # Texts of one length after another: OpenVINO prepares each length once.
    inputs = [_inputs(ids) for ids in sorted(token_ids, key=len)]
    with quiet_torch(), _quiet_nncf():  # NNCF imports torch where it is installed
        try:
            return nncf.quantize(
                embedder.graph.clone(),
                nncf.Dataset(inputs),
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(inputs),
                ignored_scope=nncf.IgnoredScope(patterns=[f"{POOLING_PREFIX}.*"], validate=False),
                advanced_parameters=AdvancedQuantizationParameters(
                    activations_range_estimator_params=_activation_ranges(embedder.settings.pooling),
                    # Moves no mean cosine by more than 0.0002 and takes 2 s of 10 (docs/quantization.md).
                    disable_bias_correction=True,
                    # -1 turns SmoothQuant off.
                    smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=-1.0 if alpha is None else alpha),
                ),
            )
        except Exception as exc:
            # NNCF raises its own types, RuntimeError, and OpenVINO's.
            raise QuantizationError(f"NNCF could not quantize the model: {type(exc).__name__}: {exc}") from exc


def _activation_ranges(pooling: Pooling) -> RangeEstimatorParameters:
    """How the range of an activation follows from the extremes of each text.

    NNCF's default takes their mean. With CLS pooling the last layer sees one token a text, and that
    cuts off the extremes of half the texts, so there the widest are taken; elsewhere it makes no
    difference to cosines.
    """
    from nncf.quantization.range_estimator import (
        AggregatorType,
        RangeEstimatorParameters,
        StatisticsCollectorParameters,
        StatisticsType,
    )

    if pooling is not Pooling.CLS:
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
