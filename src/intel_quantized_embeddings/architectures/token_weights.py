"""The layer that weighs a text's own tokens, in a file of its own beside an encoder: bge-m3's."""

from __future__ import annotations

from pathlib import Path

from intel_quantized_embeddings.architectures.config import EncoderConfig
from intel_quantized_embeddings.architectures.ending import TokenWeights
from intel_quantized_embeddings.architectures.heads import read_tensor
from intel_quantized_embeddings.architectures.layers import Linear
from intel_quantized_embeddings.architectures.tensors import TensorReader

# What `sparse_linear.pt` of the hub, a pickle, is converted into (docs/sparse.md): its two tensors by their own names.
TOKEN_WEIGHTS_FILE = "sparse_linear.safetensors"


def load_token_weights(folder: Path, config: EncoderConfig, *, left_out: tuple[int, ...]) -> TokenWeights:
    """Read the layer from a folder with `sparse_linear.safetensors`.

    Args:
        folder: The model's files.
        config: The encoder's sizes.
        left_out: Ids of tokens that have no weight.

    Raises:
        DamagedFilesError: A tensor of it is missing or has another shape than `config` says.
    """
    reader = TensorReader([folder / TOKEN_WEIGHTS_FILE])
    weight = read_tensor(reader, "weight", (1, config.hidden_size), folder / TOKEN_WEIGHTS_FILE)
    bias = read_tensor(reader, "bias", (1,), folder / TOKEN_WEIGHTS_FILE)
    return TokenWeights(weight=Linear(weight, bias), left_out=left_out)
