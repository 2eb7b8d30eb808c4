"""Convert a model of any architecture to OpenVINO with optimum-intel, once, for `Encoder.load` to open."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from intel_quantized_embeddings.errors import (
    MissingExtraError,
    QuantizedEmbeddingsError,
    UnsupportedModelError,
    one_line,
)
from intel_quantized_embeddings.files.atomic import atomic_folder, output_folder, refuse_existing
from intel_quantized_embeddings.models.hub import find_model, module_patterns
from intel_quantized_embeddings.options import LoadOptions

# Files that are copied as they are; weights are converted.
_METADATA = ("*.json", "[0-9]_*/config.json")
_NOT_COPIED = ("*.index.json", "manifest.json")


def export(
    model: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    revision: str | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Path:
    """Convert a model to OpenVINO in fp32.

    Args:
        model: A folder or hub id of a transformers model.
        output_dir: The folder to write; it appears whole or not at all.
        overwrite: Replace `output_dir` if it exists and is a model folder that this package wrote.
        revision: Branch, tag or commit on the hub.
        cache_folder: Where the hub's files are kept.
        local_files_only: Never ask the hub.

    Returns:
        The folder, for `Encoder.load` and `quantize`.

    Raises:
        MissingExtraError: optimum-intel is not installed.
        QuantizedEmbeddingsError: optimum-intel is installed and can't be imported.
        OptionError: An argument is not allowed, or `output_dir` exists.
        ModelFilesError: The model is not there.
        UnsupportedModelError: optimum-intel can't convert it.
    """
    options = LoadOptions(model=model, revision=revision, cache_folder=cache_folder, local_files_only=local_files_only)
    output = output_folder(output_dir, overwrite=overwrite)
    if importlib.util.find_spec("optimum") is None or importlib.util.find_spec("optimum.intel") is None:
        raise MissingExtraError(package="optimum.intel", extra="export", needed_for="Converting a model")
    try:
        from optimum.exporters.openvino import main_export
    except (ImportError, RuntimeError) as exc:
        raise QuantizedEmbeddingsError(
            f"optimum-intel is installed and does not import: {one_line(exc)}. Beside a CPU build of "
            f"torch, the usual cause is a torchvision built for CUDA, which it asks for and does not need here: "
            f"pip uninstall torchvision"
        ) from exc

    source = find_model(model, revision=revision, cache_folder=cache_folder, local_files_only=options.local_files_only)
    refuse_existing(output, overwrite=overwrite, source=source.path)
    with atomic_folder(output, overwrite=overwrite) as folder:
        try:
            main_export(str(source.path), folder / "openvino", task="feature-extraction", library_name="transformers")
        except Exception as exc:
            # optimum raises KeyError, ValueError, RuntimeError and its own types for models that it can't convert.
            raise UnsupportedModelError(
                f"optimum-intel could not convert {source.name}: {type(exc).__name__}: {exc}"
            ) from exc
        for pattern in (*_METADATA, *module_patterns(source.path)):
            for file in source.path.glob(pattern):
                if any(file.match(skipped) for skipped in _NOT_COPIED):
                    continue
                target = folder / file.relative_to(source.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    return output
