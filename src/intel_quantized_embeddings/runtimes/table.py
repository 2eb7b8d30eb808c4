"""Which runtimes there are, and where each is found."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import cast

from intel_quantized_embeddings.runtimes.base import RuntimeModule, RuntimeName
from intel_quantized_embeddings.runtimes.forks import importing


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeRow:
    """A runtime.

    Attributes:
        module: What offers `RuntimeModule`.
        imported_first: A module whose function of the same name imports the libraries with errors of this package.
    """

    module: str
    imported_first: str | None = None


RUNTIMES = {
    RuntimeName.OPENVINO: RuntimeRow(module="openvino"),
    RuntimeName.IPEX: RuntimeRow(module="ipex", imported_first="import_ipex"),
}


def runtime_module(name: RuntimeName) -> RuntimeModule:
    """Import a runtime, without the other one's libraries.

    Raises:
        MissingExtraError: Its libraries are not installed.
        QuantizedEmbeddingsError: They are installed and don't work together.
        ForkedProcessError: Another thread was importing them when this process was forked.
    """
    row, package = RUNTIMES[name], __package__
    with importing():
        if row.imported_first is not None:
            getattr(importlib.import_module(f"{package}.{row.imported_first}"), row.imported_first)()
        return cast("RuntimeModule", importlib.import_module(f"{package}.{row.module}"))
