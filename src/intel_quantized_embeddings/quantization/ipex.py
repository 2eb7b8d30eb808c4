"""Static int8 of a torch module with Intel Neural Compressor, for the IPEX runtime."""

from __future__ import annotations

import copy
import importlib.util
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from intel_quantized_embeddings.errors import (
    MissingExtraError,
    OptionError,
    QuantizationError,
    QuantizedEmbeddingsError,
)
from intel_quantized_embeddings.int8_folder.config import ActivationRanges, MethodName
from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.process.forks import KeyedLocks, while_not_forking
from intel_quantized_embeddings.process.quiet import quiet_torch
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.runtimes.base import ModelGraph
from intel_quantized_embeddings.runtimes.bfloat16 import has_bfloat16
from intel_quantized_embeddings.runtimes.ipex_threads import Workers
from intel_quantized_embeddings.runtimes.table import runtime_module

if TYPE_CHECKING:
    import torch

    from intel_quantized_embeddings.architectures.torch_encoder import TorchEmbedder

LIBRARIES: tuple[str, ...] = ("torch", "intel-extension-for-pytorch", "neural-compressor-pt")
METHODS: tuple[MethodName, ...] = (MethodName.STATIC, MethodName.QAT)
RECIPE_VERSION = 1

# Neural Compressor keeps its working file in a module's variable.
_ONE_AT_A_TIME = KeyedLocks()


def require_quantizer() -> None:
    """Check that the runtime and the quantizer are installed and work together, before any work is done."""
    runtime_module(RuntimeName.IPEX)
    if importlib.util.find_spec("neural_compressor") is None:
        raise MissingExtraError(package="neural_compressor", extra="ipex", needed_for="Quantizing to int8")


def attention_precision() -> str:
    """Return bfloat16 if the CPU has it, which is faster and as faithful (docs/quantization.md), else float32."""
    return "bf16" if has_bfloat16() else "fp32"


def weight_bits(asked: int | None) -> None:
    """Return None: Neural Compressor always takes 8 bits, and others are refused; see `QuantizerModule.weight_bits`."""
    if asked not in (None, 8):
        raise OptionError(
            f"weight_bits={asked} is not available with runtime='ipex': Neural Compressor's weights have 8. Leave it "
            f"out, or quantize for runtime='openvino'."
        )


def activation_ranges(asked: ActivationRanges | None, *, one_row: bool) -> ActivationRanges:
    """Return the widest, and refuse others: Neural Compressor's others are slower."""
    if asked not in (None, ActivationRanges.WIDEST):
        raise OptionError(
            f"activation_ranges={asked.value!r} is not available with runtime='ipex': Neural Compressor takes the "
            f"{ActivationRanges.WIDEST.value!r}. Leave it out, or quantize for runtime='openvino'."
        )
    return ActivationRanges.WIDEST


def linear_layers(embedder: ModelGraph) -> tuple[str, ...]:
    """Names of the linear layers; see `QuantizerModule.linear_layers`."""
    return tuple(_modules_of_linear_layers(embedder.graph))


def quantize_graph(embedder: ModelGraph, token_ids: Sequence[Sequence[int]], recipe: Recipe) -> torch.jit.ScriptModule:
    """Quantize an embedder; see `QuantizerModule.quantize_graph`."""
    from intel_quantized_embeddings.runtimes.ipex import flash_attention

    model = copy.deepcopy(embedder.graph)
    if attention_precision() == "bf16":
        model.set_attention(flash_attention, in_bfloat16=True)
    return quantize_module(model, token_ids, recipe)


def put_back(embedder: ModelGraph, graph: torch.jit.ScriptModule, layer: str) -> None:
    """Return None: a traced and fused graph can't be changed; see `QuantizerModule.put_back`."""


def _modules_of_linear_layers(model: TorchEmbedder) -> dict[str, str]:
    """Return the module's name of each linear layer by the name that users see."""
    from torch import nn

    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return {name.replace("layers.", "layer.", 1): name for name in linears}


def quantize_module(model: TorchEmbedder, token_ids: Sequence[Sequence[int]], recipe: Recipe) -> torch.jit.ScriptModule:
    """Quantize every linear layer; attention is not changed, unless it is made of matrix products.

    Weights get a symmetric range for each output channel; activations an asymmetric one for the whole tensor, the
    widest seen. The model is changed in place. Layers that stay in floating point compute in attention's arithmetic if
    they make its queries, keys and values, the others in float32.
    """
    import torch

    with quiet_torch():  # twice, because importing Neural Compressor sets its own level
        from neural_compressor.torch.quantization import StaticQuantConfig, prepare

    from intel_quantized_embeddings.quantization.smooth_quant import smooth

    inputs = [_inputs(ids) for ids in sorted(token_ids, key=len)]
    try:
        with quiet_torch(), torch.no_grad(), _neural_compressors_folder():
            if recipe.alpha is not None:
                smooth(model, inputs, alpha=recipe.alpha)
            # Without the exclusion everything but int8 would be traced in bfloat16, residuals included.
            config = StaticQuantConfig(excluded_precisions=["bf16"])
            modules = _modules_of_linear_layers(model)
            for name in recipe.floating_point_layers:
                # A regular expression, matched from the start.
                left = StaticQuantConfig(w_dtype="fp32", act_dtype="fp32", excluded_precisions=["bf16"])
                config.set_local(f"{re.escape(modules[name])}$", left)
            prepared = prepare(model, config, example_inputs=inputs[len(inputs) // 2])
            for one in inputs:
                with while_not_forking:
                    prepared(*one)
            # On a thread that ends, because a thread keeps parts of a graph: see `IPEXRuntime`.
            converted = Workers(1).run(lambda: _converted(prepared))
    except (QuantizedEmbeddingsError, MemoryError):
        raise
    except Exception as exc:
        # Neural Compressor and IPEX raise AssertionError, RuntimeError, and errors of Python's for their own faults.
        raise QuantizationError(f"Neural Compressor could not quantize the model: {type(exc).__name__}: {exc}") from exc
    converted.save = converted.ori_save  # Neural Compressor's own function writes a folder
    return converted


def _converted(prepared: torch.nn.Module) -> torch.jit.ScriptModule:
    import torch
    from neural_compressor.torch.quantization import convert

    with torch.no_grad():  # a setting of each thread
        converted: torch.jit.ScriptModule = convert(prepared)
    return converted


def _inputs(ids: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    row = torch.tensor([list(ids)], dtype=torch.int64)
    return row, torch.ones_like(row)


@contextmanager
def _neural_compressors_folder() -> Iterator[None]:
    """Let Neural Compressor work in a temporary folder instead of `nc_workspace` in the current one."""
    from neural_compressor.torch.algorithms.static_quant import static_quant, utility

    with _ONE_AT_A_TIME.holding(None), tempfile.TemporaryDirectory() as folder:
        before = utility.ipex_config_path
        static_quant.ipex_config_path = utility.ipex_config_path = str(Path(folder) / "ipex.json")
        try:
            yield
        finally:
            static_quant.ipex_config_path = utility.ipex_config_path = before
