"""The amount of an encoder's arithmetic, and this CPU's speed at it in int8."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from intel_quantized_embeddings.architectures import EncoderConfig
from intel_quantized_embeddings.benchmarks.timing import timed_calls
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError, needs

# A matmul as large as an encoder's, repeated often enough that the rest of the graph is negligible.
_ROWS, _WIDTH, _MATMULS = 2048, 1024, 8
_CALLS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSize:
    """The sizes that an encoder's arithmetic follows from, in multiply-adds.

    Attributes:
        linear: Multiply-adds of all linear layers for a token.
        attention: For each layer those of its scores and weighted values, for a token and each token that it sees.
        seen: For each layer the largest number of tokens that a token sees; None for all.
    """

    linear: int
    attention: tuple[int, ...]
    seen: tuple[int | None, ...]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> EncoderSize | None:
        """Read a Hugging Face `config.json`; None if the architecture is not built in.

        A layer's linear layers are queries, keys, values and attention's output, two of the feed-forward network, or
        three if it is gated, and three of a third half.
        """
        try:
            encoder = EncoderConfig.from_hf(config, where="the model", exported=True)
        except (UnsupportedModelError, DamagedFilesError):
            return None
        inner = (3 if encoder.block.gated else 2) * encoder.intermediate_size + 3 * encoder.recall_size
        queries = [encoder.num_heads * heads.size for heads in encoder.heads]
        keys = [heads.keys * heads.size for heads in encoder.heads]
        return cls(
            linear=encoder.hidden_size * (2 * sum(queries) + 2 * sum(keys) + encoder.num_layers * inner),
            attention=tuple(2 * width for width in queries),
            seen=tuple(
                None if kind.before is None or kind.after is None else kind.before + 1 + kind.after
                for kind in encoder.layers
            ),
        )


def operations_per_token(size: EncoderSize, *, tokens: int) -> int:
    """Operations for one token of a text of `tokens` tokens, a multiply-add being two.

    Embeddings, norms, softmax and activations are left out. Every layer counts in full, and a causal one as if it saw
    what follows too, so a runtime that skips work it needs not do (CLS pooling needs one token of the last layer) shows
    a higher rate.
    """
    seen = [tokens if most is None else min(tokens, most) for most in size.seen]
    return 2 * (size.linear + sum(some * each for some, each in zip(seen, size.attention, strict=True)))


def gops_per_core(size: EncoderSize, *, tokens: int, texts_per_second: float, cores: int) -> float:
    """Return billions of operations a second and core while encoding texts of `tokens` tokens."""
    return operations_per_token(size, tokens=tokens) * tokens * texts_per_second / cores / 1e9


def measure_int8_peak(*, num_threads: int) -> float:
    """Measure billions of int8 operations a second and core in a chain of large OpenVINO matmuls, median of 15 runs.

    That is the CPU's practical rate of plain int8 matmuls, each followed by its requantization, not its data sheet's.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    import numpy as np

    with needs("openvino", extra="openvino", needed_for="The rate of plain int8 matmuls"):
        import openvino as ov
        from openvino import opset13 as ops

    random = np.random.default_rng(0)
    entered = ops.parameter([_ROWS, _WIDTH], np.float32)
    hidden = entered
    for _ in range(_MATMULS):
        quantized = ops.fake_quantize(hidden, *_range(0.0, 2.55), 256)
        weights = random.uniform(-1, 1, (_WIDTH, _WIDTH)).astype(np.float32)
        matrix = ops.fake_quantize(ops.constant(weights), *_range(-1.27, 1.27), 255)
        hidden = ops.relu(ops.matmul(quantized, matrix, False, True))
    graph = ov.Model([ops.reduce_max(hidden, np.array([0, 1]))], [entered])
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": num_threads}
    request = ov.Core().compile_model(graph, "CPU", options).create_infer_request()
    values = random.uniform(0, 2.55, (_ROWS, _WIDTH)).astype(np.float32)
    seconds = timed_calls(
        lambda: request.infer([values], share_inputs=True), clock=time.perf_counter, calls=_CALLS, lead_in=3
    )
    return 2 * _ROWS * _WIDTH * _WIDTH * _MATMULS / statistics.median(seconds) / num_threads / 1e9


def _range(low: float, high: float) -> tuple[float, float, float, float]:
    return low, high, low, high
