"""The service's application, on Starlette: the routes of every API, and the check of keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from intel_quantized_embeddings.serving import openai, operations, rerank, tei
from intel_quantized_embeddings.serving.api import JSON, Answer, Get, Post
from intel_quantized_embeddings.serving.limits import Limits, Residency
from intel_quantized_embeddings.serving.middleware import KeyCheck, RequestIds
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.serving.served import ServedModel
from intel_quantized_embeddings.serving.service import Service
from intel_quantized_embeddings.serving.tei_inputs import require_default_prompt
from intel_quantized_embeddings.serving.tei_requests import Defaults

# The first API writes the errors of paths that no API has.
APIS = (openai.API, rerank.API, tei.API, operations.API)

_API_OF = {path: api for api in APIS for path in api.paths}
_PUBLIC = frozenset(route.path for api in APIS for route in api.gets if route.public)
_EXAMPLES = ", ".join(f"POST {api.posts[0].path}" for api in APIS if api.posts)


def make_app(
    models: Sequence[ServedModel[Any]],
    *,
    limits: Limits,
    api_keys: Sequence[str] = (),
    tei_defaults: Defaults | None = None,
    residency: Residency | None = None,
    log_requests: bool = False,
) -> ASGIApp:
    """Make the ASGI application of some models; clients send one of the keys as `Authorization: Bearer KEY`.

    Raises:
        OptionError: Two models have the same name, or one lacks the default prompt.
        QuantizedEmbeddingsError: There is a default prompt, and the settings of a model can't be read.
    """
    service = Service(models, limits=limits, tei_defaults=tei_defaults, residency=residency)
    require_default_prompt(service.models, service.tei_defaults)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with service.running():
            yield

    app: ASGIApp = Starlette(
        routes=[
            *(Route(post.path, _posted(service, post), methods=["POST"]) for api in APIS for post in api.posts),
            *(Route(get.path, _shown(service, get)) for api in APIS for get in api.gets),
        ],
        lifespan=lifespan,
        exception_handlers={Refusal: _refuse, HTTPException: _refuse_route, Exception: _fail},
    )
    if api_keys:
        app = KeyCheck(app, keys=api_keys, public=_PUBLIC, refuse=_answer_to)
    return RequestIds(app, log_all=log_requests)


_Endpoint = Callable[[Request], Awaitable[Response]]


def _posted(service: Service, post: Post) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        return _response(await service.answered(request, post.answer))

    return endpoint


def _shown(service: Service, get: Get) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        return _response(await get.answer(service, request))

    return endpoint


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, headers=dict(answer.headers), media_type=answer.media_type)


def _answer_to(refusal: Refusal, path: str) -> Response:
    """Refuse in the form of the API that a path belongs to."""
    body = _API_OF.get(path, APIS[0]).error(refusal)
    return Response(body, refusal.status, headers=refusal.headers, media_type=JSON)


# All three are coroutines: Starlette would run functions on other threads, and refusing must be cheap.
async def _refuse(request: Request, exc: Exception) -> Response:
    return _answer_to(cast("Refusal", exc), request.url.path)


async def _refuse_route(request: Request, exc: Exception) -> Response:
    """Refuse an unknown path, or another method than its own."""
    found = cast("HTTPException", exc)
    message = f"{request.method} {request.url.path}: {found.detail}. There are {_EXAMPLES} and others: docs/serving.md."
    return _answer_to(Refusal(found.status_code, message, headers=found.headers), request.url.path)


async def _fail(request: Request, exc: Exception) -> Response:
    """Answer a fault of the service, which the server logs."""
    path = request.url.path
    status = _API_OF.get(path, APIS[0]).failure
    return _answer_to(Refusal(status, "the service failed; its log says how.", code="internal_error"), path)
