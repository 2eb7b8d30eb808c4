"""The options of `Encoder.load` as fields of a Pydantic model, and its encoder loaded on first use."""

from __future__ import annotations

import os
import threading
from typing import Any

from pydantic import BaseModel, PrivateAttr, ValidationInfo, field_validator

from intel_quantized_embeddings.encoder import Encoder
from intel_quantized_embeddings.pooling import Pooling
from intel_quantized_embeddings.runtimes.base import Precision, RuntimeName

# One for the process, not one an object, so that objects stay picklable; loading is rare.
_LOADING = threading.Lock()


class EncoderOptions(BaseModel):
    """What both adapters share. Constructing does no I/O; the first text, or `warm_up`, loads."""

    runtime: str = "openvino"
    precision: str = "int8"
    revision: str | None = None
    cache_folder: str | os.PathLike[str] | None = None
    local_files_only: bool = False
    num_threads: int | None = None
    pooling: str | None = None
    normalize: bool | None = None
    max_length: int | None = None
    query_instruction: str | None = None
    document_instruction: str | None = None

    _encoder: Encoder | None = PrivateAttr(default=None)

    @field_validator("runtime", "precision", "pooling")
    @classmethod
    def _known(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Refuse a misspelt option when it is written, not when the model loads."""
        parse = {"runtime": RuntimeName.parse, "precision": Precision.parse, "pooling": Pooling.parse}
        return None if value is None else parse[str(info.field_name)](value).value

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first asked for.

        Raises:
            QuantizedEmbeddingsError: As `Encoder.load` lists them.
        """
        if self._encoder is None:
            with _LOADING:
                if self._encoder is None:
                    options = {name: getattr(self, name) for name in EncoderOptions.model_fields}
                    self._encoder = Encoder.load(self._model_id(), **options)
        return self._encoder

    def warm_up(self) -> None:
        """Load now (downloading and quantizing if need be) instead of with the first text."""
        self.encoder.encode_queries(["warm up"])

    def _model_id(self) -> str | os.PathLike[str]:
        """The model; each adapter keeps it under the name its framework uses."""
        raise NotImplementedError

    def __getstate__(self) -> dict[Any, Any]:
        """Leave the loaded encoder out of pickles and copies: it is loaded again where it is needed."""
        state = super().__getstate__()
        private = dict(state.get("__pydantic_private__") or {})
        private["_encoder"] = None
        return {**state, "__pydantic_private__": private}
