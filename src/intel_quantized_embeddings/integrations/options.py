"""The options of `Encoder.load` as fields of a Pydantic model, whose model is loaded on first use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, field_validator, model_validator
from typing_extensions import Self

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.reranker import Reranker
from intel_quantized_embeddings.encoders.shared import shared_encoder, shared_reranker
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.integrations.retired_classes import raise_renamed
from intel_quantized_embeddings.options import LoadOptions, integer_option
from intel_quantized_embeddings.vectors import VectorType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_Model = TypeVar("_Model")

# The names of the model among the arguments: every class has a field of one name, and takes the other too.
_MODEL_NAMES = ("model", "model_name")


class ModelOptions(BaseModel):
    """Options of all adapters. Constructing does no I/O; the first text, or `warm_up`, loads.

    An option changed later is checked too, and the next text loads the model again.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    runtime: str | None = None
    precision: str = "int8"
    revision: str | None = None
    cache_folder: str | os.PathLike[str] | None = None
    local_files_only: bool = False
    num_threads: int | None = None
    instruction_set: str | None = None
    pooling: str | None = None
    normalize: bool | None = None
    max_length: int | None = None
    truncate_dim: int | None = None
    query_instruction: str | None = None
    document_instruction: str | None = None
    allow_torchscript: bool = False
    warm_shapes: bool = True

    # The loaded model and its options, so that a changed option is not answered by an older model.
    _loaded: tuple[Any, dict[str, Any]] | None = PrivateAttr(default=None)

    if not TYPE_CHECKING:  # type checkers take the fields for the arguments, which is more than they see here

        def __init__(self, *without_name: Any, **options: Any) -> None:
            super().__init__(**_named(type(self), without_name, options))

    @model_validator(mode="before")
    @classmethod
    def _todays_names(cls, given: Any) -> Any:
        """Refuse arguments of retired classes by naming their successors."""
        unknown = given.keys() - cls.model_fields.keys() - set(_MODEL_NAMES) if isinstance(given, Mapping) else set()
        for name in sorted(unknown):
            raise_renamed(name, successors={base.__name__ for base in cls.__mro__})
        return given

    @field_validator("cache_folder")
    @classmethod
    def _path_as_text(cls, value: str | os.PathLike[str] | None) -> str | None:
        """Keep the model as text, which can be written as JSON."""
        return None if value is None else os.fspath(value)

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        """Refuse a wrong option when it is set, not when the model loads."""
        LoadOptions(**self._load_options())
        return self

    def _load_once(self, load: Callable[[LoadOptions], _Model]) -> _Model:
        """Return the result of `load` for the options, shared by all objects of the process with the same options."""
        wanted = self._load_options()
        loaded = self._loaded
        if loaded is None or loaded[1] != wanted:
            loaded = self._loaded = load(LoadOptions(**wanted)), wanted
        model: _Model = loaded[0]
        return model

    def _load_options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ModelOptions.model_fields} | {"model": self._model_id()}

    def _model_id(self) -> str | os.PathLike[str]:
        """Return the model; each adapter keeps it under its framework's name for it."""
        raise NotImplementedError

    def __getstate__(self) -> dict[Any, Any]:
        """Leave the loaded model out of pickles; it is loaded again when needed."""
        state = super().__getstate__()
        return {**state, "__pydantic_private__": {**(state["__pydantic_private__"] or {}), "_loaded": None}}


def _named(kind: type[ModelOptions], without_name: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a class's arguments by their names; the model may be given without one, as to `Encoder.load`.

    Raises:
        OptionError: More than the model has no name, or the model is given twice.
    """
    if not without_name:
        return dict(options)
    name = next(name for name in _MODEL_NAMES if name in kind.model_fields)
    if len(without_name) > 1:
        raise OptionError(
            f"{kind.__name__} takes 1 argument without a name, the model, and {len(without_name)} were given. Name the "
            f"others: {kind.__name__}(model, precision=...)."
        )
    if twice := [name for name in _MODEL_NAMES if name in options]:
        raise OptionError(f"{kind.__name__} was given the model twice: without a name, and as {twice[0]}=.")
    return {name: without_name[0], **options}


class EncoderOptions(ModelOptions):
    """Options of the adapters that embed."""

    # The type of vectors, of documents and queries alike: "float32", "int8" or "binary"; see `VectorType`.
    vector_type: str = VectorType.FLOAT32.value

    @field_validator("vector_type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        return VectorType.parse(value).value

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded at first use, with the errors of `Encoder.load`."""
        return self._load_once(shared_encoder)

    def warm_up(self) -> None:
        """Load now (downloading and quantizing if necessary) instead of at the first text."""
        self.encoder.encode_queries(["warm up"])

    def _listed(self, vectors: NDArray[np.float32]) -> list[list[float]]:
        return VectorType(self.vector_type).listed(vectors, lengths_matter=self.encoder.settings.lengths_matter)


class RerankerOptions(ModelOptions):
    """Options of the adapters that rank."""

    # None keeps all. LangChain's own rerankers keep three.
    top_n: int | None = 3

    @field_validator("top_n", mode="before")
    @classmethod
    def _whole(cls, value: object) -> int | None:
        return integer_option("top_n", value, least=1)

    @property
    def reranker(self) -> Reranker:
        """The reranker, loaded at first use, with the errors of `Reranker.load`."""
        return self._load_once(shared_reranker)

    def warm_up(self) -> None:
        """Load now (downloading and quantizing if necessary) instead of at the first query."""
        self.reranker.score("warm up", ["warm up"])
