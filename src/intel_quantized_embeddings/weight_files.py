"""Which of a model folder's files hold its weights: one decision for fetching, loading and hashing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.architectures.config import is_built_in
from intel_quantized_embeddings.architectures.tensors import safetensors_files
from intel_quantized_embeddings.errors import OptionError

SAFETENSORS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")

# Exports of others; the plain ones come before variants, which are taken only when one is alone.
EXPORTS = (
    ("openvino/openvino_model.xml", "openvino/openvino_model.bin"),
    ("openvino_model.xml", "openvino_model.bin"),
    ("onnx/model.onnx", "onnx/model.onnx?data"),
    ("model.onnx", "model.onnx?data"),
    ("openvino/openvino_model_*.xml", "openvino/openvino_model_*.bin"),
    ("openvino_model_*.xml", "openvino_model_*.bin"),
)

# What optimum-intel wrote for Intel Extension for PyTorch: config.json says "torchscript": true, and the
# file is a TorchScript archive under the name of pickled weights.
TORCHSCRIPT = ("pytorch_model.bin",)


class WeightKind(str, Enum):
    """What a model's weights are kept in."""

    SAFETENSORS = "safetensors"
    EXPORT = "export"
    TORCHSCRIPT = "torchscript"


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """Files with a model's weights, none if the folder has no readable ones.

    Attributes:
        files: For an export, the graph comes first.
        kind: SAFETENSORS also where there are no files.
    """

    files: tuple[Path, ...]
    kind: WeightKind


def wanted_patterns(config: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Where a model's weights may be, in the order of preference.

    Safetensors come first where the architecture is built in; elsewhere only what others made a graph of
    can be run.
    """
    built_in = (SAFETENSORS,) if is_built_in(config) else ()
    return (*built_in, *EXPORTS, *((TORCHSCRIPT,) if _is_torchscript(config) else ()))


def find_weight_files(folder: Path, config: Mapping[str, Any]) -> WeightFiles:
    """Find a folder's weights.

    Args:
        folder: The model's folder.
        config: Its `config.json`.

    Raises:
        OptionError: There are several variants of an export and no plain one.
        DamagedFilesError: The index of sharded safetensors can't be read.
        ModelFilesError: A shard is missing.
    """
    safetensors = tuple(safetensors_files(folder))
    if safetensors and is_built_in(config):
        return WeightFiles(safetensors, WeightKind.SAFETENSORS)
    for graph_pattern, beside_pattern in EXPORTS:
        graphs = sorted(folder.glob(graph_pattern))
        if len(graphs) > 1:
            raise OptionError(
                f"{folder} has several exported variants ({', '.join(g.name for g in graphs)}) and no plain one to "
                f"prefer. Keep the one you want in a folder of its own."
            )
        if graphs:
            return WeightFiles((graphs[0], *sorted(folder.glob(beside_pattern))), WeightKind.EXPORT)
    torchscript = folder / TORCHSCRIPT[0]
    if _is_torchscript(config) and torchscript.is_file():
        return WeightFiles((torchscript,), WeightKind.TORCHSCRIPT)
    return WeightFiles(safetensors, WeightKind.SAFETENSORS)


def _is_torchscript(config: Mapping[str, Any]) -> bool:
    return config.get("torchscript") is True
