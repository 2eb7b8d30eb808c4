"""Safetensors -> `EncoderWeights`: the same shape of object for every family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.architectures.config import EncoderConfig
from intel_quantized_embeddings.architectures.table import PREFIXES
from intel_quantized_embeddings.architectures.tensors import TensorReader, safetensors_files
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Linear:
    """`x @ weight.T + bias`; weight is (out, in), bias is (out,)."""

    weight: Array
    bias: Array


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalization's scale and shift, each (hidden,)."""

    weight: Array
    bias: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """One post-norm transformer layer."""

    query: Linear
    key: Linear
    value: Linear
    attention_output: Linear
    attention_norm: Norm
    intermediate: Linear
    output: Linear
    output_norm: Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderWeights:
    """Everything learned, float32.

    Attributes:
        word_embeddings: (vocab, hidden).
        position_embeddings: (max_positions, hidden), with the first token type's embedding
            already added: a text alone is all of type 0, so the sum is a constant.
        relative_attention_bias: (buckets, heads); None where a family has none.
        second_text: What a token of a pair's second text has added beside, (hidden,): the second token type's
            embedding less the first's. None where a family does not tell the two apart.
    """

    word_embeddings: Array
    position_embeddings: Array
    embedding_norm: Norm
    layers: tuple[LayerWeights, ...]
    relative_attention_bias: Array | None
    second_text: Array | None = None


def load_weights(folder: Path, config: EncoderConfig) -> EncoderWeights:
    """Read an encoder's weights from a folder with `model.safetensors`.

    Raises:
        ModelFilesError: The folder has no safetensors weights.
        DamagedFilesError: A tensor is missing or has another shape than `config` says.
    """
    files = safetensors_files(folder)
    if not files:
        raise ModelFilesError(
            f"{folder} has no model.safetensors. Pickled weights (pytorch_model.bin) are not read, because "
            f"unpickling runs code: convert them with transformers' save_pretrained, which writes safetensors."
        )
    return _Loader(TensorReader(files), config, where=str(folder)).load()


class _Loader:
    """Looks tensors up by the family's names and checks every shape against the configuration."""

    def __init__(self, reader: TensorReader, config: EncoderConfig, *, where: str) -> None:
        self._reader = reader
        self._config = config
        self._names = config.architecture.weights
        self._where = where
        self._prefix = self._find_prefix()

    def load(self) -> EncoderWeights:
        config, names = self._config, self._names
        hidden = config.hidden_size
        positions = self._tensor(names.position_embeddings, (config.max_positions, hidden))
        second_text = None
        if names.token_type_embeddings is not None:
            types = self._tensor(names.token_type_embeddings, (None, hidden))
            positions = positions + types[0]
            if config.architecture.tells_texts_apart and len(types) > 1:
                second_text = types[1] - types[0]
        return EncoderWeights(
            word_embeddings=self._tensor(names.word_embeddings, (config.vocab_size, hidden)),
            position_embeddings=positions,
            embedding_norm=self._norm(names.embedding_norm),
            layers=tuple(self._layer(names.layer.format(i)) for i in range(config.num_layers)),
            relative_attention_bias=(
                self._tensor(names.relative_attention_bias, (config.relative_attention_buckets, config.num_heads))
                if names.relative_attention_bias is not None
                else None
            ),
            second_text=second_text,
        )

    def _layer(self, at: str) -> LayerWeights:
        names = self._names
        hidden, inner = self._config.hidden_size, self._config.intermediate_size
        return LayerWeights(
            query=self._linear(at + names.query, hidden, hidden),
            key=self._linear(at + names.key, hidden, hidden),
            value=self._linear(at + names.value, hidden, hidden),
            attention_output=self._linear(at + names.attention_output, hidden, hidden),
            attention_norm=self._norm(at + names.attention_norm),
            intermediate=self._linear(at + names.intermediate, inner, hidden),
            output=self._linear(at + names.output, hidden, inner),
            output_norm=self._norm(at + names.output_norm),
        )

    def _linear(self, name: str, rows: int, columns: int) -> Linear:
        return Linear(self._tensor(f"{name}.weight", (rows, columns)), self._tensor(f"{name}.bias", (rows,)))

    def _norm(self, name: str) -> Norm:
        hidden = (self._config.hidden_size,)
        spellings = self._names.norm_parts
        held = (parts for parts in spellings if f"{self._prefix}{name}.{parts[0]}" in self._reader)
        scale, shift = next(held, spellings[-1])
        return Norm(self._tensor(f"{name}.{scale}", hidden), self._tensor(f"{name}.{shift}", hidden))

    def _tensor(self, name: str, shape: tuple[int | None, ...]) -> Array:
        # Before it is read: a file may claim any size.
        held = self._reader.shape(self._prefix + name)
        fits = len(held) == len(shape) and all(
            want is None or have == want for have, want in zip(held, shape, strict=True)
        )
        if not fits:
            raise DamagedFilesError(
                f"tensor {self._prefix + name!r} in {self._where} has shape {held}; config.json asks for {shape}."
            )
        return self._reader.read(self._prefix + name)

    def _find_prefix(self) -> str:
        for prefix in PREFIXES:
            if prefix + self._names.word_embeddings in self._reader:
                return prefix
        raise DamagedFilesError(
            f"the weights in {self._where} have no {self._names.word_embeddings!r} under any known prefix: "
            f"they are not those of a {self._config.architecture.name} encoder, which config.json says they are."
        )
