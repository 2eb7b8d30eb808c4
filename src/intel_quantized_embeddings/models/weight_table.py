"""A table of tokens' weights that queries are looked up in, as sentence-transformers' SparseStaticEmbedding."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from intel_quantized_embeddings.architectures.tensors import WEIGHTS_FILE, TensorReader
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, UnsupportedModelError
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.models.modules import refuse_unknown_keys
from intel_quantized_embeddings.models.routes import first_module
from intel_quantized_embeddings.models.tokenizer_files import BESIDE, TOKENIZER_FILE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODULE = "SparseStaticEmbedding"
_TENSOR = "weight"
# `frozen` is for training.
_KEYS = ("frozen", "path")


def weight_table_folder(folder: Path) -> Path | None:
    """Return the folder of the table and its tokenizer, if a model begins with one; None for any other model."""
    first = first_module(folder)
    return first[1] if first is not None and first[0] == MODULE else None


def weight_table_files(where: Path) -> tuple[Path, ...]:
    """Return the files that results depend on, the table first."""
    return tuple(file for file in (where / name for name in (WEIGHTS_FILE, TOKENIZER_FILE, *BESIDE)) if file.is_file())


def copy_weight_table(where: Path, to: Path) -> None:
    """Copy a table and its tokenizer into a new folder, once it was read; raises what `read_weight_table` does."""
    read_weight_table(where)
    to.mkdir(parents=True)
    for file in (where / "config.json", *weight_table_files(where)):
        if file.is_file():
            shutil.copyfile(file, to / file.name)


def read_weight_table(where: Path) -> NDArray[np.float32]:
    """Read the weight of each token id. Shape: (vocabulary,).

    Raises:
        ModelFilesError: The table's file is not there.
        UnsupportedModelError: Its `config.json` names a file of weights elsewhere.
        DamagedFilesError: The table is not what it should be.
    """
    described = where / "config.json"
    config = read_json(described)
    refuse_unknown_keys(config, _KEYS, described)
    if (path := config.get("path")) is not None:
        raise UnsupportedModelError(
            f"{described} has path={path!r}: weights in a JSON file of another place, which is not built in. Open the "
            f"model once with sentence-transformers and save it with save_pretrained, which writes {WEIGHTS_FILE}."
        )
    file = where / WEIGHTS_FILE
    if not file.is_file():
        raise ModelFilesError(
            f"{where} has no {WEIGHTS_FILE}, which the weights of tokens are read from. Pickled weights "
            f"(pytorch_model.bin) are not read, because unpickling runs code: open the model once with "
            f"sentence-transformers and save it with save_pretrained, which writes safetensors."
        )
    table = TensorReader([file]).read(_TENSOR)
    if table.ndim != 1 or not table.size:
        raise DamagedFilesError(
            f"{_TENSOR!r} of {file} has the shape {table.shape}; one weight for each token is expected."
        )
    return table


def refuse_weight_table(model: str, *, what: str) -> UnsupportedModelError:
    """Return the error for a use that a table of weights alone does not allow, as `refuse_static` of a static model."""
    return UnsupportedModelError(
        f"{model} is a table of tokens' weights, {what}. Load it as it is with SparseEncoder.load."
    )
