"""The files of a model's folder that hold its weights: one decision for fetching, loading and hashing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.architectures.table import is_built_in
from intel_quantized_embeddings.architectures.tensors import INDEX_FILE, WEIGHTS_FILE, safetensors_files, shard_names
from intel_quantized_embeddings.errors import ModelFilesError, OptionError
from intel_quantized_embeddings.files.whole import is_there, require_whole
from intel_quantized_embeddings.models.onnx_data import external_files
from intel_quantized_embeddings.options import DEFAULT_RUNTIME, RuntimeName

SAFETENSORS = (WEIGHTS_FILE, INDEX_FILE)

# Exports; the plain ones come before variants, of which only a single one is taken.
EXPORTS = (
    ("openvino/openvino_model.xml", "openvino/openvino_model.bin"),
    ("openvino_model.xml", "openvino_model.bin"),
    ("onnx/model.onnx",),
    ("model.onnx",),
    ("openvino/openvino_model_*.xml", "openvino/openvino_model_*.bin"),
    ("openvino_model_*.xml", "openvino_model_*.bin"),
)

# optimum-intel's format for Intel Extension for PyTorch: config.json says "torchscript": true, and the
# file is a TorchScript archive under the name of pickled weights.
TORCHSCRIPT = ("pytorch_model.bin",)


class WeightKind(str, Enum):
    """The format of a model's weights."""

    SAFETENSORS = "safetensors"
    EXPORT = "export"
    TORCHSCRIPT = "torchscript"


def runtime_of_weights(kind: WeightKind) -> RuntimeName:
    """Return the runtime of a model that this package did not make, if none is asked for."""
    return {WeightKind.EXPORT: RuntimeName.OPENVINO, WeightKind.TORCHSCRIPT: RuntimeName.IPEX}.get(
        kind, DEFAULT_RUNTIME
    )


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """Files with a model's weights, none if the folder has no readable ones.

    Attributes:
        files: For an export, the graph comes first.
        kind: SAFETENSORS also if there are no files.
    """

    files: tuple[Path, ...]
    kind: WeightKind


def wanted_patterns(config: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Return patterns of a model's weights, the preferred ones first; `named_files` lists files that belong to them.

    Safetensors come first if the architecture is built in; otherwise only an exported graph can be run.
    """
    built_in = (SAFETENSORS,) if is_built_in(config) else ()
    return (*built_in, *EXPORTS, *((TORCHSCRIPT,) if _is_torchscript(config) else ()))


def named_files(folder: Path, patterns: tuple[str, ...]) -> list[str]:
    """List the files, existing or not, that the files of patterns name: shards of an index, data of an ONNX file.

    `patterns` are some of `wanted_patterns`; a name that leads out of the folder is a DamagedFilesError.
    """
    if patterns == SAFETENSORS and not (folder / WEIGHTS_FILE).is_file():
        return shard_names(folder)
    graphs = [graph for pattern in patterns for graph in folder.glob(pattern) if graph.suffix == ".onnx"]
    for graph in graphs:
        require_whole(graph)
    return [file.relative_to(folder).as_posix() for graph in graphs for file in external_files(graph, folder=folder)]


def find_weight_files(folder: Path, config: Mapping[str, Any]) -> WeightFiles:
    """Find the weights of a folder whose `config.json` says `config`.

    Raises:
        OptionError: There are several variants of an export and no plain one.
        ModelFilesError: A file that another one names is missing.
        DamagedFilesError: A file is empty or a Git LFS pointer.
    """
    safetensors = _whole(safetensors_files(folder)) if any(is_there(folder / name) for name in SAFETENSORS) else ()
    if safetensors and is_built_in(config):
        return WeightFiles(safetensors, WeightKind.SAFETENSORS)
    for pattern, *_ in EXPORTS:
        graphs = _matching(folder, pattern)
        if len(graphs) > 1:
            raise OptionError(
                f"{folder} has several exported variants ({', '.join(g.name for g in graphs)}) and no plain one to "
                f"prefer. Keep the one you want in a folder of its own."
            )
        if graphs:
            return WeightFiles(_whole([graphs[0], *_beside(graphs[0], folder)]), WeightKind.EXPORT)
    torchscript = folder / TORCHSCRIPT[0]
    if _is_torchscript(config) and is_there(torchscript):
        return WeightFiles(_whole([torchscript]), WeightKind.TORCHSCRIPT)
    return WeightFiles(safetensors, WeightKind.SAFETENSORS)


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a pattern in order; a dangling link is an error."""
    where = (folder / pattern).parent
    if not where.is_dir():
        return []
    return sorted(file for file in where.iterdir() if fnmatchcase(file.name, Path(pattern).name) and is_there(file))


def _beside(graph: Path, folder: Path) -> list[Path]:
    """Return the files with the weights of a graph."""
    require_whole(graph)
    files = external_files(graph, folder=folder) if graph.suffix == ".onnx" else _constants_of(graph)
    missing = [file.relative_to(folder).as_posix() for file in files if not is_there(file)]
    if missing:
        raise ModelFilesError(
            f"{graph} keeps its weights in {', '.join(missing[:5])}{' and others' if missing[5:] else ''}, "
            f"{len(missing)} of {len(files)} not there. Fetch the whole model again, or copy all files of the export."
        )
    return files


def _constants_of(graph: Path) -> list[Path]:
    """Return OpenVINO's file with a graph's constants, if it has any."""
    constants = graph.with_suffix(".bin")
    return [constants] if constants.exists() or b'"Const"' in graph.read_bytes() else []


def _whole(files: list[Path]) -> tuple[Path, ...]:
    for file in files:
        require_whole(file, may_be_empty=file.suffix == ".bin")  # the file of a graph without constants is empty
    return tuple(files)


def _is_torchscript(config: Mapping[str, Any]) -> bool:
    return config.get("torchscript") is True
