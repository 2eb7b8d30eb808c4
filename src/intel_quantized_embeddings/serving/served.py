"""A model of a service: its name, its loading, and its state in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from intel_quantized_embeddings.encoders.cross_encoder import CrossEncoder
from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.loading import find_model, read_settings
from intel_quantized_embeddings.encoders.reranker import kind_of_model
from intel_quantized_embeddings.encoders.sparse_encoder import SparseEncoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.models.hub import find_asked
from intel_quantized_embeddings.models.prompts import DOCUMENT_PROMPTS
from intel_quantized_embeddings.models.routes import DOCUMENT, QUERY
from intel_quantized_embeddings.options import LoadOptions
from intel_quantized_embeddings.process.memory import resident_bytes
from intel_quantized_embeddings.quantization.kinds import CROSS_ENCODER, EMBEDDER, SPARSE
from intel_quantized_embeddings.serving.batcher import Batcher

if TYPE_CHECKING:
    from intel_quantized_embeddings.quantization.subject import Settings

_Model = TypeVar("_Model", Encoder, CrossEncoder, SparseEncoder)


@dataclass(frozen=True, slots=True)
class Running(Generic[_Model]):
    """A loaded model and its batcher.

    Attributes:
        model: The model.
        batcher: Its batcher; a Router's is that of its default route.
        routes: A Router's models for queries and documents with their batchers, by route; empty for any other model.
    """

    model: _Model
    batcher: Batcher
    routes: Mapping[str, Running[_Model]] = field(default_factory=dict)

    @classmethod
    def started(cls, model: _Model, start: Callable[[_Model], Batcher]) -> Running[_Model]:
        """Return a loaded model with the batchers that `start` starts: one, or one for each model of a Router."""
        if not isinstance(model, SparseEncoder) or model.for_queries is model.for_documents:
            return cls(model, start(model))
        routes = {
            name: cls(one, start(one)) for name, one in ((QUERY, model.for_queries), (DOCUMENT, model.for_documents))
        }
        default = QUERY if model.for_others is model.for_queries else DOCUMENT
        return cls(model, routes[default].batcher, routes)

    def after(self, prompt_name: str | None) -> Running[_Model]:
        """Return what encodes texts after a prompt of some name, None for none: this, or one of a Router's models."""
        return self.routes.get(DOCUMENT if prompt_name in DOCUMENT_PROMPTS else prompt_name or "", self)

    @property
    def batchers(self) -> tuple[Batcher, ...]:
        """The batchers: one, of a Router two."""
        return tuple(one.batcher for one in self.routes.values()) or (self.batcher,)

    @property
    def waiting_tokens(self) -> int:
        """Tokens of the texts that wait or are being encoded."""
        return sum(batcher.waiting_tokens for batcher in self.batchers)

    @property
    def is_running(self) -> bool:
        """Whether texts are accepted."""
        return all(batcher.is_running for batcher in self.batchers)

    def stop(self) -> None:
        """Accept no more texts; see `Batcher.stop`."""
        for batcher in self.batchers:
            batcher.stop()


class ServedModel(Generic[_Model]):
    """A model under its name in requests.

    Args:
        name: The name.
        load: Function that loads it.
        scores_pairs: Whether it is a cross-encoder.
        is_sparse: Whether it is a sparse model.
        settings: Function that reads its settings, without loading it where they are in its folder; None loads it.

    Attributes:
        running: The model, if it is in memory.
        loading: The task that loads it, while it is being loaded.
        users: Number of requests that need it.
        last_used: Time when a request last needed it, or when it was loaded, by `time.monotonic`.
        resident_bytes: The most memory that loading it took.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], _Model],
        *,
        scores_pairs: bool,
        is_sparse: bool = False,
        settings: Callable[[], Settings] | None = None,
    ) -> None:
        self.name = name
        self.read_settings: Callable[[], Settings] = settings or (lambda: load().settings)
        self.scores_pairs = scores_pairs
        self.is_sparse = is_sparse
        self.running: Running[_Model] | None = None
        self.loading: asyncio.Future[Running[_Model]] | None = None
        self.users = 0
        self.last_used = 0.0
        self.resident_bytes = 0
        self._load: Callable[[], _Model] = load
        self._preloaded: _Model | None = None
        self._fingerprint: str | None = None

    @classmethod
    def of(cls, model: _Model, *, name: str) -> ServedModel[_Model]:
        """Serve a loaded model.

        Raises:
            OptionError: The model is a Router of embedders.
        """
        is_sparse, scores_pairs = isinstance(model, SparseEncoder), isinstance(model, CrossEncoder)
        if isinstance(model, Encoder) and model.for_queries is not model.for_documents:
            raise _refuse_router(name)
        return cls(name, lambda: model, scores_pairs=scores_pairs, is_sparse=is_sparse)

    @classmethod
    def asked(cls, options: LoadOptions, *, name: str, alone: bool = True) -> ServedModel[Any]:
        """Serve the model of some options, whose files are found now and loaded later.

        Args:
            options: The model and its options.
            name: Its name in requests.
            alone: Whether the options are for this model only; if not, others than embedders do not get those that only
                embedders have.

        Raises:
            OptionError: The model is a Router of embedders, or an option is not allowed.
            QuantizedEmbeddingsError: The errors of `Reranker.load` that come before loading.
        """
        loader: type[Any] = kind_of_model(options)
        kind = CROSS_ENCODER if loader is CrossEncoder else EMBEDDER
        if (alone or kind is EMBEDDER) and options.pooling is None and find_asked(options).is_sparse:
            loader, kind = SparseEncoder, SPARSE
        if not alone:
            left_out: dict[str, Any] = dict.fromkeys(kind.meaningless)
            options = replace(options, **left_out)
        source = find_model(options, kind)
        if source.routes is not None and kind is not SPARSE:
            raise _refuse_router(name)
        described = source if source.routes is None else source.route(source.routes.document)
        # From the files that were found, so that loading the model again does not ask the hub again.
        return ServedModel(
            name,
            lambda: loader.from_source(source, options),
            scores_pairs=kind.scores_pairs,
            is_sparse=kind is SPARSE,
            settings=lambda: read_settings(described, kind, options),
        )

    @property
    def is_preloaded(self) -> bool:
        """Whether `preload` has loaded it, and `loaded` has not taken it yet."""
        return self._preloaded is not None

    def preload(self) -> _Model:
        """Load it before the service runs, so that errors come at the start.

        Raises:
            QuantizedEmbeddingsError: As `Reranker.load` lists them.
        """
        self._preloaded = self.loaded()
        return self._preloaded

    def loaded(self) -> _Model:
        """Load it, or take the preloaded model; one model at a time, to measure the memory of each.

        Raises:
            OptionError: Its folder has another model than when it was first loaded.
            QuantizedEmbeddingsError: As `Reranker.load` lists them.
        """
        model, self._preloaded = self._preloaded, None
        if model is None:
            before = resident_bytes()
            model = self._load()
            self.resident_bytes = max(self.resident_bytes, resident_bytes() - before)
        if self._fingerprint not in (None, model.fingerprint):
            raise OptionError(
                f"{self.name} was {self._fingerprint}, and its folder now holds {model.fingerprint}: their vectors do "
                f"not compare. Start the service again to serve that."
            )
        self._fingerprint = model.fingerprint
        return model


def _refuse_router(name: str) -> OptionError:
    return OptionError(
        f"{name} is a Router of two models, one for queries and one for documents, and a service has one embedder. "
        f"Serve the folder of each by itself: those that its router_config.json names first."
    )
