"""Which runtimes there are, where each is found, and what is to be known of one that is not imported."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.runtimes.base import RuntimeModule, ScoringModule
from intel_quantized_embeddings.runtimes.forks import importing

if TYPE_CHECKING:
    from intel_quantized_embeddings.runtimes import ipex, openvino

    _OFFERED: tuple[RuntimeModule, ...] = (openvino, ipex)
    _SCORING: ScoringModule = openvino


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeRow:
    """A runtime.

    Attributes:
        module: What offers `RuntimeModule`, in this package.
        imports: A module here whose function of the same name imports the libraries, with errors of this package.
        scores_pairs: Whether it runs cross-encoders, and so offers `ScoringModule` too.
        folders_are_code: Whether its int8 folders hold code (TorchScript), which is not opened unasked from the hub.
    """

    module: str
    imports: str | None = None
    scores_pairs: bool = False
    folders_are_code: bool = False


RUNTIMES = {
    RuntimeName.OPENVINO: RuntimeRow(module="openvino", scores_pairs=True),
    RuntimeName.IPEX: RuntimeRow(module="ipex", imports="import_ipex", folders_are_code=True),
}


def runtime_module(name: RuntimeName) -> RuntimeModule:
    """Import a runtime, without the other one's libraries.

    Raises:
        MissingExtraError: Its libraries are not installed.
        QuantizedEmbeddingsError: They are installed and don't work together.
        ForkedProcessError: Another thread was importing them when this process was forked.
    """
    row = RUNTIMES[name]
    with importing():
        if row.imports is not None:
            getattr(importlib.import_module(f"{__package__}.{row.imports}"), row.imports)()
        return cast("RuntimeModule", importlib.import_module(f"{__package__}.{row.module}"))


def scoring_module(name: RuntimeName) -> ScoringModule:
    """Import a runtime that runs cross-encoders, as its row says; raises what `runtime_module` does."""
    return cast("ScoringModule", runtime_module(name))
