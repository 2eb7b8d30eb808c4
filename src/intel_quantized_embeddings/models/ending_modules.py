"""Readers of the modules in a chain behind pooling: a Dense, a LayerNorm and a Normalize of sentence-transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.architectures import Dense, LayerNorm, Linear, Norm, StepActivation, UnitLength
from intel_quantized_embeddings.architectures.ending import Step
from intel_quantized_embeddings.architectures.tensors import TensorReader, safetensors_files
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, UnsupportedModelError
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.models.modules import refuse_unknown_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Names of a module's rows: pooled vectors, and a cross-encoder's scores.
SENTENCE, SCORES = "sentence_embedding", "scores"

_DENSE_KEYS = (
    "in_features",
    "out_features",
    "bias",
    "activation_function",
    "module_input_name",
    "module_output_name",
    "use_residual",
)
# Activations of torch.nn, by the class's name: sentence-transformers writes `torch.nn.modules.activation.Tanh`.
_ACTIVATIONS = {
    "Identity": StepActivation.IDENTITY,
    "Tanh": StepActivation.TANH,
    "GELU": StepActivation.GELU,
    "ReLU": StepActivation.RELU,
    "Sigmoid": StepActivation.SIGMOID,
}
_TORCH = ("torch.nn", "torch.nn.modules", "torch.nn.modules.activation", "torch.nn.modules.linear")

# The default of torch.nn.LayerNorm, which the module does not change.
_EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseConfig:
    """The configuration of a Dense module.

    Attributes:
        takes: Numbers in a row that it reads.
        gives: Numbers in a row that it writes.
        has_bias: Whether it has a bias.
        activation: The name of its activation in torch.nn.
    """

    takes: int
    gives: int
    has_bias: bool
    activation: str


def in_words(kind: str, where: Path) -> str:
    """Describe a module in a word or two."""
    if kind == "Dense":
        return dense_in_words(read_dense(where))
    return f"LayerNorm {_norm_width(where)}" if kind == "LayerNorm" else kind


def dense_in_words(config: DenseConfig) -> str:
    """Describe a Dense by its sizes and activation."""
    return f"Dense {config.takes} to {config.gives}, {config.activation}"


def refuse_other_normalize(path: Path) -> None:
    """Check that a Normalize works on the pooled row; `path` is its configuration."""
    config = read_json(path)
    refuse_unknown_keys(config, ("module_input_name", "module_output_name"), path)
    _refuse_other_rows(config, path, output=SENTENCE)


def _refuse_other_rows(config: dict[str, Any], path: Path, *, output: str) -> None:
    """Check that a module reads and writes the pooled row."""
    for key, only in (("module_input_name", SENTENCE), ("module_output_name", output)):
        # A module writes where it reads, unless it says otherwise.
        value = config.get(key, SENTENCE)
        if value is None and key == "module_output_name":
            value = SENTENCE
        if value != only:
            raise UnsupportedModelError(f"{path} has {key}={value!r}; only {only!r} is built in here.")


def read_dense(where: Path, *, output: str = SENTENCE) -> DenseConfig:
    """Read the configuration of a Dense whose rows have the name `output`."""
    path = where / "config.json"
    config = read_json(path)
    refuse_unknown_keys(config, _DENSE_KEYS, path)
    _refuse_other_rows(config, path, output=output)
    if config.get("use_residual"):
        raise UnsupportedModelError(f"{path} has use_residual=true (the input is added again), which is not built in.")
    bias = config.get("bias", True)
    if not isinstance(bias, bool):
        raise DamagedFilesError(f"{path} has bias={bias!r}; true or false is expected.")
    asked = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))  # the class's default
    package, _, name = asked.rpartition(".")
    if package not in _TORCH or name not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"{path} has activation_function={asked!r}; built in are {', '.join(_ACTIVATIONS)} of torch.nn."
        )
    takes, gives = (_size(config, key, path) for key in ("in_features", "out_features"))
    return DenseConfig(takes=takes, gives=gives, has_bias=bias, activation=name)


def _norm_width(where: Path) -> int:
    path = where / "config.json"
    config = read_json(path)
    refuse_unknown_keys(config, ("dimension",), path)
    return _size(config, "dimension", path)


def _size(config: dict[str, Any], key: str, path: Path) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1 << 15:
        raise DamagedFilesError(f"{path} has {key}={value!r}; a number from 1 to {1 << 15} is needed.")
    return value


def load_step(kind: str, where: Path) -> Step:
    """Read a module as a step, with its weights."""
    if kind == "Dense":
        return load_dense(where, read_dense(where))
    if kind == "Normalize":
        return UnitLength()
    width, reader = _norm_width(where), _weights(where)
    weight, bias = (
        _tensor(reader, f"norm.{part}", (width,), where, said_by="dimension") for part in ("weight", "bias")
    )
    return LayerNorm(Norm(weight, bias), _EPSILON)


def load_dense(where: Path, config: DenseConfig) -> Dense:
    """Read the weights of a Dense."""
    reader, gives = _weights(where), config.gives
    weight = _tensor(reader, "linear.weight", (gives, config.takes), where, said_by="out_features, in_features")
    bias = np.zeros(gives, dtype=np.float32)
    if config.has_bias:
        bias = _tensor(reader, "linear.bias", (gives,), where, said_by="out_features")
    elif "linear.bias" in reader:
        raise DamagedFilesError(f"{where / 'config.json'} has bias=false, and the module's weights have a linear.bias.")
    return Dense(Linear(weight, bias), _ACTIVATIONS[config.activation])


def _weights(where: Path) -> TensorReader:
    files = safetensors_files(where)
    if not files:
        raise ModelFilesError(
            f"{where} has no model.safetensors, which this module's weights are read from. Pickled weights "
            f"(pytorch_model.bin) are not read, because unpickling runs code: open the model once with "
            f"sentence-transformers and save it with save_pretrained, which writes safetensors."
        )
    return TensorReader(files)


def _tensor(
    reader: TensorReader, name: str, shape: tuple[int, ...], where: Path, *, said_by: str
) -> NDArray[np.float32]:
    held = reader.shape(name)
    if held != shape:
        raise DamagedFilesError(
            f"{where / 'config.json'} asks for a {name} of the shape {shape} ({said_by}); the weights beside it have "
            f"{held}."
        )
    return reader.read(name)
