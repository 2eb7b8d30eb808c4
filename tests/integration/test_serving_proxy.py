"""Two services behind nginx, as deploy/nginx.conf sets it up: what clients see of a killed one, and of too much."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
pytest.importorskip("prometheus_client", reason="the serve extra is not installed")

from support.http_client import Connection, vectors_of
from support.nginx import PROGRAM, documented, free_port, nginx
from support.services import ServiceProcess, service_in_process

if PROGRAM is None:
    pytest.skip("nginx is not installed (Debian: nginx-light)", allow_module_level=True)

KILLS = 4
CLIENTS = 8
TEXTS_A_REQUEST = 64


class Supervised:
    """`iqe serve` on one port, started again where it was killed, as `Restart=always` of systemd does."""

    def __init__(self, stack: ExitStack, *command: object) -> None:
        self._stack, self._command = stack, (*command, "--port", free_port())
        self.start()

    @property
    def service(self) -> ServiceProcess:
        return self._service

    def start(self) -> None:
        self._service, _ = self._stack.enter_context(service_in_process(*self._command))

    def kill(self) -> None:
        self._service.process.kill()
        self._service.process.wait()


class Client:
    """One that never pauses, and checks every vector that it gets."""

    def __init__(self, port: int, texts: list[str], expected: np.ndarray) -> None:
        self.statuses = Counter[int]()
        self._connection = Connection(port)
        self._texts, self._expected = texts, expected

    async def ask_until(self, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            first = 7 * self.statuses.total()
            places = [place % len(self._texts) for place in range(first, first + TEXTS_A_REQUEST)]
            texts = [self._texts[place] for place in places]
            answer = await self._connection.post(
                "/v1/embeddings", {"model": "tiny", "input": texts, "encoding_format": "base64"}
            )
            self.statuses[answer.status] += 1
            if answer.status == 200:
                assert vectors_of(answer).tobytes() == self._expected[places].tobytes()
        self._connection.close()


async def kill_in_turns(clients: list[Client], both: list[Supervised]) -> None:
    """Kill one after another while clients ask."""
    stopped = asyncio.Event()
    asking = asyncio.gather(*(client.ask_until(stopped) for client in clients))
    for kill in range(KILLS):
        one = both[kill % 2]
        while not one.service.metric("iqe_requests_in_work") and not asking.done():
            await asyncio.sleep(0)
        one.kill()
        await asyncio.to_thread(one.start)
        while not one.service.metric('iqe_requests_total{status="200"}') and not asking.done():
            await asyncio.sleep(0.05)
        # A request that came while it was away must not be at the other one when that is killed.
        before = [client.statuses.total() for client in clients]
        while any(c.statuses.total() == n for c, n in zip(clients, before, strict=True)) and not asking.done():
            await asyncio.sleep(0.05)
    stopped.set()
    await asking


async def ask_for_a_while(clients: list[Client]) -> None:
    stopped = asyncio.Event()
    asking = asyncio.gather(*(client.ask_until(stopped) for client in clients))
    while not all(client.statuses.total() > 5 for client in clients) and not asking.done():
        await asyncio.sleep(0.05)
    stopped.set()
    await asking


def statuses_of(clients: list[Client]) -> Counter[int]:
    return sum((client.statuses for client in clients), Counter())


def test_a_service_that_is_killed_and_comes_back_costs_no_request(tiny_int8, tiny_encoder, tmp_path):
    texts = [f"the cat number {i} sat on the mat by the cold river {i * 7}" for i in range(500)]
    port = free_port()
    clients = [Client(port, texts, tiny_encoder.encode_documents(texts)) for _ in range(CLIENTS)]
    with ExitStack() as stack:
        both = [Supervised(stack, tiny_int8, "--name", "tiny") for _ in range(2)]
        settings = documented(port=port, services=[one.service.port for one in both])
        stack.enter_context(nginx(settings, port=port, folder=tmp_path))
        asyncio.run(kill_in_turns(clients, both))
    assert set(statuses_of(clients)) == {200}


def test_what_is_too_much_for_both_is_a_429_and_nothing_else(tiny_int8, tiny_encoder, tmp_path):
    """A service that refuses is not one that is gone."""
    texts = ["the cat sat on the mat " * 20] * 4
    port = free_port()
    clients = [Client(port, texts, tiny_encoder.encode_documents(texts)) for _ in range(4 * CLIENTS)]
    with ExitStack() as stack:
        options = ("--name", "tiny", "--max-waiting-requests", 1)
        both = [stack.enter_context(service_in_process(tiny_int8, *options))[0] for _ in range(2)]
        settings = documented(port=port, services=[one.port for one in both])
        stack.enter_context(nginx(settings, port=port, folder=tmp_path))
        asyncio.run(ask_for_a_while(clients))
    assert set(statuses_of(clients)) == {200, 429}
