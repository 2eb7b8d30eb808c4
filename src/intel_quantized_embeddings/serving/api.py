"""`Api`: a table of routes, and the form of errors. Each API is a module with an `API`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from intel_quantized_embeddings.serving.refusals import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from intel_quantized_embeddings.serving.service import Service

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer, with status 200 by default."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = JSON
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A route that takes a body: it goes through the gate, has a limited time, and is counted.

    Attributes:
        path: Its path.
        answer: Answers a body.
    """

    path: str
    answer: Callable[[Service, bytes], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """A route that shows information.

    Attributes:
        path: Its path, in Starlette's form.
        answer: Answers a request.
        public: Whether it asks for no key.
    """

    path: str
    answer: Callable[[Service, Request], Awaitable[Answer]]
    public: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """An API.

    Attributes:
        error: Writes a refusal's body.
        posts: Its routes that take a body.
        gets: Its routes that show information.
        failure: The status of a failure of the service itself.
    """

    error: Callable[[Refusal], bytes]
    posts: tuple[Post, ...] = ()
    gets: tuple[Get, ...] = ()
    failure: int = 500

    @property
    def paths(self) -> list[str]:
        """The paths of all routes."""
        return [*(post.path for post in self.posts), *(get.path for get in self.gets)]
