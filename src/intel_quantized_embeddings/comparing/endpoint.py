"""A client of OpenAI's `/v1/embeddings`, with the methods of an `Encoder` that measuring calls."""

from __future__ import annotations

import base64
import http.client
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from intel_quantized_embeddings.errors import EndpointError, OptionError, one_line
from intel_quantized_embeddings.reporting.progress import progress_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEY_VARIABLE = "IQE_API_KEY"
_TEXTS_AT_ONCE = 32  # every server takes this many texts
_SECONDS = 120.0
_TRIES = 5
_LONGEST_WAIT = 60.0
_BUSY = (429, 503)


@dataclass(slots=True)
class Endpoint:
    """A model that a server serves.

    `iqe serve` lists a name for queries and one for documents, which are used if they exist; other servers get all
    texts alike. The variable IQE_API_KEY holds the key.

    Attributes:
        address: The address up to `/v1`, without a slash at the end.
        model: The model's name there; "" for the only one that is served.
    """

    address: str
    model: str = ""
    _names: dict[str, str] = field(default_factory=dict)  # the name to ask for, by kind of text
    _connection: http.client.HTTPConnection | None = None

    def connect(self) -> Endpoint:
        """Ask the server for its models, and choose one.

        Raises:
            EndpointError: The server can't be reached, or does not answer as OpenAI's does.
            OptionError: The server has several models and none was named, or does not have the named one; or headers
                can't carry the key.
        """
        key = os.environ.get(KEY_VARIABLE, "")
        if not key.isascii() or key.split() != [key] * bool(key):
            raise OptionError(
                f"the key in the environment variable {KEY_VARIABLE} has spaces, line ends or what is not ASCII; "
                f"headers can't carry it."
            )
        try:
            rows = self._ask("GET", "/models")["data"]
            served = [str(row["id"]) for row in rows]
        except (KeyError, TypeError) as exc:
            raise EndpointError(f"{self.address}/models does not list models as OpenAI's does.") from exc
        models = [name for name in served if not name.endswith((":query", ":document"))]
        if not self.model and len(models) == 1:
            self.model = models[0]
        if self.model not in served:
            said = f"has no model {self.model!r}" if self.model else "has several models, or none"
            raise OptionError(
                f"{self.address} {said}; name one: {self.address}@NAME, of {', '.join(models) or 'none'}."
            )
        for kind in ("query", "document"):
            name = f"{self.model}:{kind}"
            self._names[kind] = name if name in served else self.model
        return self

    def encode_documents(self, texts: Sequence[str], show_progress: bool = False) -> NDArray[np.float32]:
        """Encode texts to be searched. Shape: (n_texts, dimension)."""
        return self._encode(texts, "document", show_progress)

    def encode_queries(self, texts: Sequence[str], show_progress: bool = False) -> NDArray[np.float32]:
        """Encode texts to search with. Shape: (n_texts, dimension)."""
        return self._encode(texts, "query", show_progress)

    def _encode(self, texts: Sequence[str], kind: str, show_progress: bool) -> NDArray[np.float32]:
        vectors: list[NDArray[np.float32]] = []
        with progress_bar(texts, shown=show_progress, unit="text", title="Asking") as advance:
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                part = list(texts[start : start + _TEXTS_AT_ONCE])
                answer = self._ask(
                    "POST", "/embeddings", {"model": self._names[kind], "input": part, "encoding_format": "base64"}
                )
                vectors.append(self._vectors(answer, len(part)))
                if advance is not None:
                    advance(len(part))
        if len({rows.shape[1] for rows in vectors}) != 1:
            raise EndpointError(f"{self.address} gave vectors of different sizes, or none, for {len(texts)} texts.")
        return np.concatenate(vectors)

    def _vectors(self, answer: Any, count: int) -> NDArray[np.float32]:
        try:
            rows = sorted(answer["data"], key=lambda row: int(row["index"]))
            vectors = np.array([_vector(row["embedding"]) for row in rows], dtype=np.float32)
            if vectors.ndim != 2 or len(vectors) != count or not np.isfinite(vectors).all():
                raise ValueError(f"{vectors.shape} for {count} texts, or not finite")
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise EndpointError(
                f"{self.address}/embeddings did not answer with a vector of finite numbers for each of {count} texts "
                f"({one_line(exc)}). It must speak OpenAI's /v1/embeddings."
            ) from exc
        return vectors

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return an answer's JSON; a busy server is asked again."""
        for attempt in range(_TRIES):
            status, wait, content = self._request(method, path, body)
            if status not in _BUSY or attempt == _TRIES - 1:
                break
            with suppress(ValueError):
                time.sleep(min(_LONGEST_WAIT, max(0.0, float(wait or 2**attempt))))
        if status != 200:
            raise EndpointError(f"{self.address}{path} answered {status}: {_shown(content)}{_advice(status)}")
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as exc:
            raise EndpointError(f"{self.address}{path} answered with what is not JSON: {_shown(content)}") from exc

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, str | None, bytes]:
        """Send a request and return status, Retry-After and body; a closed connection is opened again."""
        parts = urlsplit(self.address)
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        content = None if body is None else json.dumps(body).encode()
        kept = self._connection is not None
        while True:
            if self._connection is None:
                kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
                self._connection = kind(parts.netloc, timeout=_SECONDS)
            try:
                self._connection.request(method, f"{parts.path}{path}", content, headers)
                answer = self._connection.getresponse()
                return answer.status, answer.getheader("Retry-After"), answer.read()
            except (OSError, http.client.HTTPException) as exc:
                self._connection.close()
                self._connection = None
                if kept and isinstance(exc, (ConnectionError, http.client.RemoteDisconnected)):
                    kept = False
                    continue
                raise EndpointError(
                    f"{self.address} can't be reached: {one_line(exc) or type(exc).__name__}. Is it running, and does "
                    f"the address end in /v1?"
                ) from exc


def _vector(embedding: Any) -> Any:
    """Read a vector from a list or from base64: some servers always send a list."""
    return np.frombuffer(base64.b64decode(embedding), dtype="<f4") if isinstance(embedding, str) else embedding


def _shown(content: bytes) -> str:
    """Return the beginning of an answer, without the key if the server repeats it."""
    text = " ".join(content.decode("utf-8", "replace").split())
    with suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["error"]["message"])
    key = os.environ.get(KEY_VARIABLE)
    return (text.replace(key, "***") if key else text)[:300]


def _advice(status: int) -> str:
    if status in (401, 403):
        found = "the key in it was refused" if os.environ.get(KEY_VARIABLE) else "it is not set"
        return f" The key is taken from the environment variable {KEY_VARIABLE}: {found}."
    if status == 404:
        return " An address ends in /v1, as http://127.0.0.1:8000/v1."
    return ""
