"""int8 for the native engine: weights by output channel and words by row, without data; activations at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.int8_folder.config import ActivationRanges, MethodName
from intel_quantized_embeddings.quantization.balance import balance
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.quantization.smoothing import factors, input_sizes
from intel_quantized_embeddings.runtimes.base import ModelGraph
from intel_quantized_embeddings.runtimes.native import in_int8
from intel_quantized_embeddings.runtimes.native_graph import NativeGraph
from intel_quantized_embeddings.runtimes.native_library import empty, quantize
from intel_quantized_embeddings.runtimes.native_shape import LEVELS, RECALL_LEVELS, RECALL_PARTS, VOCABULARY_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIBRARIES: tuple[str, ...] = ("numpy",)
METHODS: tuple[MethodName, ...] = (MethodName.PER_TOKEN,)
RECIPE_VERSION = 3

# The parts whose inputs are smoothed. The inputs of "output" come from the activation, and gain nothing by it unless a
# gate is multiplied with them.
SMOOTHED = ("qkv", "attention_output", "intermediate", *RECALL_PARTS)
SMOOTHED_IF_GATED = ("output",)

# The name in lists of layers of a sparse model's step that gives a number for each token of the vocabulary.
_VOCABULARY = "vocabulary"

# Rows of words that are quantized together: few enough that there is no second table in floats.
_ROWS = 512


def require_quantizer() -> None:
    """Check nothing: the quantizer is the engine's own."""


def attention_precision() -> None:
    """Return None: the engine decides, by the model and a text's length (native/src/attention_int.h)."""


def weight_bits(asked: int | None) -> int | None:
    """Refuse a number of bits, because the bounds of sums decide the codes; see `QuantizerModule.weight_bits`."""
    if asked is not None:
        raise OptionError(
            f"weight_bits={asked} is not allowed with runtime='native', whose weights are the same on every CPU. Leave "
            f"it out."
        )
    return None


def activation_ranges(asked: ActivationRanges | None, *, one_row: bool) -> ActivationRanges:
    """Refuse ranges, because each token has its own; see `QuantizerModule.activation_ranges`."""
    raise OptionError("activation_ranges is not allowed with runtime='native', which has none to set. Leave it out.")


def linear_layers(embedder: ModelGraph) -> tuple[str, ...]:
    """Return the names of the linear layers, `layer.0.qkv` and so on; see `QuantizerModule.linear_layers`."""
    graph: NativeGraph = embedder.graph
    return (*(_shown(name) for name in graph.linear_layers()), *([_VOCABULARY] if graph.vocabulary else []))


def quantize_graph(embedder: ModelGraph, token_ids: Sequence[Sequence[int]], recipe: Recipe) -> NativeGraph:
    """Quantize a model; see `QuantizerModule.quantize_graph`.

    Of the texts only the special tokens around the first one are used, which all texts have.
    """
    graph: NativeGraph = embedder.graph
    arrays: dict[str, NDArray[Any]] = dict(graph.arrays)
    sizes = input_sizes(graph, around=token_ids[0])
    arrays["words.codes"], arrays["words.scales"] = words_in_int8(arrays.pop("words"))
    for name in graph.linear_layers():
        if _shown(name) not in recipe.floating_point_layers:
            weights = arrays.pop(f"{name}.weight")
            arrays |= _in_int8(name, weights, sizes[name], gated=bool(graph.shape.gated))
            if name.endswith(".qkv"):
                equal = balance(graph.shape, weights, sizes[name])
                arrays |= {f"{name}.{kind}": arrays[f"{name}.{kind}"] * equal for kind in ("scales", "bias")}
    if graph.vocabulary is not None and _VOCABULARY not in recipe.floating_point_layers:
        arrays |= _vocabulary_in_int8(graph.vocabulary, arrays.pop(f"{graph.vocabulary}.weight"), arrays)
    return in_int8(graph, arrays)


def _vocabulary_in_int8(
    name: str, weights: NDArray[np.float32], arrays: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Quantize the step that gives a number for each token of the vocabulary.

    What it reads comes out of a layer norm. Before its scale and shift each number has a root mean square of about 1,
    so those two say how large its inputs are.
    """
    before = f"steps.{int(name.rpartition('.')[2]) - 1}"
    smooth = None
    if f"{before}.epsilon" in arrays:
        sizes = np.sqrt(np.square(arrays[f"{before}.weight"]) + np.square(arrays[f"{before}.bias"]))
        smooth = factors(sizes, weights)
    codes, scales, sums = quantize(weights, smooth, levels=VOCABULARY_LEVELS)
    quantized: dict[str, NDArray[Any]] = {f"{name}.codes": codes, f"{name}.scales": scales, f"{name}.sums": sums}
    return quantized if smooth is None else quantized | {f"{name}.factors": smooth}


def words_in_int8(words: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return codes and a scale for each row; a row with NaN or infinity gets such a scale."""
    codes = empty(words.size, np.int8).reshape(words.shape)
    scales = empty(len(words), np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        for first in range(0, len(words), _ROWS):
            rows = words[first : first + _ROWS]
            scale = np.abs(rows).max(axis=1) / np.float32(127)
            # Below normal numbers a scale is too coarse for codes to fit: such a row is zeros.
            scale[scale < np.finfo(np.float32).tiny] = 0
            scale[np.isinf(scale)] = np.nan
            exact = rows / scale[:, None]
            np.rint(exact, out=exact)
            exact[~(scale > 0)] = 0
            codes[first : first + _ROWS] = exact
            scales[first : first + _ROWS] = scale
    return codes, scales


def _in_int8(
    name: str, weights: NDArray[np.float32], sizes: NDArray[np.float32], *, gated: bool
) -> dict[str, NDArray[Any]]:
    part = name.rpartition(".")[2]
    smooth = factors(sizes, weights) if part in SMOOTHED or (gated and part in SMOOTHED_IF_GATED) else None
    codes, scales, sums = quantize(weights, smooth, levels=LEVELS.get(part, RECALL_LEVELS))
    quantized: dict[str, NDArray[Any]] = {f"{name}.codes": codes, f"{name}.scales": scales, f"{name}.sums": sums}
    return quantized if smooth is None else quantized | {f"{name}.factors": smooth}


def put_back(embedder: ModelGraph, graph: NativeGraph, layer: str) -> NativeGraph:
    """Put one linear layer back as it was; see `QuantizerModule.put_back`."""
    was: NativeGraph = embedder.graph
    names = {_shown(name): name for name in was.linear_layers()}
    name = was.vocabulary if layer == _VOCABULARY and was.vocabulary else names[layer]
    arrays = {key: array for key, array in graph.arrays.items() if key.rpartition(".")[0] != name}
    arrays |= {key: array for key, array in was.arrays.items() if key.rpartition(".")[0] == name}
    return in_int8(graph, arrays)


def _shown(name: str) -> str:
    """Return a layer's name for users: `layer.0.qkv`, as of the other runtimes."""
    return "layer" + name.removeprefix("layers")
