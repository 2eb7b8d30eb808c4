"""The sizes of each linear layer's inputs, measured without data: on texts of random tokens, in fp32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.runtimes.native import packed
from intel_quantized_embeddings.runtimes.native_graph import NativeGraph
from intel_quantized_embeddings.runtimes.native_library import Engine, chosen_instruction_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

# Tokens in each of the texts, without the special ones around it.
LENGTHS = (64,) * 6 + (16,) * 8

# Share of the largest input or weight: smaller ones count as this, so that unused ones get no factors of their own.
_FLOOR = np.float32(1e-4)


def input_sizes(graph: NativeGraph, *, around: Sequence[int]) -> Mapping[str, Array]:
    """Return the root mean square of each input of each linear layer of an fp32 model, by the layer's name.

    The engine computes it, to the same bits on every CPU. `around` is a text without tokens of its own: the special
    tokens around every text.
    """
    ids, offsets = random_texts(graph.shape.vocabulary, longest=graph.shape.positions, around=around)
    widths = {name: graph.arrays[f"{name}.weight"].shape[1] for name in graph.linear_layers()}
    engine = Engine(graph.shape, packed(graph), instruction_set=chosen_instruction_set())
    squares = engine.observe(ids, offsets, numbers=sum(widths.values()))
    ends = np.cumsum(list(widths.values()))
    pieces = np.split(squares, ends[:-1])
    return {name: np.sqrt(piece) for name, piece in zip(widths, pieces, strict=True)}


def random_texts(
    vocabulary: int, *, longest: int, around: Sequence[int]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Make texts of random tokens from the whole vocabulary, always the same ones.

    Returns their token ids one after another, and their offsets in them; `around` is that of `input_sizes`.
    """
    ends = [token % vocabulary for token in around]  # ids of a pair's second text may be larger
    first, last = ends[:1], ends[1:][-1:]
    room = max(longest - len(first) - len(last), 1)
    # NumPy never changes this generator's numbers (NEP 19 lets only Generator's methods change).
    bits = np.random.PCG64(1)
    texts = []
    for length in LENGTHS:
        drawn = bits.random_raw(min(length, room)) % np.uint64(vocabulary)
        texts.append((first + drawn.astype(np.int64).tolist() + last)[:longest])
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return np.fromiter((token for text in texts for token in text), dtype=np.int32), offsets


def factors(sizes: Array, weights: Array) -> Array:
    """Return a factor for each input, by which its weights are divided, so that both have one size.

    SmoothQuant with a strength of one half (https://arxiv.org/abs/2211.10438, equation 4), by root mean squares.

    Args:
        sizes: Root mean squares of the inputs. Shape: (inputs,).
        weights: Shape: (outputs, inputs).
    """
    largest = np.abs(weights).max(axis=0)
    smooth: Array = np.sqrt(_raised(largest) / _raised(sizes))
    return smooth


def _raised(sizes: Array) -> Array:
    raised: Array = np.maximum(sizes, np.maximum(sizes.max() * _FLOOR, np.float32(1e-20)))
    return raised
