"""The middleware before every route: the request's id, and the check of its key."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable, Collection, Sequence

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intel_quantized_embeddings.serving.refusals import Refusal

logger = logging.getLogger(__name__)

# Allowed ids of requests: one word in a log.
_REQUEST_ID = re.compile(rb"[\w.:/+=@-]{1,128}")


class RequestIds:
    """Gives every answer the header `x-request-id`, the request's own or a new one, and logs it.

    Args:
        app: The application behind it.
        log_all: Whether every answer is logged, not only those with a status of 500 or more.
    """

    def __init__(self, app: ASGIApp, *, log_all: bool) -> None:
        self._app = app
        self._log_all = log_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        brought = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = brought if _REQUEST_ID.fullmatch(brought) else secrets.token_hex(8).encode()
        status = 0  # status until there is an answer

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            if self._log_all or status >= 500 or not status:
                # No query string and no body: texts are never logged.
                logger.log(
                    logging.WARNING if status >= 500 or not status else logging.INFO,
                    "%s %s %d in %.3f s, request %s",
                    scope["method"],
                    scope["path"].encode("unicode_escape").decode("ascii"),
                    status,
                    time.perf_counter() - started,
                    request_id.decode(),
                )


class KeyCheck:
    """Lets requests through that have one of the keys.

    Args:
        app: The application behind it.
        keys: The keys of `Authorization: Bearer KEY`.
        public: Paths that need no key for GET.
        refuse: Writes a refusal for a path.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Sequence[str],
        public: Collection[str],
        refuse: Callable[[Refusal, str], Response],
    ) -> None:
        self._app = app
        self._keys = [key.encode() for key in keys]
        self._public = public
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_public(scope) and not self._has_key(scope):
            refusal = Refusal(
                401,
                "no API key, or not the one that this service was started with; send it as Authorization: Bearer KEY.",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
            await self._refuse(refusal, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_public(self, scope: Scope) -> bool:
        return scope["path"] in self._public and scope["method"] in ("GET", "HEAD")

    def _has_key(self, scope: Scope) -> bool:
        scheme, _, key = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        # All keys are compared, in constant time, so that the time does not show how much of a wrong key is right.
        found = [hmac.compare_digest(key.strip(), expected) for expected in self._keys]
        return any(found) and scheme.lower() == b"bearer"
