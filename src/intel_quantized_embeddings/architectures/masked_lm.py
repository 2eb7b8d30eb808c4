"""The masked-LM head of a sparse model, which gives each token a number for each token of the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.architectures.config import EncoderConfig
from intel_quantized_embeddings.architectures.ending import Dense, LayerNorm, SparsePooling, VocabularyEnding
from intel_quantized_embeddings.architectures.heads import ACTIVATIONS, found, named, read_tensor
from intel_quantized_embeddings.architectures.layers import Linear, Norm
from intel_quantized_embeddings.architectures.table import ARCHITECTURES, PREFIXES
from intel_quantized_embeddings.architectures.tensors import TensorReader
from intel_quantized_embeddings.architectures.weights import require_safetensors
from intel_quantized_embeddings.errors import UnsupportedModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def load_masked_lm(
    folder: Path,
    config: EncoderConfig,
    described: Mapping[str, Any],
    *,
    pooling: SparsePooling,
    logarithms: int,
    name: str,
) -> VocabularyEnding:
    """Read the head of a masked language model from a folder with safetensors.

    Args:
        folder: The model's files.
        config: The encoder's sizes.
        described: The content of `config.json`.
        pooling: The pooling of a text's tokens into one row.
        logarithms: Number of times that log(1 + x) is taken.
        name: What to call the model in an error.

    Raises:
        ModelFilesError: The folder has no safetensors weights.
        UnsupportedModelError: There is no head, or it computes something that is not built in.
        DamagedFilesError: A tensor of it is missing or has another shape than `config` says.
    """
    names, hidden = config.architecture.masked_lm, config.hidden_size
    if names is None:
        able = ", ".join(one.name for one in ARCHITECTURES if one.masked_lm is not None)
        raise UnsupportedModelError(
            f"{name} is of the {config.architecture.name} family, whose masked-LM head is not built in; those of "
            f"{able} are."
        )
    reader = TensorReader(require_safetensors(folder))
    dense = found(reader, names.dense)
    if dense is None:
        raise UnsupportedModelError(
            f"{name} has no {names.dense!r}: its weights are those of an encoder without the masked-LM head that makes "
            f"sparse vectors. Load a model that makes embeddings with Encoder.load, or fetch a SPLADE model whole."
        )
    activation = ACTIVATIONS[names.activation]
    if names.activation_key is not None:
        activation = named(ACTIVATIONS, described, names.activation_key, default=names.activation, name=name)
    first = Linear(
        read_tensor(reader, f"{dense}.weight", (hidden, hidden), folder),
        _bias(reader, f"{dense}.bias", hidden, folder),
    )
    return VocabularyEnding(
        steps=(
            Dense(first, activation),
            LayerNorm(_norm(reader, names.norm, config, folder), config.layer_norm_eps),
        ),
        vocabulary=Linear(
            read_tensor(reader, _decoder(reader, config, described), (config.vocab_size, hidden), folder),
            _bias(reader, names.bias, config.vocab_size, folder),
        ),
        pooling=pooling,
        logarithms=logarithms,
    )


def _decoder(reader: TensorReader, config: EncoderConfig, described: Mapping[str, Any]) -> str:
    """Return the tensor with the decoder's weight: the table of words, unless `config.json` says that it is not."""
    names, words = config.architecture.masked_lm, config.architecture.weights.word_embeddings
    assert names is not None  # load_masked_lm has checked it
    if not described.get("tie_word_embeddings", True):
        return f"{names.decoder}.weight"
    return next((prefix + words for prefix in PREFIXES if prefix + words in reader), words)


def _norm(reader: TensorReader, name: str, config: EncoderConfig, where: Path) -> Norm:
    """Read the layer norm, in any spelling; it may have no shift."""
    spellings = config.architecture.weights.norm_parts
    scale, shift = next((parts for parts in spellings if f"{name}.{parts[0]}" in reader), spellings[0])
    width = config.hidden_size
    return Norm(read_tensor(reader, f"{name}.{scale}", (width,), where), _bias(reader, f"{name}.{shift}", width, where))


def _bias(reader: TensorReader, name: str, width: int, where: Path) -> NDArray[np.float32]:
    return read_tensor(reader, name, (width,), where) if name in reader else np.zeros(width, dtype=np.float32)
