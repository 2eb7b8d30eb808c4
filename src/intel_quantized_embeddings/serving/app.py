"""The service's routes, on Starlette."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.serving.answers import embeddings_answer
from intel_quantized_embeddings.serving.batcher import Batcher
from intel_quantized_embeddings.serving.gate import Gate
from intel_quantized_embeddings.serving.limits import Limits
from intel_quantized_embeddings.serving.metrics import Metrics
from intel_quantized_embeddings.serving.requests import (
    EmbeddingsRequest,
    InputType,
    Refusal,
    model_names,
    parse_request,
)
from intel_quantized_embeddings.vectors import truncated

_Result = TypeVar("_Result")

# Texts of a request that are tokenized before another request has its turn.
_TOKENIZED_AT_ONCE = 64
# Texts in European languages have 4 to 5.
_MOST_CHARACTERS_A_TOKEN = 8
# What nginx writes into its log where the client closed the connection before there was an answer.
_CLIENT_GONE = 499
_JSON = "application/json"


def make_app(encoder: Encoder, *, name: str, limits: Limits, api_key: str | None = None) -> ASGIApp:
    """Make the ASGI application; clients send the key as `Authorization: Bearer KEY`, but to `/health`."""
    service = _Service(encoder, name=name, limits=limits)
    app = Starlette(
        routes=[
            Route("/v1/embeddings", service.embeddings, methods=["POST"]),
            Route("/v1/models", service.models),
            Route("/v1/models/{name:path}", service.model),
            Route("/health", service.health),
            Route("/metrics", service.show_metrics),
        ],
        lifespan=service.lifespan,
        exception_handlers={Refusal: _refuse, HTTPException: _refuse_route, Exception: _fail},
    )
    return app if api_key is None else _KeyCheck(app, api_key)


class _Service:
    """The state that routes share."""

    def __init__(self, encoder: Encoder, *, name: str, limits: Limits) -> None:
        if encoder.for_queries is not encoder.for_documents:
            raise OptionError(
                f"{name} is a Router of two models, one for queries and one for documents, and a service has one. "
                f"Serve the folder of each by itself: those that its router_config.json names first."
            )
        self._encoder = encoder
        self._name = name
        self._limits = limits
        self._metrics = Metrics(model=name, fingerprint=encoder.fingerprint)
        self._batcher = Batcher(encoder, round_tokens=limits.round_tokens, metrics=self._metrics)
        self._gate = Gate(self._batcher, limits)
        self._metrics.watch(
            waiting_tokens=lambda: self._batcher.waiting_tokens,
            requests_in_work=lambda: self._gate.requests,
            tokens_per_second=lambda: self._batcher.tokens_per_second,
        )
        # Tokenizing and writing answers. Two threads: a long text must not keep all others from being tokenized.
        self._texts_pool = ThreadPoolExecutor(2, thread_name_prefix="texts")

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Serve from here on, until told to stop."""
        await asyncio.to_thread(self._batcher.start)
        try:
            yield
        finally:
            await asyncio.to_thread(self._batcher.stop)
            self._texts_pool.shutdown(cancel_futures=True)

    async def embeddings(self, request: Request) -> Response:
        """`POST /v1/embeddings`."""
        started = time.perf_counter()
        status = 500
        try:
            answer = await self._within_time(self._answer(request))
            status = 200
            return Response(answer, media_type=_JSON)
        except Refusal as exc:
            status = exc.status
            raise
        except asyncio.CancelledError as exc:
            # Only the server cancels requests, when the time to stop is over; this answer still goes out.
            status = 503
            raise Refusal(503, "the service is stopping, and had no more time for this request.") from exc
        except ClientDisconnect:
            status = _CLIENT_GONE
            return Response(status_code=_CLIENT_GONE)
        finally:
            self._metrics.note_request(status=status, seconds=time.perf_counter() - started)

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        return JSONResponse({"object": "list", "data": [_model_card(name) for name in model_names(self._name)]})

    async def model(self, request: Request) -> Response:
        """`GET /v1/models/NAME`."""
        name = request.path_params["name"]
        if name not in model_names(self._name):
            raise Refusal(404, f"the model {name!r} is not served here.", code="model_not_found", param="model")
        return JSONResponse(_model_card(name))

    async def health(self, request: Request) -> Response:
        """`GET /health`: 200 while texts are taken."""
        healthy = self._batcher.is_running
        return JSONResponse({"status": "ok" if healthy else "stopping"}, status_code=200 if healthy else 503)

    async def show_metrics(self, request: Request) -> Response:
        """`GET /metrics`."""
        return Response(self._metrics.text(), media_type=self._metrics.content_type)

    async def _within_time(self, answer: Coroutine[Any, Any, bytes]) -> bytes:
        try:
            return await asyncio.wait_for(answer, self._limits.request_seconds)
        except asyncio.TimeoutError as exc:
            raise Refusal(
                503,
                f"the request took longer than {self._limits.request_seconds:g} s; send fewer texts at a time.",
                code="request_timeout",
            ) from exc

    async def _answer(self, request: Request) -> bytes:
        """The answer's body; given up when the client goes away."""
        async with self._gate.entered(request.stream()) as body:
            work = asyncio.ensure_future(self._embed(body))
            gone = asyncio.ensure_future(_gone(request))
            try:
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    return work.result()
                raise ClientDisconnect
            finally:
                work.cancel()
                gone.cancel()

    async def _embed(self, body: bytes) -> bytes:
        asked = parse_request(body, name=self._name, dimension=self._encoder.dimension, limits=self._limits)
        # Twice: tokenizing what is then refused is work too, and more may wait when it is done.
        self._gate.check_waiting(self._fewest_tokens(asked.texts))
        token_ids, cut = await self._tokenize(asked)
        self._gate.check_waiting(sum(map(self._batcher.tokens, token_ids)))
        vectors = await self._batcher.encode(token_ids)
        if asked.dimensions != self._encoder.dimension:
            vectors = truncated(vectors, asked.dimensions, normalize=self._encoder.settings.normalize)
        tokens = sum(map(len, token_ids))
        self._metrics.note_texts(texts=len(vectors), tokens=tokens, cut=cut)
        return await self._off_the_loop(partial(embeddings_answer, vectors, asked, prompt_tokens=tokens))

    def _fewest_tokens(self, texts: list[str]) -> int:
        """About how many tokens texts have at the least, before they are tokenized."""
        return sum(min(len(text) // _MOST_CHARACTERS_A_TOKEN + 1, self._encoder.max_length) for text in texts)

    async def _tokenize(self, asked: EmbeddingsRequest) -> tuple[list[list[int]], int]:
        """The token ids of each text, and how many texts were longer than the model takes."""
        settings = self._encoder.settings
        is_query = asked.input_type is InputType.QUERY
        instruction = settings.query_instruction if is_query else settings.document_instruction
        token_ids: list[list[int]] = []
        cut = 0
        for start in range(0, len(asked.texts), _TOKENIZED_AT_ONCE):
            texts = asked.texts[start : start + _TOKENIZED_AT_ONCE]
            tokenized = await self._off_the_loop(partial(self._encoder.tokenize, texts, instruction=instruction))
            token_ids += tokenized.token_ids
            cut += len(tokenized.truncated)
        return token_ids, cut

    async def _off_the_loop(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._texts_pool, work)


class _KeyCheck:
    """Lets requests through that bring the key."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._expected = api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/health" and not self._brought_by(scope):
            refusal = Refusal(
                401,
                "no API key, or not the one that this service was started with; send it as Authorization: Bearer KEY.",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
            await _answer_to(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _brought_by(self, scope: Scope) -> bool:
        scheme, _, key = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        # In constant time: how long a wrong key takes must not tell how much of it is right.
        return hmac.compare_digest(key.strip(), self._expected) and scheme.lower() == b"bearer"


async def _gone(request: Request) -> None:
    """Return when the client has closed the connection; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _model_card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "intel-quantized-embeddings"}


def _answer_to(refusal: Refusal) -> Response:
    return Response(refusal.body, status_code=refusal.status, headers=refusal.headers, media_type=_JSON)


# Coroutines, all three: Starlette would run functions on other threads, and refusing must be cheap.
async def _refuse(request: Request, exc: Exception) -> Response:
    return _answer_to(cast("Refusal", exc))


async def _refuse_route(request: Request, exc: Exception) -> Response:
    """No such path, or not by this method."""
    found = cast("HTTPException", exc)
    message = f"{request.method} {request.url.path}: {found.detail}. There is POST /v1/embeddings."
    return _answer_to(Refusal(found.status_code, message, headers=found.headers))


async def _fail(request: Request, exc: Exception) -> Response:
    """A fault of the service; the server logs it."""
    return _answer_to(Refusal(500, "the service failed; its log says how.", code="internal_error"))
