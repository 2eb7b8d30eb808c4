"""Start a service and stop it."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
from collections.abc import Sequence
from typing import Any

from intel_quantized_embeddings.errors import MissingExtraError, OptionError
from intel_quantized_embeddings.options import LoadOptions
from intel_quantized_embeddings.process.memory import resident_bytes
from intel_quantized_embeddings.serving.limits import Limits, Residency
from intel_quantized_embeddings.serving.tei_requests import Defaults

try:
    import prometheus_client  # noqa: F401 - metrics.py imports it too; here its absence is told
    import uvicorn

    from intel_quantized_embeddings.serving.app import make_app
    from intel_quantized_embeddings.serving.served import ServedModel
    from intel_quantized_embeddings.serving.whole_answers import WholeAnswers
except ModuleNotFoundError as exc:
    missing = (exc.name or "uvicorn").partition(".")[0]
    raise MissingExtraError(package=missing, extra="serve", needed_for="iqe serve") from exc

logger = logging.getLogger(__name__)

# Longer than clients and proxies keep an idle connection, so that none is closed while they write into it.
_KEEP_ALIVE_SECONDS = 75


def serve(
    models: Sequence[LoadOptions],
    *,
    names: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    api_keys: Sequence[str] = (),
    tei_defaults: Defaults,
    log_requests: bool = False,
    limits: Limits,
    residency: Residency,
) -> None:
    """Serve models until SIGTERM or SIGINT; requests accepted by then are answered.

    `iqe serve --help` explains the arguments; the log gives the port if 0 took a free one.

    Raises:
        OptionError: The address can't be listened on, or a value is not allowed.
        QuantizedEmbeddingsError: As `Reranker.load` lists them.
    """
    if not all(key.isascii() and key.split() == [key] for key in api_keys):
        raise OptionError(
            "the API key is empty, or has spaces or line ends or what is not ASCII; headers can't carry it."
        )
    names = names or [str(options.model) for options in models]
    if len(names) != len(models):
        raise OptionError(
            f"--name is given {len(names)} times and MODEL {len(models)}: give a name for each model, in their order."
        )
    if not all(names):
        raise OptionError("--name '' is not allowed; it is what requests call the model by.")
    if not host:  # to the system all addresses
        raise OptionError("host='' is not allowed; it is an address, such as 127.0.0.1, or 0.0.0.0 for all of them.")
    with _bound(host, port) as listener:
        served = [
            ServedModel.asked(options, name=name, alone=len(models) == 1)
            for options, name in zip(models, names, strict=True)
        ]
        app = make_app(
            served,
            limits=limits,
            api_keys=api_keys,
            tei_defaults=tei_defaults,
            residency=residency,
            log_requests=log_requests,
        )
        described = _preloaded(served, residency)
        if not api_keys and not _is_loopback(listener):
            logger.warning("%s can be reached from other machines, and no API key is asked for", host)
        config = uvicorn.Config(
            app,
            http=WholeAnswers,
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(limits.stop_seconds)),
        )
        # uvicorn raises the signal that stopped it again, for an earlier handler. There is none: the status is 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        address, bound_port = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        greeting = f"serving {', '.join(names)} on http://{shown}:{bound_port}/v1: {'; '.join(described)}"
        _Server(config, greeting=greeting).run(sockets=[listener])


def _preloaded(models: Sequence[ServedModel[Any]], residency: Residency) -> list[str]:
    """Load the models that are to be in memory from the start, and describe each model."""
    described = []
    for model in models:
        is_full = residency.memory_bytes is not None and resident_bytes() > residency.memory_bytes
        described.append("loaded when it is asked for" if residency.lazy or is_full else repr(model.preload()))
    return described


class _Server(uvicorn.Server):
    """Logs its address once it listens."""

    def __init__(self, config: uvicorn.Config, *, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        logger.info("%s", self._greeting)


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address that does not listen yet, so that errors come before a model is loaded."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as exc:
        listener.close()
        why = str(exc).rstrip(".")
        raise OptionError(
            f"host={host!r} and port={port} can't be listened on: {why}. Pass another port or host."
        ) from exc
    return listener


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback
