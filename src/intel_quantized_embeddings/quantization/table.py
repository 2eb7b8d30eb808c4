"""Which quantizer belongs to which runtime."""

from __future__ import annotations

import importlib
from typing import cast

from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.quantization.recipe import QuantizerModule

_QUANTIZERS = {
    RuntimeName.OPENVINO: "intel_quantized_embeddings.quantization.openvino",
    RuntimeName.IPEX: "intel_quantized_embeddings.quantization.ipex",
}


def quantizer_module(runtime: RuntimeName) -> QuantizerModule:
    """Import the quantizer of a runtime; its libraries come with its first use."""
    return cast("QuantizerModule", importlib.import_module(_QUANTIZERS[runtime]))
