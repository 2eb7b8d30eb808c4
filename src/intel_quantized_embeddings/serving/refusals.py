"""`Refusal`: the error of a request of any API; each API writes it in its own form."""

from __future__ import annotations

from collections.abc import Mapping


class Refusal(Exception):
    """A request that is answered by an error.

    Args:
        status: The HTTP status.
        message: What failed, the value seen, what is allowed.
        code: A word for programs.
        param: The wrong field of the body.
        headers: Further HTTP headers.
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
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})
