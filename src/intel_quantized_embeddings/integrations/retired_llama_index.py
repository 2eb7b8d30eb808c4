"""LlamaIndex's retired embedding classes under their old names: change the import, keep the vectors.

Each is `IntelQuantizedEmbedding` with the old arguments, their old meaning and their old defaults, and warns with
the new call. docs/migrating.md lists the differences.
"""

from __future__ import annotations

from typing import Any

from intel_quantized_embeddings.integrations.llama_index import IntelQuantizedEmbedding
from intel_quantized_embeddings.integrations.retired import options_of
from intel_quantized_embeddings.integrations.retired_classes import INTEL_EMBEDDING, OPENVINO_EMBEDDING


class IntelEmbedding(IntelQuantizedEmbedding):
    """The class of llama-index-embeddings-huggingface-optimum-intel: on IPEX, CLS pooling, normalized, no instructions.

    Takes its arguments and the options of `IntelQuantizedEmbedding`. An int8 folder that optimum-intel wrote also
    needs `allow_torchscript=True`.

    Raises:
        OptionError: An argument can't be honoured.
    """

    def __init__(self, *in_order: Any, **named: Any) -> None:
        super().__init__(**options_of(INTEL_EMBEDDING, in_order, named))


class OpenVINOEmbedding(IntelQuantizedEmbedding):
    """The class of llama-index-embeddings-openvino: fp32, CLS pooling, normalized, no instructions.

    Takes its arguments and the options of `IntelQuantizedEmbedding`, `precision="int8"` among them.

    Raises:
        OptionError: An argument can't be honoured.
    """

    def __init__(self, *in_order: Any, **named: Any) -> None:
        super().__init__(**options_of(OPENVINO_EMBEDDING, in_order, named))
