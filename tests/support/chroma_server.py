"""`chroma run` on a free port of this machine, to be started, stopped and started again."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


class ChromaServer:
    """A real server.

    Attributes:
        host: Where it listens.
        port: Free when this was made.
    """

    host = "127.0.0.1"

    def __init__(self, data: Path) -> None:
        with socket.socket() as free:
            free.bind((self.host, 0))
            self.port: int = free.getsockname()[1]
        self._data = data
        self._log = data.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it answers."""
        chroma = Path(sys.executable).with_name("chroma")
        command = [chroma, "run", "--path", self._data, "--host", self.host, "--port", self.port]
        with self._log.open("w") as output:
            self._process = subprocess.Popen([*map(str, command)], stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while wait and time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=1):
                return
            time.sleep(0.1)
        if wait:
            pytest.fail(f"chroma run does not answer:\n{self._log.read_text('utf-8')}")

    def stop(self, *, kill: bool = False) -> None:
        """Ask it to end, or end it at once."""
        if self._process is not None:
            (self._process.kill if kill else self._process.terminate)()
            self._process.wait(timeout=30)
            self._process = None


@contextlib.contextmanager
def chroma_server(data: Path) -> Iterator[ChromaServer]:
    """One that is stopped in the end."""
    server = ChromaServer(data)
    server.start()
    try:
        yield server
    finally:
        server.stop()
