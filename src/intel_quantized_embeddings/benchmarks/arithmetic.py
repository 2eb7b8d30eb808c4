"""How much arithmetic an encoder is, and how fast this CPU does it in int8."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from intel_quantized_embeddings.architectures.table import architecture_of
from intel_quantized_embeddings.benchmarks.timing import timed_calls
from intel_quantized_embeddings.errors import needs

# A matmul as large as an encoder's, repeated: large enough that everything else in the graph is little.
_ROWS, _WIDTH, _MATMULS = 2048, 1024, 8
_CALLS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSize:
    """The sizes in a `config.json` that arithmetic follows from."""

    hidden: int
    intermediate: int
    layers: int

    @classmethod
    def from_config(cls, config: dict[str, object]) -> EncoderSize | None:
        """Read a Hugging Face config; None where `operations_per_token` would not count right.

        That is every architecture that is not built in: its feed-forward may be gated, or its heads share keys.
        """
        architecture = architecture_of(config)
        if architecture is None:
            return None
        keys = architecture.keys
        hidden, intermediate, layers = (
            config.get(key) for key in (keys.hidden_size, keys.intermediate_size, keys.num_layers)
        )
        if not (isinstance(hidden, int) and isinstance(intermediate, int) and isinstance(layers, int)):
            return None
        return cls(hidden=hidden, intermediate=intermediate, layers=layers)


def operations_per_token(size: EncoderSize, *, tokens: int) -> int:
    """Operations for one token of a text of `tokens` tokens, a multiply-add being two.

    Per layer, in multiply-adds: query, key, value and attention output 4 H^2, feed-forward 2 H I, scores and
    their sum over the values 2 L H; H is the hidden size, I the intermediate one, L the text's length.
    Embeddings, norms, softmax and activations are left out, and every layer counts in full, so a runtime
    that skips work it needs not do (CLS pooling needs one token of the last layer) shows a higher rate.
    """
    per_layer = 4 * size.hidden**2 + 2 * size.hidden * size.intermediate + 2 * tokens * size.hidden
    return 2 * size.layers * per_layer


def gops_per_core(size: EncoderSize, *, tokens: int, texts_per_second: float, cores: int) -> float:
    """Billions of operations a second and core while encoding texts of `tokens` tokens."""
    return operations_per_token(size, tokens=tokens) * tokens * texts_per_second / cores / 1e9


def measure_int8_peak(*, num_threads: int) -> float:
    """Billions of int8 operations a second and core in a chain of large OpenVINO matmuls, the median of 15 runs.

    What the CPU reaches in practice on plain int8 matmuls, each followed by its requantization; not what its
    data sheet says.

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
