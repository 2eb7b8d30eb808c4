"""What `/metrics` tells Prometheus."""

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

    def __init__(self, *, model: str, fingerprint: str) -> None:
        """Start at zero, for the name that a model is served under and its encoder's fingerprint."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        model_info = Gauge("iqe_model_info", "What is served", ["model", "fingerprint", "version"], registry=registry)
        model_info.labels(model, fingerprint, __version__).set(1)
        self._requests = Counter(
            "iqe_requests", "Requests for embeddings by HTTP status; 499: the client went away", ["status"],
            registry=registry,
        )  # fmt: skip
        self._request_seconds = Histogram(
            "iqe_request_seconds", "From a request's arrival to its answer, of those with status 200",
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._texts = Counter("iqe_texts", "Texts answered with a vector", registry=registry)
        self._tokens = Counter("iqe_tokens", "Their tokens, as usage counts them", registry=registry)
        self._cut = Counter("iqe_cut_texts", "Texts that were longer than the model takes", registry=registry)
        self._round_tokens = Histogram(
            "iqe_round_tokens", "Tokens encoded at once, padding included", buckets=_POWERS_OF_TWO, registry=registry
        )
        self._round_texts = Histogram(
            "iqe_round_texts", "Texts encoded at once", buckets=_POWERS_OF_TWO[:12], registry=registry
        )
        self._round_seconds = Histogram("iqe_round_seconds", "Time of a round", buckets=_SECONDS, registry=registry)

    def watch(
        self,
        *,
        waiting_tokens: Callable[[], float],
        requests_in_work: Callable[[], float],
        tokens_per_second: Callable[[], float],
    ) -> None:
        """Show what changes by itself, asked for when it is shown."""
        shown = {
            "iqe_waiting_tokens": ("Tokens that wait or are being encoded, padding included", waiting_tokens),
            "iqe_requests_in_work": ("Requests taken and not answered yet", requests_in_work),
            "iqe_tokens_per_second": ("The encoder's speed of late, padding included", tokens_per_second),
        }
        for name, (meaning, read) in shown.items():
            Gauge(name, meaning, registry=self._registry).set_function(read)

    def note_request(self, *, status: int, seconds: float) -> None:
        """Count a request that has its answer."""
        self._requests.labels(str(status)).inc()
        if status == 200:
            self._request_seconds.observe(seconds)

    def note_texts(self, *, texts: int, tokens: int, cut: int) -> None:
        """Count the texts of a request that got vectors."""
        self._texts.inc(texts)
        self._tokens.inc(tokens)
        self._cut.inc(cut)

    def note_round(self, *, tokens: int, texts: int, seconds: float) -> None:
        """Count what was encoded at once."""
        self._round_tokens.observe(tokens)
        self._round_texts.observe(texts)
        self._round_seconds.observe(seconds)

    def text(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self._registry)
