"""int8 text embeddings on CPUs, behind LangChain and LlamaIndex.

Everything here loads on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.version import __version__

if TYPE_CHECKING:
    from intel_quantized_embeddings.encoders.cross_encoder import CrossEncoder
    from intel_quantized_embeddings.encoders.encoder import Encoder
    from intel_quantized_embeddings.encoders.reranker import RankedDocument, Reranker
    from intel_quantized_embeddings.encoders.sparse_encoder import SparseEncoder
    from intel_quantized_embeddings.int8_folder.config import QuantizationConfig
    from intel_quantized_embeddings.int8_folder.push import push_to_hub
    from intel_quantized_embeddings.integrations.langchain import IntelQuantizedEmbeddings
    from intel_quantized_embeddings.integrations.langchain_reranker import IntelQuantizedReranker
    from intel_quantized_embeddings.integrations.llama_index import IntelQuantizedEmbedding
    from intel_quantized_embeddings.integrations.llama_index_rerank import IntelQuantizedRerank
    from intel_quantized_embeddings.quantization.quantize import quantize, quantize_cross_encoder, quantize_sparse
    from intel_quantized_embeddings.quantization.report import CrossEncoderReport, QuantizationReport, SparseReport

_HOMES = {
    "CrossEncoder": "encoders.cross_encoder",
    "CrossEncoderReport": "quantization.report",
    "Encoder": "encoders.encoder",
    "IntelQuantizedEmbedding": "integrations.llama_index",
    "IntelQuantizedEmbeddings": "integrations.langchain",
    "IntelQuantizedRerank": "integrations.llama_index_rerank",
    "IntelQuantizedReranker": "integrations.langchain_reranker",
    "QuantizationConfig": "int8_folder.config",
    "QuantizationReport": "quantization.report",
    "RankedDocument": "encoders.reranker",
    "Reranker": "encoders.reranker",
    "SparseEncoder": "encoders.sparse_encoder",
    "SparseReport": "quantization.report",
    "push_to_hub": "int8_folder.push",
    "quantize": "quantization.quantize",
    "quantize_cross_encoder": "quantization.quantize",
    "quantize_sparse": "quantization.quantize",
}

__all__ = [
    "CrossEncoder",
    "CrossEncoderReport",
    "Encoder",
    "IntelQuantizedEmbedding",
    "IntelQuantizedEmbeddings",
    "IntelQuantizedRerank",
    "IntelQuantizedReranker",
    "QuantizationConfig",
    "QuantizationReport",
    "RankedDocument",
    "Reranker",
    "SparseEncoder",
    "SparseReport",
    "__version__",
    "push_to_hub",
    "quantize",
    "quantize_cross_encoder",
    "quantize_sparse",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from intel_quantized_embeddings.process.forks import importing

    with importing():
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
