"""Test the engine on this CPU with generated models: its bits against stored ones, and its speed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.architectures import Activation
from intel_quantized_embeddings.options import Pooling, Precision
from intel_quantized_embeddings.quantization.native import METHODS, quantize_graph
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.runtimes.base import ModelGraph
from intel_quantized_embeddings.runtimes.native import NativeRuntime
from intel_quantized_embeddings.runtimes.native_graph import NativeGraph
from intel_quantized_embeddings.runtimes.native_library import instruction_sets
from intel_quantized_embeddings.runtimes.native_shape import ACTIVATIONS, FP32, POOLINGS, UNIT_LENGTH_STEP, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

# SHA-256 of the rows of the small model and texts below, the same with every instruction set.
STORED_BITS = "224657b3333d9b4324178776e21f29104afe29de373f4d00e203578209c7dd83"

_LENGTHS = (1, 2, 5, 16, 17, 33, 64)
_QUERY_TOKENS, _TEXT_TOKENS, _TEXTS = 12, 90, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """The findings.

    Attributes:
        bits: By instruction set, the best first: whether vectors have the stored bits.
        query_ms: Median of single texts of 12 tokens, for a model of MiniLM's shape (6 layers, 384 wide) in int8.
        texts_per_second: Texts of 90 tokens a second in bulk, with all threads, the best of a few rounds.
        threads: Number of threads for both.
    """

    bits: dict[str, bool]
    query_ms: float
    texts_per_second: float
    threads: int

    @property
    def passed(self) -> bool:
        """Whether every instruction set gave the stored bits."""
        return all(self.bits.values())


def run_self_test(*, seconds: float = 4.0) -> SelfTest:
    """Run the self-test.

    Args:
        seconds: Time for measuring speed, in all.

    Raises:
        UnsupportedModelError: This installation has no engine.
    """
    small = _in_int8(_shape(layers=2, width=64, heads=2, vocabulary=500))
    texts = _texts(_LENGTHS, vocabulary=500)
    bits = {
        name: hashlib.sha256(NativeRuntime(small, instruction_set=name).run_ragged(texts).tobytes()).hexdigest()
        == STORED_BITS
        for name in instruction_sets()
    }
    large = NativeRuntime(_in_int8(_shape(layers=6, width=384, heads=12, vocabulary=2000)))
    queries = _texts((_QUERY_TOKENS,) * 50, vocabulary=2000)
    passages = _texts((_TEXT_TOKENS,) * _TEXTS, vocabulary=2000)
    large.run_ragged(passages[:4])
    one_by_one = [took for query in queries for took in _times(partial(large.run_ragged, [query]), seconds / 100)]
    in_bulk = _times(partial(large.run_ragged, passages), seconds / 2)
    return SelfTest(
        bits=bits,
        query_ms=float(np.median(one_by_one)) * 1000,
        texts_per_second=_TEXTS / min(in_bulk),
        threads=large.streams,
    )


def _times(run: Callable[[], Any], seconds: float) -> list[float]:
    """Return the seconds of each run, of as many as fit into a time, at least one."""
    times: list[float] = []
    while not times or sum(times) < seconds:
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return times


def _shape(*, layers: int, width: int, heads: int, vocabulary: int) -> Shape:
    return Shape(
        hidden=width,
        layers=layers,
        heads=heads,
        key_heads=heads,
        head_size=width // heads,
        inner=4 * width,
        vocabulary=vocabulary,
        positions=128,
        activation=ACTIVATIONS[Activation.GELU],
        pooling=POOLINGS[Pooling.MEAN],
        precision=FP32,
        second_text=0,
        padding=-1,
        relative=0,
        steps=1,
        outputs=width,
        epsilon=1e-12,
    )


def _in_int8(shape: Shape) -> NativeGraph:
    """Make a model of random weights, the same on every machine, and quantize it."""
    bits = np.random.PCG64(17)  # NumPy never changes this generator's numbers

    def random(*sizes: int) -> NDArray[np.float32]:
        raw = bits.random_raw(int(np.prod(sizes))) >> np.uint64(40)
        # In [-1/8, 1/8): integers below 2^24 times a power of two, so exact.
        return ((raw.astype(np.float32) - np.float32(2**23)) * np.float32(2**-26)).reshape(sizes)

    width, inner = shape.hidden, shape.inner
    arrays: dict[str, NDArray[Any]] = {
        "words": random(shape.vocabulary, width),
        "positions": random(shape.positions, width),
        "steps": np.array([[UNIT_LENGTH_STEP, 0, width]], dtype=np.int32),
    }
    norms = ["embedding_norm"]
    for layer in (f"layers.{number}." for number in range(shape.layers)):
        sizes = {
            "qkv": (3 * width, width),
            "attention_output": (width, width),
            "intermediate": (inner, width),
            "output": (width, inner),
        }
        for part, (outputs, inputs) in sizes.items():
            arrays |= {f"{layer}{part}.weight": random(outputs, inputs), f"{layer}{part}.bias": random(outputs)}
        norms += [f"{layer}attention_norm", f"{layer}output_norm"]
    for norm in norms:
        arrays |= {f"{norm}.weight": np.ones(width, np.float32), f"{norm}.bias": np.zeros(width, np.float32)}
    model = ModelGraph(
        graph=NativeGraph(shape=shape, arrays=arrays),
        precision=Precision.FP32,
        max_positions=shape.positions,
        pad_token_id=0,
    )
    return quantize_graph(model, [[0, 1]], Recipe(method=METHODS[0]))


def _texts(lengths: tuple[int, ...], *, vocabulary: int) -> list[list[int]]:
    bits = np.random.PCG64(18)
    return [(bits.random_raw(length) % np.uint64(vocabulary)).astype(np.int64).tolist() for length in lengths]
