"""The models of a service, in memory or not."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from intel_quantized_embeddings.encoders.cross_encoder import CrossEncoder
from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.sparse_encoder import SparseEncoder
from intel_quantized_embeddings.errors import OptionError, QuantizedEmbeddingsError
from intel_quantized_embeddings.process.memory import resident_bytes
from intel_quantized_embeddings.serving.batcher import Batcher
from intel_quantized_embeddings.serving.limits import Limits, Residency
from intel_quantized_embeddings.serving.metrics import Metrics
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.serving.requests import InputType, model_names
from intel_quantized_embeddings.serving.served import Running, ServedModel

logger = logging.getLogger(__name__)

_Model = TypeVar("_Model", Encoder, CrossEncoder, SparseEncoder)

# The interval of looking for idle models, as a share of `idle_seconds`.
_LOOKS = 4


class Models:
    """All models of a service, by their names in requests. Used on the event loop only.

    Args:
        models: The models; requests that name none take the first of a kind.
        limits: The service's limits.
        residency: The rules by which models are kept in memory.
        metrics: The service's metrics.

    Raises:
        OptionError: Two models have the same name.
    """

    def __init__(
        self, models: Sequence[ServedModel[Any]], *, limits: Limits, residency: Residency, metrics: Metrics
    ) -> None:
        self._models = tuple(models)
        self._limits = limits
        self._residency = residency
        self._metrics = metrics
        self._one_at_a_time = asyncio.Lock()  # as `ServedModel.loaded` says
        self._watch: asyncio.Task[None] | None = None
        self.embedders: dict[str, ServedModel[Encoder]] = {}
        self.cross_encoders: dict[str, ServedModel[CrossEncoder]] = {}
        self.sparse_models: dict[str, ServedModel[SparseEncoder]] = {}
        self.input_types: dict[str, InputType | None] = {}
        for model in models:
            self._add(model)

    def _add(self, model: ServedModel[Any]) -> None:
        input_types = {} if model.scores_pairs or model.is_sparse else model_names(model.name)
        for name in input_types or (model.name,):
            if name in self.names:
                raise OptionError(f"two models are called {name!r}; give each a name of its own by --name.")
        if model.scores_pairs:
            self.cross_encoders[model.name] = model
        elif model.is_sparse:
            self.sparse_models[model.name] = model
        else:
            self.input_types |= input_types
            self.embedders |= dict.fromkeys(input_types, model)
        self._metrics.watch_model(
            model.name,
            waiting_tokens=partial(_of_running, model, lambda running: running.waiting_tokens),
            tokens_per_second=partial(_of_running, model, lambda running: running.batcher.tokens_per_second),
        )

    @property
    def names(self) -> list[str]:
        """Every name that a request may give."""
        return [*self.input_types, *self.cross_encoders, *self.sparse_models]

    @property
    def first_embedder(self) -> ServedModel[Encoder] | None:
        """The embedder for requests that name none."""
        return next(iter(self.embedders.values()), None)

    @property
    def first_cross_encoder(self) -> ServedModel[CrossEncoder] | None:
        """The cross-encoder for requests that name none."""
        return next(iter(self.cross_encoders.values()), None)

    @property
    def first_sparse(self) -> ServedModel[SparseEncoder] | None:
        """The sparse model for requests that name none."""
        return next(iter(self.sparse_models.values()), None)

    @property
    def waiting_seconds(self) -> float:
        """The time of everything that waits, at the latest speeds."""
        batchers = [
            batcher for model in self._models if model.running is not None for batcher in model.running.batchers
        ]
        return sum(batcher.waiting_tokens / batcher.tokens_per_second for batcher in batchers)

    @property
    def are_running(self) -> bool:
        """Whether texts are accepted."""
        return all(model.running is None or model.running.is_running for model in self._models)

    async def start(self) -> None:
        """Make the models ready that are to be in memory from the start."""
        for model in self._models:
            if model.is_preloaded or not (self._residency.lazy or self._is_full()):
                await self._load(model)
        if self._residency.idle_seconds is not None:
            self._watch = asyncio.ensure_future(self._let_go_when_idle(self._residency.idle_seconds))

    async def stop(self) -> None:
        """Accept no more; waiting requests are cancelled."""
        if self._watch is not None:
            self._watch.cancel()
        for model in self._models:
            if model.running is not None:
                await asyncio.to_thread(model.running.stop)

    @asynccontextmanager
    async def using(self, model: ServedModel[_Model]) -> AsyncIterator[Running[_Model]]:
        """Hold a model in memory while a request needs it; the first request loads it.

        Raises:
            Refusal: The model can't be loaded.
        """
        model.users += 1
        try:
            yield model.running or await self._asked_for(model)
        finally:
            model.users -= 1
            model.last_used = time.monotonic()

    async def _asked_for(self, model: ServedModel[_Model]) -> Running[_Model]:
        """Load a model once for all requests that wait for it, even if some of them go away."""
        if model.loading is None:
            model.loading = asyncio.ensure_future(self._load(model))
            model.loading.add_done_callback(partial(_loading_ended, model))
        try:
            return await asyncio.shield(model.loading)
        except (QuantizedEmbeddingsError, OSError) as exc:
            why = f"the model {model.name!r} can't be loaded; the service's log says why."
            raise Refusal(503, why, code="model_not_loaded") from exc

    async def _load(self, model: ServedModel[_Model]) -> Running[_Model]:
        async with self._one_at_a_time:
            await self._make_room(0 if model.is_preloaded else model.resident_bytes)
            loaded = await asyncio.to_thread(model.loaded)
            metrics = self._metrics.of_model(model.name)

            def start(one: _Model) -> Batcher:
                batcher = Batcher(one, round_tokens=self._limits.round_tokens, metrics=metrics)
                batcher.start()
                return batcher

            running = await asyncio.to_thread(Running.started, loaded, start)
            model.last_used = time.monotonic()
            model.running = running
            metrics.note_loaded(fingerprint=loaded.fingerprint)
            await self._make_room(0, besides=model)
            return running

    def _is_full(self, more: int = 0) -> bool:
        limit = self._residency.memory_bytes
        return limit is not None and resident_bytes() + more > limit

    async def _make_room(self, more: int, *, besides: ServedModel[Any] | None = None) -> None:
        """Unload models that no request needs while there is no room for a number of bytes."""
        while self._is_full(more):
            model = _longest_unused(self._models, besides=besides)
            if model is None:
                return
            await self._let_go(model, "to make room")

    async def _let_go_when_idle(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds / _LOOKS)
            model = _longest_unused(self._models)
            while model is not None and time.monotonic() - model.last_used > seconds:
                await self._let_go(model, f"after {seconds:g} s without a request")
                model = _longest_unused(self._models)

    async def _let_go(self, model: ServedModel[Any], why: str) -> None:
        running, model.running = model.running, None  # from now on a request loads it again
        if running is None:
            return
        self._metrics.of_model(model.name).note_loaded(fingerprint=running.model.fingerprint, loaded=False)
        await asyncio.to_thread(running.stop)
        del running
        gc.collect()
        logger.info("%s is no longer in memory: let go %s", model.name, why)


def _longest_unused(
    models: Sequence[ServedModel[Any]], *, besides: ServedModel[Any] | None = None
) -> ServedModel[Any] | None:
    """Return the model in memory that no request needs and that was unused for longest; None if there is none."""
    idle = [model for model in models if model.running is not None and not model.users and model is not besides]
    return min(idle, key=lambda model: model.last_used, default=None)


def _loading_ended(model: ServedModel[Any], loading: asyncio.Future[Any]) -> None:
    model.loading = None
    if not loading.cancelled() and loading.exception() is not None:
        logger.error("%s can't be loaded", model.name, exc_info=loading.exception())


def _of_running(model: ServedModel[Any], read: Callable[[Running[Any]], float]) -> float:
    """Return a number of a running model; 0 if the model is not in memory."""
    return 0.0 if model.running is None else read(model.running)


def required(model: ServedModel[_Model] | None, *, status: int, what: str) -> ServedModel[_Model]:
    """Return the model that a request without a name goes to.

    Raises:
        Refusal: There is no model of the kind.
    """
    if model is None:
        raise Refusal(status, f"no {what} is served here.", code="model_not_found")
    return model
