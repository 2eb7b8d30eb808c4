"""The table of runtimes: facts that are needed before a runtime's libraries are imported. A new runtime is a row."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from intel_quantized_embeddings.options import Precision, RuntimeName
from intel_quantized_embeddings.process.forks import importing

if TYPE_CHECKING:
    from intel_quantized_embeddings.runtimes import ipex, native, openvino
    from intel_quantized_embeddings.runtimes.base import RuntimeModule, ScoringModule, SparseModule

    _OFFERED: tuple[RuntimeModule, ...] = (openvino, native, ipex)
    _SCORING: tuple[ScoringModule, ...] = (openvino, native)
    _SPARSE: tuple[SparseModule, ...] = (openvino, native)

_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeRow:
    """A runtime.

    Attributes:
        module: The module in `runtimes` that has the functions of `RuntimeModule`.
        quantizer: The module in `quantization` that has the functions of `QuantizerModule`.
        encoder_files: The files of its graph in an int8 folder, which a manifest must list.
        imports: A module whose function of the same name imports the libraries, with errors of this package.
        precisions: The precisions that it computes in.
        scores_pairs: Whether it runs cross-encoders (`ScoringModule`).
        sparse: Whether it runs sparse models (`SparseModule`).
        folders_are_code: Whether its int8 folders hold code (TorchScript), which is opened from the hub only if
            allowed.
        quantizes_at_once: Whether an fp32 model asked for in int8 is quantized while it is read, without calibration
            texts and without a folder in the cache.
        same_everywhere: Whether int8 is the same on every CPU.
        instruction_sets: Whether an instruction set can be chosen.
    """

    module: str
    quantizer: str
    encoder_files: tuple[str, ...]
    imports: str | None = None
    precisions: tuple[Precision, ...] = tuple(Precision)
    scores_pairs: bool = False
    sparse: bool = False
    folders_are_code: bool = False
    quantizes_at_once: bool = False
    same_everywhere: bool = False
    instruction_sets: bool = False


RUNTIMES = {
    RuntimeName.OPENVINO: RuntimeRow(
        module="openvino",
        quantizer="openvino",
        encoder_files=("encoder.xml", "encoder.bin"),
        imports="import_openvino",
        scores_pairs=True,
        sparse=True,
    ),
    RuntimeName.NATIVE: RuntimeRow(
        module="native",
        quantizer="native",
        encoder_files=("encoder.safetensors", "encoder.json"),
        precisions=(Precision.INT8, Precision.FP32),
        scores_pairs=True,
        sparse=True,
        quantizes_at_once=True,
        same_everywhere=True,
        instruction_sets=True,
    ),
    RuntimeName.IPEX: RuntimeRow(
        module="ipex", quantizer="ipex", encoder_files=("encoder.pt",), imports="import_ipex", folders_are_code=True
    ),
}


def runtime_module(name: RuntimeName) -> RuntimeModule:
    """Import a runtime, without importing the libraries of others.

    Raises:
        MissingExtraError: Its libraries are not installed.
        QuantizedEmbeddingsError: The installed versions don't work together.
        ForkedProcessError: Another thread was importing them when this process was forked.
    """
    with importing():
        import_libraries(name)
        return cast("RuntimeModule", importlib.import_module(f"{_PACKAGE}.runtimes.{RUNTIMES[name].module}"))


def import_libraries(name: RuntimeName) -> None:
    """Import the libraries of a runtime, if it has any; raises the errors of `runtime_module`."""
    row = RUNTIMES[name]
    if row.imports is not None:
        getattr(importlib.import_module(f"{_PACKAGE}.runtimes.{row.imports}"), row.imports)()


def scoring_module(name: RuntimeName) -> ScoringModule:
    """Import a runtime whose row says that it runs cross-encoders; raises the errors of `runtime_module`."""
    return cast("ScoringModule", runtime_module(name))


def sparse_module(name: RuntimeName) -> SparseModule:
    """Import a runtime that runs sparse models, as its row says; raises what `runtime_module` does."""
    return cast("SparseModule", runtime_module(name))
