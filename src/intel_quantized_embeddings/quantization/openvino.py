"""int8 of an OpenVINO graph with NNCF: static, or only weights, with activations in float or quantized at run time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.errors import QuantizationError, QuantizedEmbeddingsError, needs
from intel_quantized_embeddings.int8_folder.config import ActivationRanges, MethodName
from intel_quantized_embeddings.process.forks import importing, while_not_forking
from intel_quantized_embeddings.process.quiet import environment, quiet_torch
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.runtimes.base import ModelGraph
from intel_quantized_embeddings.runtimes.int8_products import sums_are_exact
from intel_quantized_embeddings.runtimes.openvino_ending import POOLING_PREFIX
from intel_quantized_embeddings.runtimes.openvino_graph import ATTENTION_MASK, INPUT_IDS

if TYPE_CHECKING:
    import openvino as ov
    from nncf.quantization.range_estimator import RangeEstimatorParameters
    from numpy.typing import NDArray

LIBRARIES: tuple[str, ...] = ("openvino", "nncf")
METHODS: tuple[MethodName, ...] = (MethodName.STATIC, MethodName.DYNAMIC, MethodName.WEIGHT_ONLY, MethodName.QAT)
RECIPE_VERSION = 2


def require_quantizer() -> None:
    """Check that the quantizer is installed, before any work is done."""
    # Otherwise NNCF reports every use to its makers over the network. It reads this once, when it is imported.
    told = environment(NNCF_CI="1")
    with needs("nncf", extra="openvino", needed_for="Quantizing for runtime='openvino'"), told, importing():
        import nncf  # noqa: F401


def attention_precision() -> None:
    """Return None: NNCF decides, layer by layer."""


def weight_bits(asked: int | None) -> int:
    """Return 8, or 7 on a CPU whose sums of 8-bit products saturate; see `QuantizerModule.weight_bits`."""
    return asked or (8 if sums_are_exact() else 7)


def activation_ranges(asked: ActivationRanges | None, *, one_row: bool) -> ActivationRanges:
    """Return the ranges asked for, else the mean of the extremes, and the widest of them with one row a text.

    With one row the last layer sees one token of each text, and the mean cuts off the extremes of half the texts.
    Otherwise it makes no difference to cosines.
    """
    return asked or (ActivationRanges.WIDEST if one_row else ActivationRanges.MEAN)


def linear_layers(embedder: ModelGraph) -> tuple[str, ...]:
    """Return the names of the linear layers; see `QuantizerModule.linear_layers`. An export has its own."""
    return tuple(_nodes_of_linear_layers(embedder.graph))


def quantize_graph(embedder: ModelGraph, token_ids: Sequence[Sequence[int]], recipe: Recipe) -> ov.Model:
    """Quantize an embedder; see `QuantizerModule.quantize_graph`."""
    nodes = _nodes_of_linear_layers(embedder.graph)
    in_float = [nodes[name] for name in recipe.floating_point_layers]
    # NNCF imports torch where it is installed.
    with quiet_torch(), _quiet_nncf(), while_not_forking:
        try:
            if recipe.method is MethodName.DYNAMIC:
                return _compressed(embedder.graph.clone(), in_float)
            if recipe.method is MethodName.WEIGHT_ONLY:
                return _compressed(_with_even_weights(embedder.graph, in_float), in_float)
            return _quantized(embedder.graph, token_ids, recipe, in_float)
        except (QuantizedEmbeddingsError, MemoryError):
            raise
        except Exception as exc:
            # NNCF raises its own types, RuntimeError, and OpenVINO's.
            raise QuantizationError(f"NNCF could not quantize the model: {type(exc).__name__}: {exc}") from exc


def put_back(embedder: ModelGraph, graph: ov.Model, layer: str) -> ov.Model:
    """Put one linear layer back as it was; see `QuantizerModule.put_back`.

    The layer gets its inputs without ranges and SmoothQuant's factors, and the model's weights.
    """
    import openvino as ov

    name = _nodes_of_linear_layers(embedder.graph)[layer]
    was = _by_name(embedder.graph)[name]
    graph = graph.clone()
    nodes = _by_name(graph)
    source = was.input_value(0)
    nodes[name].input(0).replace_source_output(nodes[source.get_node().get_friendly_name()].output(source.get_index()))
    weights = ov.op.Constant(np.asarray(_weights(was).data, dtype=np.float32))
    nodes[name].input(1).replace_source_output(weights.output(0))
    return graph


def _quantized(
    graph: ov.Model, token_ids: Sequence[Sequence[int]], recipe: Recipe, in_float: Sequence[str]
) -> ov.Model:
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        AdvancedSmoothQuantParameters,
        OverflowFix,
    )

    # Texts of one length after another: OpenVINO prepares each length once.
    inputs = [_inputs(ids) for ids in sorted(token_ids, key=len)]
    return nncf.quantize(
        graph.clone(),
        nncf.Dataset(inputs, _letting_forks_come),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(names=list(in_float), patterns=[f"{POOLING_PREFIX}.*"], validate=False),
        advanced_parameters=AdvancedQuantizationParameters(
            activations_range_estimator_params=_range_estimator(recipe.activation_ranges),
            # Moves no mean cosine by more than 0.0001 and took 2 s of 10 (docs/quantization.md).
            disable_bias_correction=True,
            # Halves the range of weights: two products then fit the 16 bits in which CPUs without VNNI add them.
            overflow_fix=OverflowFix.ENABLE if recipe.weight_bits == 7 else OverflowFix.DISABLE,
            # -1 turns SmoothQuant off.
            smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=-1.0 if recipe.alpha is None else recipe.alpha),
        ),
    )


def _compressed(graph: ov.Model, in_float: Sequence[str]) -> ov.Model:
    """Store weights in int8, with one symmetric range for each output channel."""
    import nncf

    return nncf.compress_weights(
        graph,
        mode=nncf.CompressWeightsMode.INT8_SYM,
        ignored_scope=nncf.IgnoredScope(names=list(in_float), patterns=[f"{POOLING_PREFIX}.*"], validate=False),
    )


def _with_even_weights(graph: ov.Model, in_float: Sequence[str]) -> ov.Model:
    """Return a copy that computes the same with weights of inputs that differ less in size.

    All weights of an output share one range, in which those of an input that are far smaller than the others would be
    rounded to nothing, however large the input is: that is how models with outliers are. Inputs are multiplied with the
    root of the size of their weights (SmoothQuant's half, of weights alone), which are divided by it; rounded to powers
    of two, it changes no bit in floating point.
    """
    import openvino as ov
    from openvino import opset15 as ops

    graph = graph.clone()
    nodes = _by_name(graph)
    for name in _nodes_of_linear_layers(graph).values():
        product = nodes[name]
        weights = np.asarray(_weights(product).data, dtype=np.float32)
        if name in in_float or weights.ndim != 2:  # (outputs, inputs), or the other way round
            continue
        outputs = 0 if product.get_attributes()["transpose_b"] else 1
        factors = _even_factors(np.abs(weights).max(axis=outputs))
        if (factors == 1).all():
            continue
        scaled = ops.multiply(product.input_value(0), ops.constant(factors))
        evened = ov.op.Constant(weights / np.expand_dims(factors, outputs))
        product.input(0).replace_source_output(scaled.output(0))
        product.input(1).replace_source_output(evened.output(0))
    return graph


def _even_factors(sizes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the power of two nearest to the root of each size by the median of all; 1 of what has no size."""
    median = max(float(np.median(sizes)), float(np.finfo(np.float32).tiny))
    beside = sizes.astype(np.float64) / median
    powers = np.rint(np.log2(beside, out=np.zeros_like(beside), where=beside > 0) / 2)
    factors: NDArray[np.float32] = np.exp2(np.clip(powers, -20, 20)).astype(np.float32)
    return factors


def _nodes_of_linear_layers(graph: ov.Model) -> dict[str, str]:
    """Return matrix products with weights: the graph's name of each by the name that users see."""
    nodes = {}
    for node in graph.get_ordered_ops():
        # Operations behind the last layer run once for each text, and are never quantized.
        behind = node.get_friendly_name().startswith(POOLING_PREFIX)
        if node.get_type_name() == "MatMul" and not behind and _weights(node).get_type_name() == "Constant":
            nodes[node.get_friendly_name().replace("/", ".")] = node.get_friendly_name()
    return nodes


def _weights(product: ov.Node) -> ov.Node:
    """Return the second factor of a matrix product: a constant in a linear layer, half precision in some exports."""
    factor = product.input_value(1).get_node()
    return factor.input_value(0).get_node() if factor.get_type_name() == "Convert" else factor


def _by_name(graph: ov.Model) -> dict[str, ov.Node]:
    return {node.get_friendly_name(): node for node in graph.get_ops()}


def _range_estimator(ranges: ActivationRanges | None) -> RangeEstimatorParameters:
    from nncf.quantization.range_estimator import (
        AggregatorType,
        RangeEstimatorParameters,
        StatisticsCollectorParameters,
        StatisticsType,
    )

    if ranges is not ActivationRanges.WIDEST:
        return RangeEstimatorParameters()  # NNCF's default, the mean
    return RangeEstimatorParameters(
        min=StatisticsCollectorParameters(statistics_type=StatisticsType.MIN, aggregator_type=AggregatorType.MIN),
        max=StatisticsCollectorParameters(statistics_type=StatisticsType.MAX, aggregator_type=AggregatorType.MAX),
    )


def _inputs(ids: Sequence[int]) -> dict[str, NDArray[np.int64]]:
    row = np.array([ids], dtype=np.int64)
    return {INPUT_IDS: row, ATTENTION_MASK: np.ones_like(row)}


def _letting_forks_come(inputs: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """Let forks happen between two texts that NNCF runs, where they interrupt nothing."""
    with while_not_forking.paused():
        return inputs


@contextmanager
def _quiet_nncf() -> Iterator[None]:
    """Keep NNCF's log lines and progress bars off the terminal, and restore both afterwards."""
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
