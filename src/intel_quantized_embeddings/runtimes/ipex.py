"""The IPEX runtime: a torch module, traced and fused by Intel Extension for PyTorch.

Imported through `runtime_module`, which imports IPEX first.
"""

from __future__ import annotations

import copy
import weakref
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import intel_extension_for_pytorch as ipex
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn
from torch.nn import functional

from intel_quantized_embeddings.architectures import EncoderConfig, EncoderWeights, Ending, exported_limits
from intel_quantized_embeddings.architectures.torch_encoder import TorchEmbedder, TorchPooling
from intel_quantized_embeddings.errors import DamagedFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.files.whole import writing
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.weight_files import WeightKind
from intel_quantized_embeddings.options import Precision
from intel_quantized_embeddings.process.cores import within_quota
from intel_quantized_embeddings.process.forks import while_not_forking
from intel_quantized_embeddings.process.quiet import quiet_torch
from intel_quantized_embeddings.runtimes.base import ModelGraph
from intel_quantized_embeddings.runtimes.bfloat16 import require_bfloat16
from intel_quantized_embeddings.runtimes.ipex_threads import Compilations, Workers
from intel_quantized_embeddings.runtimes.ipex_torchscript import read_torchscript

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENCODER_FILE = "encoder.pt"

# TorchScript optimizes a graph on its first two runs.
_RUNS_TO_OPTIMIZE = 2


# The one thread that runs batches with all threads, for all encoders.
_all_threads = Workers(1)


class IPEXRuntime:
    """A traced embedder. Safe to call from several threads at once."""

    def __init__(self, module: nn.Module, *, num_threads: int | None = None) -> None:
        """Take a module that is ready to run.

        Args:
            module: Takes ids and mask, each (batch, length), and returns (batch, dimension).
            num_threads: Threads for one call; None takes torch's number, or fewer under a tighter CPU quota. After
                every batch the number of threads of the process is what it was.
        """
        self._module = module
        default = int(torch.get_num_threads())
        self._streams = num_threads or within_quota(default)
        # None is torch's own number, which need not be set for every batch.
        self._num_threads = None if self._streams == default else self._streams
        # Batches of several calls wait for each other: OpenMP's threads spin, and more than there are cores collapse.
        self._side_by_side = Workers(self._streams)
        self._compilations = Compilations()
        # A thread keeps compiled parts by the addresses of the graph's nodes, which another graph may get later.
        weakref.finalize(self, _all_threads.renew).atexit = False
        self._controller = ThreadpoolController().select(user_api="openmp")
        for _ in range(_RUNS_TO_OPTIMIZE):
            self._dimension = self._run_with_all(*_example()).size(1)

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return int(self._dimension)

    @property
    def streams(self) -> int:
        """See `Runtime.streams`."""
        return self._streams

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Encode one batch; see `Runtime.run`."""
        return _vectors(self._run_with_all(torch.from_numpy(input_ids), torch.from_numpy(attention_mask)))

    def run_in_stream(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Encode one batch beside others; see `Runtime.run_in_stream`."""
        ids, mask = torch.from_numpy(input_ids), torch.from_numpy(attention_mask)
        return _vectors(self._side_by_side.run(lambda: self._run(ids, mask, num_threads=1)))

    def _run_with_all(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return _all_threads.run(lambda: self._run(input_ids, attention_mask, num_threads=self._num_threads))

    def _run(self, input_ids: Tensor, attention_mask: Tensor, *, num_threads: int | None) -> Tensor:
        compiled = self._compilations.running(tuple(input_ids.shape), num_threads=num_threads or self._streams)
        with while_not_forking, torch.no_grad(), self._threads(num_threads), compiled:
            vectors: Tensor = self._module(input_ids, attention_mask)
        return vectors

    def _threads(self, number: int | None) -> AbstractContextManager[object]:
        """Set OpenMP's number for the calling thread and restore it; `torch.set_num_threads` is for the process."""
        if number is None:
            return nullcontext()
        torch.get_num_threads()  # in a new thread torch sets the number itself at the first call: make that call before
        limits: AbstractContextManager[object] = self._controller.limit(limits=number)
        return limits


def _vectors(rows: Tensor) -> NDArray[np.float32]:
    numbers: NDArray[np.float32] = rows.to(torch.float32).numpy()
    return numbers


def open_export(source: SourceModel, settings: ModelSettings, ending: Ending, *, allow_torchscript: bool) -> ModelGraph:
    """Make an embedder of optimum-intel's TorchScript; see `RuntimeModule.open_export`."""
    weights = source.weights
    if weights.kind is WeightKind.EXPORT:
        raise UnsupportedModelError(f"{source.name} holds an OpenVINO or ONNX export; load it with runtime='openvino'.")
    if not allow_torchscript:
        raise OptionError(
            f"{source.name} is a TorchScript model ({weights.files[0].name}). TorchScript is code that would run here: "
            f"if you trust who made it, load it with allow_torchscript=True."
        )
    graph, precision, dynamic = read_torchscript(weights.files[0], TorchPooling(ending))
    max_positions, pad_token_id = exported_limits(source.config, default_max_length=settings.max_length)
    return ModelGraph(
        graph=graph, precision=precision, dynamic=dynamic, max_positions=max_positions, pad_token_id=pad_token_id
    )


def graph_of_weights(encoder: EncoderConfig, weights: EncoderWeights, ending: Ending) -> ModelGraph:
    """Make an embedder of one of the BERT families; see `RuntimeModule.graph_of_weights`."""
    return ModelGraph.of_weights(TorchEmbedder(encoder, weights, ending), encoder)


def read_graph(file: Path) -> torch.jit.ScriptModule:
    """Read a quantized embedder that this package wrote, and whose hash was checked."""
    try:
        return torch.jit.freeze(torch.jit.load(str(file)).eval())
    except RuntimeError as exc:
        raise DamagedFilesError(f"torch can't read {file}: {exc}") from exc


def save_graph(graph: torch.jit.ScriptModule, file: Path) -> None:
    """Write a quantized embedder; see `RuntimeModule.save_graph`."""
    with writing(file, library="torch"):
        torch.jit.save(graph, str(file))


def compile_graph(
    graph: Any,
    *,
    precision: Precision,
    num_threads: int | None = None,
    dynamic: bool = False,
    instruction_set: str | None = None,
) -> IPEXRuntime:
    """Make a graph ready to run; see `RuntimeModule.compile_graph`.

    `dynamic` is a property of the graph, torch chooses the instructions, and TorchScript that others made runs as it
    was traced.
    """
    if precision is Precision.BF16:
        require_bfloat16()
        if not isinstance(graph, TorchEmbedder):
            raise OptionError("precision='bf16' is not available for a TorchScript model, which runs as it was traced.")
    with quiet_torch():
        if isinstance(graph, TorchEmbedder):
            embedder = graph
            # On that thread, because OpenMP waits for ever on a thread that used it before a fork.
            graph = _all_threads.run(lambda: _traced(embedder, precision))
        return IPEXRuntime(graph, num_threads=num_threads)


def flash_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Compute IPEX's attention, the fastest here in bfloat16 (docs/quantization.md); see `torch_encoder.Attention`."""
    attended: Tensor = torch.ops.torch_ipex.flash_attention(query, key, value, attention_mask=bias)[0]
    return attended


def _traced(embedder: TorchEmbedder, precision: Precision) -> torch.jit.ScriptModule:
    """Prepack the weights and record the graph, without changing the given embedder."""
    in_bf16 = precision is Precision.BF16
    module = copy.deepcopy(embedder)
    module.set_attention(flash_attention if in_bf16 else functional.scaled_dot_product_attention, in_bfloat16=False)
    module = ipex.optimize(module, dtype=torch.bfloat16 if in_bf16 else torch.float32, inplace=True)
    with while_not_forking, torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=in_bf16):
        traced = torch.jit.trace(module, _example(), check_trace=False)
    return torch.jit.freeze(traced)


def _example() -> tuple[Tensor, Tensor]:
    """Return a batch that traces every path: two texts, one of them padded."""
    mask = torch.ones((2, 8), dtype=torch.int64)
    mask[1, 5:] = 0
    return torch.ones_like(mask), mask
