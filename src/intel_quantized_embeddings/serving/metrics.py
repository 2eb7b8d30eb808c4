"""The metrics of `/metrics`, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from intel_quantized_embeddings.version import __version__

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_POWERS_OF_TWO = tuple(1 << power for power in range(14))


class Metrics:
    """A service's numbers, in a registry of its own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        """Start at zero."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, meaning, labels, buckets=buckets, registry=registry)

        self._requests = Counter(
            "iqe_requests", "Requests that bring a body, by HTTP status; 499: the client went away", ["status"],
            registry=registry,
        )  # fmt: skip
        self._request_seconds = histogram(
            "iqe_request_seconds", "From a request's arrival to its answer, of those with status 200", _SECONDS
        )
        self.model_info = Gauge(
            "iqe_model_info", "1 for a model in memory", ["model", "fingerprint", "version"], registry=registry
        )
        self.texts = Counter("iqe_texts", "Texts or pairs answered", ["model"], registry=registry)
        self.tokens = Counter("iqe_tokens", "Their tokens, as usage counts them", ["model"], registry=registry)
        self.cut = Counter("iqe_cut_texts", "Those longer than the model takes", ["model"], registry=registry)
        self.round_tokens = histogram(
            "iqe_round_tokens", "Tokens encoded at once, padding included", _POWERS_OF_TWO, "model"
        )
        self.round_texts = histogram("iqe_round_texts", "Texts encoded at once", _POWERS_OF_TWO[:12], "model")
        self.round_seconds = histogram("iqe_round_seconds", "Time of a round", _SECONDS, "model")
        self._waiting_tokens = Gauge(
            "iqe_waiting_tokens", "Tokens that wait or are being encoded, padding included", ["model"],
            registry=registry,
        )  # fmt: skip
        self._tokens_per_second = Gauge(
            "iqe_tokens_per_second", "The encoder's speed of late, padding included", ["model"], registry=registry
        )
        self._requests_in_work = Gauge("iqe_requests_in_work", "Requests taken and not answered yet", registry=registry)

    def of_model(self, name: str) -> ModelMetrics:
        """Return the metrics of the model that is served under a name."""
        return ModelMetrics(self, name)

    def watch_requests(self, in_work: Callable[[], float]) -> None:
        """Show the number of requests in work, read whenever metrics are shown."""
        self._requests_in_work.set_function(in_work)

    def watch_model(
        self, name: str, *, waiting_tokens: Callable[[], float], tokens_per_second: Callable[[], float]
    ) -> None:
        """Show a model's changing numbers, read whenever metrics are shown."""
        self._waiting_tokens.labels(name).set_function(waiting_tokens)
        self._tokens_per_second.labels(name).set_function(tokens_per_second)

    def note_request(self, *, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(str(status)).inc()
        if status == 200:
            self._request_seconds.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class ModelMetrics:
    """The metrics of one model."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics = metrics
        self._name = name

    def note_loaded(self, *, fingerprint: str, loaded: bool = True) -> None:
        """Record that the model was loaded, or unloaded."""
        self._metrics.model_info.labels(self._name, fingerprint, __version__).set(int(loaded))

    def note_texts(self, *, texts: int, tokens: int, cut: int) -> None:
        """Count the texts of an answered request."""
        self._metrics.texts.labels(self._name).inc(texts)
        self._metrics.tokens.labels(self._name).inc(tokens)
        self._metrics.cut.labels(self._name).inc(cut)

    def note_round(self, *, tokens: int, texts: int, seconds: float) -> None:
        """Count a round."""
        self._metrics.round_tokens.labels(self._name).observe(tokens)
        self._metrics.round_texts.labels(self._name).observe(texts)
        self._metrics.round_seconds.labels(self._name).observe(seconds)
