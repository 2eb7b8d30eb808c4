"""The options of `Encoder.load` as fields of a Pydantic model, and its encoder loaded on first use."""

from __future__ import annotations

import os
import threading
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr, field_validator, model_validator
from typing_extensions import Self

from intel_quantized_embeddings.encoder import Encoder
from intel_quantized_embeddings.load_options import LoadOptions

# One for the process, not one an object, so that objects stay picklable; loading is rare.
_LOADING = threading.Lock()


class EncoderOptions(BaseModel):
    """What both adapters share. Constructing does no I/O; the first text, or `warm_up`, loads.

    An option changed later is checked like one given at first, and the next text loads anew.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

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
    allow_torchscript: bool = False
    warm_shapes: bool = True

    # The encoder and what it was loaded with: a changed option must not be answered by an older one.
    _loaded: tuple[Encoder, dict[str, Any]] | None = PrivateAttr(default=None)

    @field_validator("cache_folder")
    @classmethod
    def _path_as_text(cls, value: str | os.PathLike[str] | None) -> str | None:
        """Keep what can be written as JSON."""
        return None if value is None else os.fspath(value)

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        """Refuse a wrong option when it is written, not when the model loads."""
        LoadOptions(**self._load_options())
        return self

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first asked for.

        Raises:
            QuantizedEmbeddingsError: As `Encoder.load` lists them.
        """
        wanted = self._load_options()
        loaded = self._loaded
        if loaded is None or loaded[1] != wanted:
            with _LOADING:
                loaded = self._loaded
                if loaded is None or loaded[1] != wanted:
                    loaded = self._loaded = Encoder.load(**wanted), wanted
        return loaded[0]

    def warm_up(self) -> None:
        """Load now (downloading and quantizing if need be) instead of with the first text."""
        self.encoder.encode_queries(["warm up"])

    def _load_options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in EncoderOptions.model_fields} | {"model": self._model_id()}

    def _model_id(self) -> str | os.PathLike[str]:
        """The model; each adapter keeps it under the name its framework uses."""
        raise NotImplementedError

    def __getstate__(self) -> dict[Any, Any]:
        """Leave the loaded encoder out of pickles: it is loaded again where it is needed."""
        state = super().__getstate__()
        return {**state, "__pydantic_private__": {**(state["__pydantic_private__"] or {}), "_loaded": None}}
