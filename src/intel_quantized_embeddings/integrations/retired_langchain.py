"""LangChain's retired embedding classes under their old names: change the import, keep the vectors.

Each is `IntelQuantizedEmbeddings` with the old arguments, their old meaning and their old defaults, and warns with
the new call. docs/migrating.md lists the differences.
"""

from __future__ import annotations

from typing import Any

from intel_quantized_embeddings.integrations.langchain import IntelQuantizedEmbeddings
from intel_quantized_embeddings.integrations.retired import options_of
from intel_quantized_embeddings.integrations.retired_classes import (
    OPENVINO_BGE_EMBEDDINGS,
    OPENVINO_EMBEDDINGS,
    QUANTIZED_BI_ENCODER_EMBEDDINGS,
)


class QuantizedBiEncoderEmbeddings(IntelQuantizedEmbeddings):
    """langchain-community's class of that name: on IPEX, mean pooling, not normalized, 512 tokens, no instructions.

    Takes its arguments and the options of `IntelQuantizedEmbeddings`. An int8 folder that optimum-intel wrote also
    needs `allow_torchscript=True`.

    Raises:
        OptionError: An argument can't be honoured.
    """

    def __init__(self, *in_order: Any, **named: Any) -> None:
        super().__init__(**options_of(QUANTIZED_BI_ENCODER_EMBEDDINGS, in_order, named))


class OpenVINOEmbeddings(IntelQuantizedEmbeddings):
    """langchain-community's class of that name: fp32, CLS pooling, normalized, no instructions.

    Takes its arguments and the options of `IntelQuantizedEmbeddings`, `precision="int8"` among them.

    Raises:
        OptionError: An argument can't be honoured.
    """

    def __init__(self, *in_order: Any, **named: Any) -> None:
        super().__init__(**options_of(OPENVINO_EMBEDDINGS, in_order, named))


class OpenVINOBgeEmbeddings(IntelQuantizedEmbeddings):
    """langchain-community's class of that name: as `OpenVINOEmbeddings`, with its own instruction before queries.

    Raises:
        OptionError: An argument can't be honoured.
    """

    def __init__(self, *in_order: Any, **named: Any) -> None:
        super().__init__(**options_of(OPENVINO_BGE_EMBEDDINGS, in_order, named))
