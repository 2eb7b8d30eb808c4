"""A connection that speaks just enough HTTP to load a service: a client library costs as much CPU as the service."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the headers' names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """One connection, kept open from request to request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: dict[str, Any] | bytes) -> Answer:
        """Send JSON and wait for the answer.

        Raises:
            OSError: The connection broke.
            asyncio.IncompleteReadError: It was closed before the answer was whole.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        writer.write(f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(content)}\r\n\r\n".encode())
        writer.write(content)
        await writer.drain()
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        answer = Answer(int(status.split()[1]), headers, await reader.readexactly(int(headers["content-length"])))
        if headers.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Close it, whatever is under way; the next request opens it again."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def vectors_of(answer: Answer) -> np.ndarray:
    """The vectors of an answer, float or base64, as float32."""
    return decoded([row["embedding"] for row in json.loads(answer.body)["data"]])


def decoded(rows: list[str] | list[list[float]]) -> np.ndarray:
    if isinstance(rows[0], str):
        return np.stack([np.frombuffer(base64.b64decode(row), dtype="<f4") for row in rows])
    return np.array(rows, dtype=np.float32)
