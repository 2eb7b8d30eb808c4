"""The base of loaded models: opened by options, pickled as these options, known by a fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from intel_quantized_embeddings.encoders.loading import find_model, load_model
from intel_quantized_embeddings.encoders.quantized_folder import Loaded
from intel_quantized_embeddings.encoding.fingerprints import fingerprint_digest, hashed_settings, refuse_another
from intel_quantized_embeddings.encoding.pipeline import encode_token_ids, require_tokens
from intel_quantized_embeddings.encoding.probing import report_int8
from intel_quantized_embeddings.encoding.truncated import truncated_runtime
from intel_quantized_embeddings.encoding.warming import warm_up
from intel_quantized_embeddings.int8_folder.config import MethodName
from intel_quantized_embeddings.models.lasting import lasting
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.tokenizer import TokenizedTexts, Tokenizer
from intel_quantized_embeddings.options import LoadOptions, Precision
from intel_quantized_embeddings.quantization.kinds import Kind
from intel_quantized_embeddings.runtimes.base import Runtime
from intel_quantized_embeddings.runtimes.table import runtime_module
from intel_quantized_embeddings.texts import require_token_ids

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self


class HasLength(Protocol):
    """Settings of any kind of model."""

    @property
    def max_length(self) -> int:
        """Longest input in tokens."""
        ...


_Settings = TypeVar("_Settings", bound=HasLength)
_Model = TypeVar("_Model", bound="LoadedModel[Any]")


class LoadedModel(Generic[_Settings]):
    """A compiled graph with its tokenizer. Safe to use from several threads at once."""

    _kind: ClassVar[Kind]

    def __init__(
        self,
        *,
        runtime: Runtime,
        tokenizer: Tokenizer,
        settings: _Settings,
        pad_token_id: int,
        fingerprint: str,
        second_text: int = 0,
    ) -> None:
        """Put loaded parts together; most callers want `load`."""
        self._runtime = runtime
        self._tokenizer = tokenizer
        self._settings = settings
        self._pad_token_id = pad_token_id
        self._fingerprint = fingerprint
        self._second_text = second_text
        self._options: LoadOptions | None = None
        self._precision: Precision | None = None

    @classmethod
    def from_options(cls, options: LoadOptions) -> Self:
        """Load with checked options; see `load`. An option that such a model does not have is an OptionError."""
        return cls.from_source(find_model(options, cls._kind), options)

    @classmethod
    def from_source(cls, source: SourceModel, options: LoadOptions) -> Self:
        """Load a model whose files are known; raises what `from_options` does."""
        loaded = load_model(options, cls._kind, source)
        settings = loaded.settings
        compiled = _compiled(loaded, options)
        cut_to = None if options.truncate_dim == compiled.dimension else options.truncate_dim
        if cut_to is not None:
            compiled = truncated_runtime(compiled, dimension=cut_to, normalize=settings.normalize)
        if options.warm_shapes:
            warm_up(compiled, max_length=settings.max_length)
        model = cls(
            runtime=compiled,
            tokenizer=loaded.tokenizer or settings.tokenizer(loaded.folder),
            settings=settings,
            pad_token_id=loaded.pad_token_id,
            fingerprint=_fingerprint(cls._kind, loaded, options, cut_to=cut_to),
            second_text=loaded.second_text,
        )
        model._options = lasting(options)
        model._precision = _precision(loaded, options)
        return model

    @property
    def settings(self) -> _Settings:
        """The settings in force: the caller's, else those of the model's folder."""
        return self._settings

    @property
    def max_length(self) -> int:
        """Longest input in tokens, instruction and special tokens included; longer ones are cut."""
        return self._settings.max_length

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer, which cuts at `max_length`."""
        return self._tokenizer

    @property
    def options(self) -> LoadOptions | None:
        """The options that the model was loaded with, folders by absolute paths; None if `load` did not make it."""
        return self._options

    @property
    def precision(self) -> Precision | None:
        """The precision that results are computed in, fp32 for a table's; None if `load` did not make it."""
        return self._precision

    @property
    def fingerprint(self) -> str:
        """A short string of everything that results depend on.

        Weights, tokenizer, runtime, precision, pooling, normalization, instructions, maximum length
        and numbers kept: two models with the same fingerprint give the same results. Where it says `int8-dynamic`, a
        text's result also depends, in its last digits, on the texts beside it.
        """
        return self._fingerprint

    def encode_token_ids(self, token_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Encode the results of one call of `tokenize`, or of several.

        Returns:
            Rows in input order, float32: vectors as `Encoder.encode_documents` gives them, shape (n_texts, dimension),
            or a cross-encoder's scores before their activation, shape (n_pairs, 1).

        Raises:
            InvalidTextError: A text has no token, or `token_ids` is no list.
            DamagedFilesError: An id is not one of the model's.
        """
        require_token_ids(token_ids)
        return encode_token_ids(self._runtime, [token_ids], pad_token_id=self._pad_token_id, max_length=self.max_length)

    def _cutting(self, side: str | None) -> Tokenizer:
        return self._tokenizer if side is None else self._tokenizer.cutting(side)

    def _tokenized(self, texts: TokenizedTexts, *, named: Callable[[int], str]) -> TokenizedTexts:
        require_tokens(texts.token_ids, self._runtime, named=named)
        return texts

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the options and the fingerprint; unpickling loads the model again and checks that it is the same."""
        if self._options is None:
            raise TypeError(f"only what {type(self).__name__}.load made can be pickled.")
        return _load_again, (type(self), self._options, self._fingerprint)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the model itself, which is immutable."""
        return self


def _compiled(loaded: Loaded, options: LoadOptions) -> Runtime:
    """Make a model ready to run, and warn where int8 is less faithful or slower here than it should be."""
    if loaded.runtime is None:
        static: Runtime = loaded.graph
        return static
    compiled: Runtime = runtime_module(loaded.runtime).compile_graph(
        loaded.graph,
        precision=Precision(options.precision),
        num_threads=options.num_threads,
        dynamic=loaded.dynamic,
        instruction_set=options.instruction_set,
    )
    report_int8(compiled, loaded.manifest, options, runtime=loaded.runtime)
    return compiled


def _precision(loaded: Loaded, options: LoadOptions) -> Precision:
    """Return the precision of the options; a table has one, whatever they ask for."""
    return Precision.FP32 if loaded.runtime is None else Precision(options.precision)


def _fingerprint(kind: Kind, loaded: Loaded, options: LoadOptions, *, cut_to: int | None) -> str:
    """Return runtime, precision, kind, and 12 hexadecimal digits of a hash over all that results depend on."""
    cut = {} if cut_to is None else {"truncate_dim": cut_to}
    hashed = hashed_settings(loaded.settings, leave_out=kind.not_hashed) | cut
    digest = fingerprint_digest(loaded.hashes, hashed)
    runtime = "static" if loaded.runtime is None else loaded.runtime.value
    precision = f"{_precision(loaded, options).value}{_variant(loaded)}"
    return f"{runtime}-{precision}-{kind.named(loaded.settings)}-{digest}"


def _variant(loaded: Loaded) -> str:
    """Return what a fingerprint says of int8 that computes otherwise than by ranges set once."""
    if loaded.dynamic:
        return "-dynamic"
    method = None if loaded.manifest is None else loaded.manifest.method.name
    return f"-{method}" if method == MethodName.WEIGHT_ONLY.value else ""


def _load_again(kind: type[_Model], options: LoadOptions, fingerprint: str) -> _Model:
    model = kind.from_options(options)
    refuse_another(model.fingerprint, pickled=fingerprint, model=options.model)
    return model
