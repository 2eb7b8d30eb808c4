"""The classification head of a cross-encoder, which ends in one score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.architectures.config import EncoderConfig
from intel_quantized_embeddings.architectures.ending import Dense, Ending, LayerNorm, Step, StepActivation
from intel_quantized_embeddings.architectures.layers import Linear, Norm
from intel_quantized_embeddings.architectures.table import PREFIXES
from intel_quantized_embeddings.architectures.tensor_names import HeadNames
from intel_quantized_embeddings.architectures.tensors import TensorReader, safetensors_files
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.options import Pooling

if TYPE_CHECKING:
    from numpy.typing import NDArray

# By transformers' names, as config.json has them.
ACTIVATIONS = {
    "gelu": StepActivation.GELU,
    "gelu_new": StepActivation.GELU_TANH,
    "gelu_pytorch_tanh": StepActivation.GELU_TANH,
    "relu": StepActivation.RELU,
    "sigmoid": StepActivation.SIGMOID,
    "tanh": StepActivation.TANH,
}
_POOLINGS = {"cls": Pooling.CLS, "mean": Pooling.MEAN}


def load_head(folder: Path, config: EncoderConfig, described: Mapping[str, Any], *, name: str) -> Ending:
    """Read a cross-encoder's head from a folder with safetensors.

    Args:
        folder: The model's files.
        config: The encoder's sizes.
        described: The content of `config.json`.
        name: What to call the model in an error.

    Raises:
        UnsupportedModelError: There is no head, it gives several scores, or it computes something that is not built in.
        DamagedFilesError: A tensor of it is missing or has another shape than `config` says.
    """
    names, hidden = config.architecture.head, config.hidden_size
    if names is None:
        raise UnsupportedModelError(
            f"{name} is of the {config.architecture.name} family, whose cross-encoders are not built in. Load a model "
            f"that makes embeddings with Encoder.load or Reranker.load."
        )
    reader = TensorReader(safetensors_files(folder))
    dense, output = (None if layer is None else found(reader, layer) for layer in (names.dense, names.output))
    if output is None or (dense is None and names.dense is not None):
        missing = names.output if dense is not None or names.dense is None else names.dense
        causal = (
            " One that is scored by the next token says which in modules.json (LogitScore): fetch the whole of its "
            "newest revision, or save it once with sentence-transformers' CrossEncoder."
        )
        raise UnsupportedModelError(
            f"{name} has no {missing!r}, so it is no cross-encoder of the {config.architecture.name} family. Load "
            f"a model that makes embeddings with Encoder.load or Reranker.load."
            f"{'' if config.architecture.next_token is None else causal}"
        )
    labels = reader.shape(f"{output}.weight")[0]
    if labels != 1:
        raise UnsupportedModelError(
            f"{name} gives {labels} scores for a pair of texts; a cross-encoder that ranks gives one (num_labels=1)."
        )
    activation = ACTIVATIONS[names.activation]
    if names.activation_key is not None:
        activation = named(ACTIVATIONS, described, names.activation_key, default=names.activation, name=name)
    steps: list[Step] = []
    if dense is not None:
        steps.append(Dense(_linear(reader, dense, names, rows=hidden, columns=hidden, where=folder), activation))
    if names.norm is not None:
        steps.append(LayerNorm(_norm(reader, names.norm, width=hidden, where=folder), config.layer_norm_eps))
    steps.append(Dense(_linear(reader, output, names, rows=1, columns=hidden, where=folder)))
    pooling = Pooling.LAST if names.last_token else Pooling.CLS
    if names.pooling is not None:
        pooling = named(_POOLINGS, described, names.pooling, default="cls", name=name)
    return Ending(poolings=(pooling,), steps=tuple(steps))


def load_next_token(
    folder: Path, config: EncoderConfig, described: Mapping[str, Any], tokens: tuple[int, int | None], *, name: str
) -> Ending:
    """Read a head that scores a pair by a causal model's next token.

    The score is the logit of one token, less that of another if there is one: the logarithm of the ratio of their
    probabilities.

    Args:
        folder: The model's files.
        config: The encoder's sizes.
        described: The content of `config.json`.
        tokens: The ids of the two tokens; the second is None without one.
        name: What to call the model in an error.

    Raises:
        UnsupportedModelError: The family has no such layer, or it is not built in.
        DamagedFilesError: Its weights are missing or have another shape, or an id is not the model's.
    """
    architecture = config.architecture
    if architecture.next_token is None:
        raise UnsupportedModelError(
            f"{name} is scored by the next token, and no model of the {architecture.name} family is built in for that."
        )
    reader = TensorReader(safetensors_files(folder))
    words = architecture.weights.word_embeddings
    tensor = f"{architecture.next_token}.weight"
    if described.get("tie_word_embeddings", False):
        tensor = next((prefix + words for prefix in PREFIXES if prefix + words in reader), words)
    shape = (config.vocab_size, config.hidden_size)
    if reader.shape(tensor) != shape:
        raise DamagedFilesError(f"tensor {tensor!r} in {folder} has shape {reader.shape(tensor)}; {shape} is expected.")
    if wrong := [token for token in tokens if token is not None and not 0 <= token < config.vocab_size]:
        raise DamagedFilesError(f"{name} is scored by the token {wrong[0]}, and has {config.vocab_size} tokens.")
    wanted, other = tokens
    row = reader.read_row(tensor, wanted)
    if other is not None:
        row = row - reader.read_row(tensor, other)
    return Ending(poolings=(Pooling.LAST,), steps=(Dense(Linear(row[None], np.zeros(1, dtype=np.float32))),))


def named(known: Mapping[str, Any], described: Mapping[str, Any], key: str, *, default: str, name: str) -> Any:
    """Return what a key of `config.json` names, of what is built in; anything else is an UnsupportedModelError."""
    value = described.get(key, default)
    if value not in list(known):
        raise UnsupportedModelError(f"config.json of {name} has {key}={value!r}; built in are {', '.join(known)}.")
    return known[value]


def found(reader: TensorReader, layer: str) -> str | None:
    """Return the layer's name with the prefix that it has in this file; None if it is not there."""
    return next((prefix + layer for prefix in PREFIXES if f"{prefix}{layer}.weight" in reader), None)


def _linear(reader: TensorReader, layer: str, names: HeadNames, *, rows: int, columns: int, where: Path) -> Linear:
    weight = read_tensor(reader, f"{layer}.weight", (rows, columns), where)
    if names.may_lack_biases and f"{layer}.bias" not in reader:
        return Linear(weight, np.zeros(rows, dtype=np.float32))
    return Linear(weight, read_tensor(reader, f"{layer}.bias", (rows,), where))


def _norm(reader: TensorReader, name: str, *, width: int, where: Path) -> Norm:
    full = found(reader, name) or name
    weight = read_tensor(reader, f"{full}.weight", (width,), where)
    has_bias = f"{full}.bias" in reader
    return Norm(weight, read_tensor(reader, f"{full}.bias", (width,), where) if has_bias else np.zeros_like(weight))


def read_tensor(reader: TensorReader, name: str, shape: tuple[int, ...], where: Path) -> NDArray[np.float32]:
    """Read a tensor; one that is missing or has another shape is a DamagedFilesError."""
    held = reader.shape(name)
    if held != shape:
        raise DamagedFilesError(f"tensor {name!r} in {where} has shape {held}; {shape} is expected.")
    return reader.read(name)
