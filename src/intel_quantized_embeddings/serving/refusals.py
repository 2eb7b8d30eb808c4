"""Why a request is not answered with vectors, in the form that OpenAI's clients read."""

from __future__ import annotations

import json
from collections.abc import Mapping

# What OpenAI calls the kinds of errors, by status.
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class Refusal(Exception):
    """A request that gets an error for an answer.

    Attributes:
        status: The HTTP status.
        headers: HTTP headers beside it.
        body: The answer, JSON.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Say what is wrong.

        Args:
            status: The HTTP status.
            message: What failed, the value seen, what is allowed.
            code: A word for programs.
            param: The field of the body that is at fault.
            headers: HTTP headers beside it.
        """
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        self.body = json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()
