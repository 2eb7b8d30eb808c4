"""The quantizer of a runtime, which its row in `runtimes/table.py` names."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.process.forks import importing
from intel_quantized_embeddings.runtimes.table import RUNTIMES, import_libraries

if TYPE_CHECKING:
    from intel_quantized_embeddings.quantization import ipex, native, openvino
    from intel_quantized_embeddings.quantization.recipe import QuantizerModule

    _OFFERED: tuple[QuantizerModule, ...] = (openvino, native, ipex)


def quantizer_module(runtime: RuntimeName) -> QuantizerModule:
    """Import the quantizer of a runtime and the runtime's libraries, as `runtime_module` does.

    Its further libraries are imported at the first use.
    """
    with importing():
        import_libraries(runtime)
        return cast("QuantizerModule", importlib.import_module(f"{__package__}.{RUNTIMES[runtime].quantizer}"))
