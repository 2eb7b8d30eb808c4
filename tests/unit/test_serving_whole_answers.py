"""How a service writes its answers."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("starlette", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from uvicorn import Config
from uvicorn.server import ServerState

from intel_quantized_embeddings.serving.whole_answers import WholeAnswers

BODY = b"x" * 20_000


class Written(asyncio.Transport):
    """A connection that keeps what each call writes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.calls.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def _answer(request) -> Response:
    return Response(BODY)


async def _asked(*requests: bytes) -> Written:
    config = Config(Starlette(routes=[Route("/", _answer)]), ws="none", log_config=None)
    config.load()
    state = ServerState()
    connection, transport = WholeAnswers(config, state, {}), Written()
    connection.connection_made(transport)
    for request in requests:
        connection.data_received(request)
        async with asyncio.timeout(10):
            while state.tasks or not transport.calls:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
    return transport


@pytest.mark.parametrize("keep", [True, False])
def test_head_and_body_are_written_by_one_call(keep):
    """A proxy that has got a head can't ask another service any more, when this one is killed before the body."""
    request = b"GET / HTTP/1.1\r\nhost: a\r\n" + (b"" if keep else b"connection: close\r\n") + b"\r\n"
    written = asyncio.run(_asked(request))
    (whole,) = written.calls
    assert whole.startswith(b"HTTP/1.1 200 OK\r\n")
    assert whole.endswith(b"\r\n\r\n" + BODY)
    assert written.closed is not keep


def test_the_answers_of_a_connection_come_one_by_one():
    request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    written = asyncio.run(_asked(request, request))
    assert len(written.calls) == 2
    assert all(whole.endswith(BODY) for whole in written.calls)
