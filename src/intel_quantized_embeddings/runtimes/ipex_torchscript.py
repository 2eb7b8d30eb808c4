"""Open the TorchScript folders that optimum-intel wrote for IPEX, such as Intel/bge-small-en-v1.5-rag-int8-static.

Such a graph takes input_ids, attention_mask and token_type_ids and returns the last hidden state
first; pooling and normalization are added behind it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intel_quantized_embeddings.architectures.torch_encoder import TorchPooling
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.options import Precision

_TOKEN_TYPES = "token_type_ids"

# torch's and IPEX's int8 operators in a graph. Half-precision weights (`linear_dynamic_fp16`) are not among them.
_AT_RUN_TIME = (
    "quantized::linear_dynamic(",
    "quantized::linear_relu_dynamic(",
    "quantize_per_tensor_dynamic",
    "choose_qparams",
    "woq_linear",
)
_QUANTIZED = ("quantize_per_tensor", "quantize_per_channel", "quantized::linear(", "quantized::linear_relu(")


class TorchScriptEmbedder(nn.Module):
    """A third-party encoder with pooling behind it: takes ids and mask, returns (batch, dimension)."""

    def __init__(self, script: torch.jit.ScriptModule, inputs: tuple[str, ...], pooling: TorchPooling) -> None:
        super().__init__()
        self._script = script
        self._inputs = inputs
        self._pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        if _TOKEN_TYPES in self._inputs:
            given[_TOKEN_TYPES] = torch.zeros_like(input_ids)  # a single text is all of type 0
        pooled: Tensor = self._pooling(_last_hidden_state(self._script(**given)), attention_mask)
        return pooled


def read_torchscript(file: Path, pooling: TorchPooling) -> tuple[TorchScriptEmbedder, Precision, bool]:
    """Open a TorchScript encoder, which is its maker's code, and put pooling behind it.

    Returns the embedder, its precision (INT8 if layers are quantized, else FP32), and whether ranges of activations are
    taken at run time. An encoder without the inputs and output of a text encoder, or with only one batch size or
    length, is an UnsupportedModelError.
    """
    try:
        script = torch.jit.freeze(torch.jit.load(str(file)).eval())
    except RuntimeError as exc:
        raise DamagedFilesError(
            f"{file} can't be read as TorchScript, though config.json says that it is: {_last_line(exc)}"
        ) from exc
    inputs = tuple(argument.name for argument in script.forward.schema.arguments if argument.name != "self")
    unknown = set(inputs) - {"input_ids", "attention_mask", _TOKEN_TYPES}
    if unknown or not {"input_ids", "attention_mask"} <= set(inputs):
        raise UnsupportedModelError(
            f"{file} takes the inputs {', '.join(inputs)}; a text encoder takes input_ids, attention_mask and, if it "
            f"likes, {_TOKEN_TYPES}."
        )
    embedder = TorchScriptEmbedder(script, inputs, pooling)
    try:
        with torch.no_grad():
            for shape in ((1, 3), (2, 7)):
                ids = torch.ones(shape, dtype=torch.int64)
                embedder(ids, ids)
    except (RuntimeError, IndexError, KeyError, TypeError) as exc:
        raise UnsupportedModelError(
            f"{file} does not run as a text encoder of any batch size and length: {_last_line(exc)}"
        ) from exc
    operators = str(script.inlined_graph)
    dynamic = any(operator in operators for operator in _AT_RUN_TIME)
    quantized = dynamic or any(operator in operators for operator in _QUANTIZED)
    return embedder, Precision.INT8 if quantized else Precision.FP32, dynamic


def _last_hidden_state(outputs: Any) -> Tensor:
    """Return the first output of a dictionary, a tuple or a tensor."""
    hidden = outputs["last_hidden_state"] if isinstance(outputs, dict) else outputs
    if isinstance(hidden, (tuple, list)):
        hidden = hidden[0]
    if hidden.dim() != 3:
        raise TypeError(f"its first output has shape {tuple(hidden.shape)}, not (batch, length, hidden)")
    return hidden


def _last_line(exc: BaseException) -> str:
    lines = str(exc).strip().splitlines()
    return lines[-1] if lines else type(exc).__name__
