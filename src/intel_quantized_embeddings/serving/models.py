"""The models of a service: which there are, and which are in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from intel_quantized_embeddings.encoders.cross_encoder import CrossEncoder
from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.serving.batcher import Batcher
from intel_quantized_embeddings.serving.limits import Limits
from intel_quantized_embeddings.serving.metrics import Metrics
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.serving.requests import InputType, model_names

_Model = TypeVar("_Model", Encoder, CrossEncoder)


@dataclass(frozen=True, slots=True)
class Running(Generic[_Model]):
    """A loaded model and what drives it."""

    model: _Model
    batcher: Batcher


class ServedModel(Generic[_Model]):
    """A model under the name that requests call it by.

    Args:
        name: The name.
        load: Loads it.
        scores_pairs: Whether it is a cross-encoder.
    """

    def __init__(self, name: str, load: Callable[[], _Model], *, scores_pairs: bool) -> None:
        self.name = name
        self.load: Callable[[], _Model] = load
        self.scores_pairs = scores_pairs
        self.running: Running[_Model] | None = None

    @classmethod
    def of(cls, model: _Model, *, name: str) -> ServedModel[_Model]:
        """Serve a model that is loaded.

        Raises:
            OptionError: It is a Router.
        """
        if not isinstance(model, CrossEncoder) and model.for_queries is not model.for_documents:
            raise OptionError(
                f"{name} is a Router of two models, one for queries and one for documents, and a service has one. "
                f"Serve the folder of each by itself: those that its router_config.json names first."
            )
        return cls(name, lambda: model, scores_pairs=isinstance(model, CrossEncoder))


class Models:
    """All models of a service, by the names that requests call them by.

    Args:
        models: The models, in the order in which those that name none choose.
        limits: The service's limits.
        metrics: The service's metrics.

    Raises:
        OptionError: Two have one name.
    """

    def __init__(self, models: Sequence[ServedModel[Any]], *, limits: Limits, metrics: Metrics) -> None:
        self._models = tuple(models)
        self._limits = limits
        self._metrics = metrics
        self.embedders: dict[str, ServedModel[Encoder]] = {}
        self.cross_encoders: dict[str, ServedModel[CrossEncoder]] = {}
        self.input_types: dict[str, InputType | None] = {}
        for model in models:
            names = [model.name] if model.scores_pairs else model_names(model.name)
            for name in names:
                if name in self.names:
                    raise OptionError(f"two models are called {name!r}; give each a name of its own by --name.")
            if model.scores_pairs:
                self.cross_encoders[model.name] = model
            else:
                self.input_types |= model_names(model.name)
                self.embedders |= dict.fromkeys(model_names(model.name), model)
            metrics.watch_model(
                model.name,
                waiting_tokens=partial(_of_batcher, model, lambda batcher: batcher.waiting_tokens),
                tokens_per_second=partial(_of_batcher, model, lambda batcher: batcher.tokens_per_second),
            )

    @property
    def names(self) -> list[str]:
        """Every name that a request may ask for."""
        return [*self.input_types, *self.cross_encoders]

    @property
    def first_embedder(self) -> ServedModel[Encoder] | None:
        """The embedder for requests that name none."""
        return next(iter(self.embedders.values()), None)

    @property
    def first_cross_encoder(self) -> ServedModel[CrossEncoder] | None:
        """The cross-encoder for requests that name none."""
        return next(iter(self.cross_encoders.values()), None)

    @property
    def waiting_seconds(self) -> float:
        """How long all that waits takes, at the latest speeds."""
        batchers = [model.running.batcher for model in self._models if model.running is not None]
        return sum(batcher.waiting_tokens / batcher.tokens_per_second for batcher in batchers)

    @property
    def are_running(self) -> bool:
        """Whether texts are accepted."""
        return all(model.running is None or model.running.batcher.is_running for model in self._models)

    async def start(self) -> None:
        """Make every model ready."""
        for model in self._models:
            await self._started(model)

    async def stop(self) -> None:
        """Take no more; what still waits is cancelled."""
        for model in self._models:
            if model.running is not None:
                await asyncio.to_thread(model.running.batcher.stop)

    @asynccontextmanager
    async def using(self, model: ServedModel[_Model]) -> AsyncIterator[Running[_Model]]:
        """Hold a model in memory for as long as a request needs it."""
        yield model.running or await self._started(model)

    async def _started(self, model: ServedModel[_Model]) -> Running[_Model]:
        loaded = await asyncio.to_thread(model.load)
        metrics = self._metrics.of_model(model.name)
        batcher = Batcher(loaded, round_tokens=self._limits.round_tokens, metrics=metrics)
        await asyncio.to_thread(batcher.start)
        metrics.note_loaded(fingerprint=loaded.fingerprint)
        model.running = Running(loaded, batcher)
        return model.running


def _of_batcher(model: ServedModel[Any], read: Callable[[Batcher], float]) -> float:
    """Return a number of a model's batcher; 0 where the model is not in memory."""
    return 0.0 if model.running is None else read(model.running.batcher)


def required(model: ServedModel[_Model] | None, *, status: int, what: str) -> ServedModel[_Model]:
    """Return the model that a request without a name goes to.

    Raises:
        Refusal: There is none of its kind.
    """
    if model is None:
        raise Refusal(status, f"no {what} is served here.", code="model_not_found")
    return model
