"""Services to test: `iqe serve` in a process, and its application in a thread, with an encoder of a known speed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intel_quantized_embeddings import CrossEncoder, Encoder
from intel_quantized_embeddings.encoding.batching import padded_length
from intel_quantized_embeddings.serving.limits import Limits


class PacedEncoder:
    """A real model that takes its time: so many tokens a second, padding included, which calls at once share."""

    _SLICE = 64  # tokens between two looks at how many share

    def __init__(self, real: Encoder | CrossEncoder, *, tokens_per_second: float) -> None:
        self._real = real
        self._tokens_per_second = tokens_per_second
        self._calls = 0
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def encode_token_ids(self, token_ids: Sequence[Sequence[int]]) -> np.ndarray:
        tokens = sum(padded_length(len(ids), max_length=self._real.max_length) for ids in token_ids)
        self._count(1)
        try:
            for start in range(0, tokens, self._SLICE):
                time.sleep(min(self._SLICE, tokens - start) * self._calls / self._tokens_per_second)
            return self._real.encode_token_ids(token_ids)
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            self._calls += more


class BrokenEncoder(PacedEncoder):
    """One that fails on a text of five tokens."""

    def encode_token_ids(self, token_ids: Sequence[Sequence[int]]) -> np.ndarray:
        if any(len(ids) == 5 for ids in token_ids):
            raise RuntimeError("five tokens")
        return super().encode_token_ids(token_ids)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that listens on this machine."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, *, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers or {})) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def metric(self, name: str) -> float:
        """One number of `/metrics`, its labels in the name, or the sum of a name's; 0 where it is not there."""
        labels = "" if "{" in name else r"(?:\{.*\})?"
        found = re.findall(rf"^{re.escape(name)}{labels} (\S+)$", self.get("/metrics")[1], flags=re.MULTILINE)
        return sum(map(float, found))

    def post(self, path: str, body: Any, *, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and what the JSON of the answer says."""
        status, answered, _ = self.posted(path, body, headers=headers)
        return status, answered

    def posted(self, path: str, body: Any, *, headers: dict[str, str] | None = None) -> tuple[int, Any, dict[str, str]]:
        """Status, what the JSON of the answer says, and the headers, in lower case."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=content, headers=headers or {})
        try:
            with urllib.request.urlopen(request) as answer:
                status, given, raw = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as refused:
            status, given, raw = refused.code, refused.headers, refused.read()
        return status, json.loads(raw), {name.lower(): value for name, value in given.items()}

    def wait_for(self, name: str, value: float, *, seconds: float = 10.0) -> None:
        """Wait until a metric has a value."""
        end = time.monotonic() + seconds
        while self.metric(name) != value:
            assert time.monotonic() < end, f"{name} is {self.metric(name)}, not {value}, after {seconds} s"
            time.sleep(0.01)


@contextmanager
def service_in_thread(
    *models: Any,
    name: str = "tiny",
    limits: Limits | None = None,
    http: str = "auto",
    **options: Any,
) -> Iterator[Service]:
    """Serve models from a thread: encoders under a name, others as `ServedModel`s; the options are `make_app`'s."""
    import uvicorn

    from intel_quantized_embeddings.serving.app import make_app
    from intel_quantized_embeddings.serving.served import ServedModel

    served = [one if isinstance(one, ServedModel) else ServedModel.of(one, name=name) for one in models]
    app = make_app(served, limits=limits or Limits(), **options)
    config = uvicorn.Config(app, lifespan="on", ws="none", log_config=None, access_log=False, http=http)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=config.backlog) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Service(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


@dataclass(frozen=True, slots=True)
class ServiceProcess(Service):
    """`iqe serve` in a process."""

    process: subprocess.Popen[str]

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """Its status and what it said after it began to listen."""
        said = self.process.communicate(timeout=60)[1]
        return self.process.returncode, said


@contextmanager
def service_in_process(
    model: Path | str, *options: object, environment: dict[str, str] | None = None
) -> Iterator[tuple[ServiceProcess, str]]:
    """Run `iqe serve` on a free port; gives what it said while it started too."""
    command = [sys.executable, "-m", "intel_quantized_embeddings.cli", "serve", "--port", "0", str(model)]
    process = subprocess.Popen(
        [*command, *map(str, options)], stderr=subprocess.PIPE, text=True, env=os.environ | (environment or {})
    )
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            found = re.search(r"serving .* on http://\S+:(\d+)/v1", line)
            if found:
                break
        else:
            raise AssertionError(f"it ended with {process.wait()}: {said}")
        yield ServiceProcess(int(found[1]), process), said
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
