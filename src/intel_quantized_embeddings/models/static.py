"""Static models, as sentence-transformers and model2vec write them: a text's vector is the mean of its tokens' rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.architectures.tensors import WEIGHTS_FILE, TensorReader
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.files.json_files import read_json, read_text
from intel_quantized_embeddings.models.routes import first_module
from intel_quantized_embeddings.models.tokenizer import TokenizedTexts, Tokenizer
from intel_quantized_embeddings.models.tokenizer_files import TOKENIZER_FILE
from intel_quantized_embeddings.process.forks import importing
from intel_quantized_embeddings.texts import check_instruction, check_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODULE = "StaticEmbedding"

# sentence-transformers cuts no text by itself; the code needs a number.
UNLIMITED = 1 << 17
_TYPES = ("F64", "F32", "F16", "I64", "I32", "I16", "I8")
# The length at which model2vec cuts if `config.json` does not give one.
_MODEL2VEC_LENGTH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticTable:
    """The table of a static model.

    Attributes:
        rows: (rows, dimension), in the type of its file.
        mapping: The row of each token id; None if ids are rows.
        weights: The factor of each token id's row, float32; None without factors.
    """

    rows: NDArray[Any]
    mapping: NDArray[np.int64] | None
    weights: NDArray[np.float32] | None

    @property
    def tokens(self) -> int:
        """The number of token ids."""
        return len(self.rows) if self.mapping is None else len(self.mapping)


def static_folder(folder: Path) -> Path | None:
    """Return the folder of a static model's table and tokenizer; None for any other model."""
    first = first_module(folder)
    if first is not None:
        kind, where = first
        return where if kind == MODULE else None
    return folder if read_json(folder / "config.json").get("model_type") == "model2vec" else None


def static_files(where: Path) -> tuple[Path, ...]:
    """Return the files that a static model's vectors depend on, the table first."""
    return tuple(file for file in (where / WEIGHTS_FILE, where / TOKENIZER_FILE) if file.is_file())


def is_model2vec(where: Path) -> bool:
    """Return whether model2vec wrote a table: it leaves unknown words out of the mean, and cuts long texts."""
    return "embeddings" in _reader(where)


def static_length(folder: Path, where: Path) -> int:
    """Return the longest input in tokens: model2vec's own number, else the one at which the tokenizer's file cuts."""
    file = where / TOKENIZER_FILE
    truncation = read_json(file).get("truncation")
    value = truncation.get("max_length") if isinstance(truncation, dict) else None
    if is_model2vec(where):
        file = folder / "config.json"
        value = read_json(file).get("max_length", _MODEL2VEC_LENGTH)
    if value is None:
        return UNLIMITED
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DamagedFilesError(f"{file} has max_length={value!r}; a positive number is expected.")
    return min(value, UNLIMITED)


def read_table(where: Path) -> StaticTable:
    """Read `embedding.weight` of sentence-transformers, or model2vec's `embeddings`, `mapping` and `weights`."""
    reader = _reader(where)
    file = where / WEIGHTS_FILE
    name = next((name for name in ("embedding.weight", "embeddings") if name in reader), None)
    if name is None:
        raise DamagedFilesError(f"{file} has neither 'embedding.weight' nor 'embeddings': it is not a static model.")
    rows = _array(file, reader, name)
    mapping = _array(file, reader, "mapping") if "mapping" in reader else None
    weights = _array(file, reader, "weights") if "weights" in reader else None
    if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "fi":
        raise DamagedFilesError(
            f"{name!r} of {file} has shape {rows.shape} and type {rows.dtype}; a table is expected."
        )
    if mapping is not None and (
        mapping.ndim != 1
        or not mapping.size
        or mapping.dtype.kind != "i"
        or not 0 <= mapping.min() <= mapping.max() < len(rows)
    ):
        raise DamagedFilesError(f"'mapping' of {file} names rows that {name!r}, which has {len(rows)}, has not.")
    tokens = len(rows) if mapping is None else len(mapping)
    if weights is not None and weights.shape != (tokens,):
        raise DamagedFilesError(f"'weights' of {file} has shape {weights.shape}; {(tokens,)} is expected.")
    return StaticTable(
        rows=rows,
        mapping=None if mapping is None else mapping.astype(np.int64),
        weights=None if weights is None else weights.astype(np.float32),
    )


class StaticTokenizer(Tokenizer):
    """A static model's tokenizer: without special tokens, and by `tokenizer.json` alone."""

    def __init__(self, where: Path, *, max_length: int, own_length: int | None = None) -> None:
        """Open a folder's tokenizer.

        Args:
            where: The folder with `tokenizer.json`.
            max_length: Longest input in tokens, `UNLIMITED` for no limit.
            own_length: The length in tokens at which model2vec cuts, for a model that it wrote. It leaves unknown words
                out, and before that cuts texts at `own_length` times the characters of a median word.
        """
        with importing():
            from tokenizers import Tokenizer as FastTokenizer

        self._file = where / TOKENIZER_FILE
        if not self._file.is_file():
            raise ModelFilesError(f"{self._file} is not there: a static model is of no use without its tokenizer.")
        with self._tokenizer_errors():
            self._tokenizer = FastTokenizer.from_str(read_text(self._file))
            side = (self._tokenizer.truncation or {}).get("direction", "right")
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
            if max_length < UNLIMITED:
                # model2vec always cuts at the end.
                self._tokenizer.enable_truncation(max_length, direction=side if own_length is None else "right")
        self._token_types = False
        self._known_ids = None
        self._most_characters: int | None = None
        self._unknown: int | None = None
        if own_length is not None:
            self._unknown = _unknown_id(self._tokenizer)
            if max_length == own_length < UNLIMITED:
                words = self._tokenizer.get_vocab()
                self._most_characters = max_length * int(np.median([len(word) for word in words]))

    def encode(self, texts: Sequence[str], *, instruction: str = "") -> TokenizedTexts:
        """Tokenize texts, each after `instruction`; see `Tokenizer.encode`."""
        check_instruction(instruction)
        check_texts(texts)
        whole = [instruction + text for text in texts] if instruction else list(texts)
        most = self._most_characters
        cut = whole if most is None else [text[:most] for text in whole]
        encodings = self._encode_batch(cut)
        token_ids = [encoding.ids for encoding in encodings]
        if self._unknown is not None:
            token_ids = [
                [token for token in ids if token != self._unknown] if self._unknown in ids else ids for ids in token_ids
            ]
        truncated = set()
        if self._tokenizer.truncation is not None:
            truncated = {place for place, encoding in enumerate(encodings) if encoding.overflowing}
            truncated |= {place for place, text in enumerate(whole) if len(cut[place]) < len(text)}
        return TokenizedTexts(token_ids=token_ids, truncated=truncated)

    def cutting(self, side: str) -> Tokenizer:
        """See `Tokenizer.cutting`."""
        truncation = self._tokenizer.truncation
        if truncation is not None and truncation["direction"] != side:
            raise OptionError(f"texts of a static model are cut at the {truncation['direction']}, not at the {side}.")
        return self

    @property
    def special_tokens(self) -> int:
        """The number of special tokens around a text: 0."""
        return 0

    def _encode_batch(self, inputs: list[Any], *, special_tokens: bool = False) -> list[Any]:
        with self._tokenizer_errors():
            encodings: list[Any] = self._tokenizer.encode_batch_fast(inputs, add_special_tokens=False)
        return encodings


def refuse_options(model: str, *, pooling: str | None, runtime: str | None, instruction_set: str | None) -> None:
    """Refuse options that a static model does not have."""
    if pooling not in (None, "mean"):
        raise OptionError(f"pooling={pooling!r} is not available for {model}: a static model is the mean of its words.")
    for name, value in (("runtime", runtime), ("instruction_set", instruction_set)):
        if value is not None:
            raise OptionError(
                f"{name}={value!r} is not available for {model}, a static model: it is a table of words' vectors, "
                f"looked up in NumPy without any runtime. Leave {name} out."
            )


def refuse_static(model: str, *, what: str) -> UnsupportedModelError:
    """Return the error for a use that a static model does not allow: quantizing, training, scoring pairs."""
    return UnsupportedModelError(
        f"{model} is a static model: a table of words' vectors without layers, {what}. Load it as it is with "
        f"Encoder.load."
    )


def _unknown_id(tokenizer: Any) -> int | None:
    """Return the id of unknown words; a Unigram model gives it, others by the token."""
    model = json.loads(tokenizer.to_str())["model"]
    if model.get("type") == "Unigram":
        unknown = model.get("unk_id")
    else:
        token = model.get("unk_token")
        unknown = None if token is None else tokenizer.token_to_id(token)
    return unknown if isinstance(unknown, int) else None


def _reader(where: Path) -> TensorReader:
    file = where / WEIGHTS_FILE
    if not file.is_file():
        raise ModelFilesError(
            f"{where} has no {WEIGHTS_FILE}, which a static model's table is read from. Pickled weights "
            f"(pytorch_model.bin) are not read, because unpickling runs code: open the model once with "
            f"sentence-transformers and save it with save_pretrained, which writes safetensors."
        )
    return TensorReader([file])


def _array(file: Path, reader: TensorReader, name: str) -> NDArray[Any]:
    """Return a tensor in the type of its file, bfloat16 widened to float32."""
    from safetensors import safe_open

    with safe_open(str(file), framework="np") as opened:
        kind = opened.get_slice(name).get_dtype()
        if kind == "BF16":
            return reader.read(name)
        if kind not in _TYPES:
            raise DamagedFilesError(
                f"tensor {name!r} of {file} has type {kind}; it is one of {', '.join(_TYPES)}, BF16."
            )
        array: NDArray[Any] = opened.get_tensor(name)
    if array.dtype.kind == "f" and array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise DamagedFilesError(f"tensor {name!r} of {file} holds numbers that are not finite (NaN or infinity).")
    return array
