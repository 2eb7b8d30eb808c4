"""Safetensors -> `EncoderWeights`, the same class for every family."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.architectures.config import EncoderConfig
from intel_quantized_embeddings.architectures.description import Part
from intel_quantized_embeddings.architectures.layers import EncoderWeights, LayerWeights, Linear, Norm, Recall
from intel_quantized_embeddings.architectures.table import PREFIXES
from intel_quantized_embeddings.architectures.tensors import TensorReader, safetensors_files
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, UnsupportedModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


def load_weights(folder: Path, config: EncoderConfig) -> EncoderWeights:
    """Read an encoder's weights from a folder with `model.safetensors`.

    Raises:
        ModelFilesError: The folder has no safetensors weights.
        DamagedFilesError: A tensor is missing or has another shape than `config` says.
        UnsupportedModelError: There are layers of a variant that is not built in.
    """
    return _Loader(TensorReader(require_safetensors(folder)), config, where=str(folder)).load()


def require_safetensors(folder: Path) -> list[Path]:
    """Return a folder's files with safetensors weights; none is a ModelFilesError."""
    files = safetensors_files(folder)
    if not files:
        raise ModelFilesError(
            f"{folder} has no model.safetensors. Pickled weights (pytorch_model.bin) are not read, because "
            f"unpickling runs code: convert them with transformers' save_pretrained, which writes safetensors."
        )
    return files


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
        embedding = config.embedding_size
        if names.position_embeddings is None:
            positions = np.zeros((1, embedding), dtype=np.float32)
        else:
            positions = self._tensor(names.position_embeddings, (config.max_positions, embedding))
        second_text = None
        if names.token_type_embeddings is not None and config.block.token_types:
            types = self._tensor(names.token_type_embeddings, (None, embedding))
            positions = positions + types[0]
            if len(types) > 1:
                second_text = types[1] - types[0]
        words = self._tensor(names.word_embeddings, (config.vocab_size, embedding))
        recalls = self._recalls()
        return EncoderWeights(
            word_embeddings=words if config.embedding_factor == 1 else words * np.float32(config.embedding_factor),
            position_embeddings=positions,
            embedding_norm=self._norm(names.embedding_norm, width=embedding),
            embedding_projection=self._projection(),
            layers=tuple(self._layer(i, recalls[i]) for i in range(config.num_layers)),
            relative_attention_bias=(
                self._tensor(names.relative_attention_bias, (config.relative_attention_buckets, config.num_heads))
                if names.relative_attention_bias is not None
                else None
            ),
            second_text=second_text,
            final_norm=self._norm(names.final_norm),
            output_projection=(
                self._plain(names.output_projection, config.output_size, config.hidden_size)
                if names.output_projection is not None
                else None
            ),
        )

    def _layer(self, index: int, recall: Recall | None) -> LayerWeights:
        config, names = self._config, self._names
        at = names.layer.format(index)
        for layer in names.none_of:
            if f"{self._prefix}{at}{layer}.weight" in self._reader:
                raise UnsupportedModelError(
                    f"{self._where} has the layer {at + layer!r}: a variant of {config.architecture.name} that is not "
                    f"built in. A published ONNX or OpenVINO file of the model opens with runtime='openvino'."
                )
        hidden, inner, heads = config.hidden_size, config.intermediate_size, config.heads[index]
        queries, keys = config.num_heads * heads.size, heads.keys * heads.size
        query, key, value = self._parts(
            at, names.qkv, (names.query, names.key, names.value), (queries, keys, keys), part=Part.QKV
        )
        gate = None
        if names.gate_and_intermediate is not None:
            both = self._linear(at + names.gate_and_intermediate, 2 * inner, hidden, part=Part.INTERMEDIATE)
            gate, intermediate = _split(both, (inner, inner))
            if not names.gate_first:
                gate, intermediate = intermediate, gate
        else:
            intermediate = self._linear(at + names.intermediate, inner, hidden, part=Part.INTERMEDIATE)
            if names.gate is not None:
                gate = self._linear(at + names.gate, inner, hidden, part=Part.INTERMEDIATE)
        first_missing = config.block.first_norm_missing and index == 0
        return LayerWeights(
            query=query,
            key=key,
            value=value,
            attention_output=self._linear(at + names.attention_output, hidden, queries, part=Part.ATTENTION_OUTPUT),
            gate=gate,
            intermediate=intermediate,
            output=self._linear(at + names.output, hidden, inner, part=Part.OUTPUT),
            query_norm=self._norm_of_heads(at, names.query_norm, size=heads.size),
            key_norm=self._norm_of_heads(at, names.key_norm, size=heads.size),
            value_norm=np.ones(heads.size, dtype=np.float32) if config.block.value_norm else None,
            qkv_norm=None if first_missing else self._norm(names.qkv_norm, at),
            attention_norm=self._norm(names.attention_norm, at),
            intermediate_norm=self._norm(names.intermediate_norm, at),
            output_norm=self._norm(names.output_norm, at),
            recall=recall,
        )

    def _recalls(self) -> tuple[Recall | None, ...]:
        """Return the third half of each layer; the one layer that makes the inputs of all is cut into theirs."""
        config, names = self._config, self._names.recall
        count, hidden, width = config.num_layers, config.hidden_size, config.recall_size
        if names is None:
            return (None,) * count
        inputs = self._plain(names.inputs, count * width, hidden)
        inputs = Linear(inputs.weight * np.float32(hidden**-0.5), inputs.bias)
        input_norm = self._named_norm(names.input_norm, width=width)
        recalls = []
        for index, own in enumerate(_split(inputs, (width,) * count)):
            at = self._names.layer.format(index)
            recalls.append(
                Recall(
                    inputs=own,
                    input_norm=input_norm,
                    gate=self._plain(at + names.gate, width, hidden),
                    output=self._plain(at + names.output, hidden, width),
                    norm=self._named_norm(at + names.norm, width=hidden),
                    factor=float(self._tensor(at + names.factor, (1,))[0]),
                )
            )
        return tuple(recalls)

    def _projection(self) -> Linear | None:
        config, name = self._config, self._names.embedding_projection
        if name is None or config.embedding_size == config.hidden_size:
            return None
        shape = (config.hidden_size, config.embedding_size)
        return Linear(self._tensor(f"{name}.weight", shape), self._tensor(f"{name}.bias", shape[:1]))

    def _parts(
        self, at: str, fused: str | None, single: tuple[str, ...], rows: tuple[int, ...], *, part: Part
    ) -> tuple[Linear, ...]:
        """Return linear layers with the same input, each from its own tensor or all from one."""
        columns = self._config.hidden_size
        if fused is not None:
            return _split(self._linear(at + fused, sum(rows), columns, part=part), rows)
        named = zip(single, rows, strict=True)
        return tuple(self._linear(at + name, count, columns, part=part) for name, count in named)

    def _plain(self, name: str, rows: int, columns: int) -> Linear:
        """Return a layer that has no bias in any model."""
        return Linear(self._tensor(f"{name}.weight", (rows, columns)), np.zeros(rows, dtype=np.float32))

    def _linear(self, name: str, rows: int, columns: int, *, part: Part) -> Linear:
        plain = self._plain(name, rows, columns)
        return (
            plain
            if part not in self._config.block.biases
            else Linear(plain.weight, self._tensor(f"{name}.bias", (rows,)))
        )

    def _norm(self, name: str | None, at: str = "", *, width: int | None = None) -> Norm | None:
        return None if name is None else self._named_norm(at + name, width=width or self._config.hidden_size)

    def _named_norm(self, name: str, *, width: int) -> Norm:
        spellings = self._names.norm_parts
        held = (parts for parts in spellings if f"{self._prefix}{name}.{parts[0]}" in self._reader)
        scale, shift = next(held, spellings[-1])
        weight = self._offset(self._tensor(f"{name}.{scale}", (width,)))
        if Part.NORM in self._config.block.biases:
            return Norm(weight, self._tensor(f"{name}.{shift}", (width,)))
        return Norm(weight, np.zeros(width, dtype=np.float32))

    def _norm_of_heads(self, at: str, name: str | None, *, size: int) -> Array | None:
        return None if name is None else self._offset(self._tensor(f"{at}{name}.weight", (size,)))

    def _offset(self, weight: Array) -> Array:
        offset = self._config.block.norm_offset
        return weight + np.float32(offset) if offset else weight

    def _tensor(self, name: str, shape: tuple[int | None, ...]) -> Array:
        # Checked before it is read: a file may claim any size.
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


def _split(linear: Linear, rows: tuple[int, ...]) -> tuple[Linear, ...]:
    """Split a layer into consecutive parts with the given numbers of rows."""
    ends = np.cumsum(rows)[:-1]
    parts = zip(np.split(linear.weight, ends), np.split(linear.bias, ends), strict=True)
    return tuple(Linear(weight, bias) for weight, bias in parts)
