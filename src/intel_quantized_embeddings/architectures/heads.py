"""The classification head of a cross-encoder: a dense layer on the first token, and one score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from intel_quantized_embeddings.architectures.config import EncoderConfig
from intel_quantized_embeddings.architectures.table import PREFIXES
from intel_quantized_embeddings.architectures.tensors import TensorReader, safetensors_files
from intel_quantized_embeddings.architectures.weights import Linear
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringHead:
    """The layers that turn the first token's vector into one score.

    Attributes:
        dense: (hidden, hidden).
        with_tanh: Whether tanh follows it; relu otherwise.
        output: (1, hidden).
    """

    dense: Linear
    with_tanh: bool
    output: Linear


def load_head(folder: Path, config: EncoderConfig, *, name: str) -> ScoringHead:
    """Read a cross-encoder's head from a folder with safetensors.

    Args:
        folder: The model's files.
        config: The encoder's sizes.
        name: What to call the model in an error.

    Raises:
        UnsupportedModelError: There is no head, or it gives several scores.
        DamagedFilesError: A tensor of it is missing or has another shape than `config` says.
    """
    names = config.architecture.head
    if names is None:
        raise UnsupportedModelError(
            f"{name} is of the {config.architecture.name} family, whose cross-encoders are not built in. Load a model "
            f"that makes embeddings with Encoder.load or Reranker.load."
        )
    reader = TensorReader(safetensors_files(folder))
    dense, output = (_found(reader, layer) for layer in (names.dense, names.output))
    if dense is None or output is None:
        missing = names.dense if dense is None else names.output
        raise UnsupportedModelError(
            f"{name} has no {missing!r}, so it is no cross-encoder of the {config.architecture.name} family. Load "
            f"a model that makes embeddings with Encoder.load or Reranker.load."
        )
    hidden = config.hidden_size
    labels = len(reader.read(f"{output}.bias"))
    if labels != 1:
        raise UnsupportedModelError(
            f"{name} gives {labels} scores for a pair of texts; a cross-encoder that ranks gives one (num_labels=1)."
        )
    return ScoringHead(
        dense=_linear(reader, dense, rows=hidden, columns=hidden, where=folder),
        with_tanh=names.with_tanh,
        output=_linear(reader, output, rows=1, columns=hidden, where=folder),
    )


def _found(reader: TensorReader, layer: str) -> str | None:
    """The layer's name with whatever prefix it has."""
    return next((prefix + layer for prefix in PREFIXES if f"{prefix}{layer}.weight" in reader), None)


def _linear(reader: TensorReader, layer: str, *, rows: int, columns: int, where: Path) -> Linear:
    linear = Linear(reader.read(f"{layer}.weight"), reader.read(f"{layer}.bias"))
    if linear.weight.shape != (rows, columns) or linear.bias.shape != (rows,):
        raise DamagedFilesError(
            f"layer {layer!r} in {where} has shapes {linear.weight.shape} and {linear.bias.shape}; "
            f"{(rows, columns)} and {(rows,)} are expected."
        )
    return linear
