"""Load on `iqe serve`, from this machine: python tests/numerics/load_serving.py MODEL [--seconds 10].

Starts the service, then sends it questions (one a request) and passages (32 a request) of ../shared from more and
more clients, each of which asks again as soon as it is answered, or a second after a 429; then ten times as many
requests a second as were answered, whether they are answered or not; then questions while a request of 2,000 passages
is in work. Prints p50 and p99 of what was answered with vectors, texts/s, and how many requests got which status, and
ends with 1 where a vector is not `Encoder`'s own to the bit. What docs/benchmarks.md says of the service comes from it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import csv
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from intel_quantized_embeddings import Encoder
from support.http_client import Connection
from support.services import Service, service_in_process

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CONNECTIONS = 1000
QUESTIONS, PASSAGES = 2000, 400  # which come again and again
_VECTOR = re.compile(rb'"embedding":"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and the vectors that it must get, as base64."""

    body: bytes
    expected: list[bytes]


@dataclass
class Seen:
    """What came of some requests."""

    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    texts: int = 0
    wrong: int = 0
    seconds: float = 0.0

    @property
    def answered_per_second(self) -> float:
        return self.statuses["200"] / self.seconds

    def __str__(self) -> str:
        p50, p99 = np.percentile(self.latencies_ms, [50, 99]) if self.latencies_ms else (np.nan, np.nan)
        statuses = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        wrong = f", {self.wrong} WRONG" if self.wrong else ""
        return f"p50 {p50:8.1f} ms  p99 {p99:8.1f} ms  {self.texts / self.seconds:7.1f} texts/s  {statuses}{wrong}"


@dataclass(frozen=True, slots=True)
class Texts:
    """Questions and passages, each with its vector as base64."""

    questions: dict[str, bytes]
    passages: dict[str, bytes]

    @classmethod
    def read(cls, encoder: Encoder) -> Texts:
        """Read those of ../shared in a random order that is the same each time, and embed them."""
        with (DATA / "banking77" / "train.csv").open(encoding="utf-8") as rows:
            questions = [row["text"] for row in csv.DictReader(rows)]
        passages = [
            json.loads(line)["text"]
            for corpus in ("scifact", "xquad-en")
            for line in (DATA / corpus / "corpus.jsonl").read_text("utf-8").splitlines()
        ]
        from_all = ((questions, QUESTIONS), (passages, PASSAGES))
        chosen = [random.Random(0).sample(sorted(set(texts)), number) for texts, number in from_all]
        vectors = encoder.encode_queries(chosen[0]), encoder.encode_documents(chosen[1])
        written = ([base64.b64encode(row.astype("<f4").tobytes()) for row in rows] for rows in vectors)
        return cls(*(dict(zip(texts, rows, strict=True)) for texts, rows in zip(chosen, written, strict=True)))


def requests(texts: dict[str, bytes], *, model: str, texts_a_request: int) -> Iterator[Asked]:
    """Requests as openai's client writes them, for ever."""
    endless = cycle(texts)
    while True:
        some = list(islice(endless, texts_a_request))
        body = json.dumps({"model": model, "input": some, "encoding_format": "base64"}).encode()
        yield Asked(body, [texts[text] for text in some])


async def ask(connection: Connection, asked: Asked, seen: Seen) -> int:
    """Send a request; its status, or 0 of one that was lost."""
    started = time.perf_counter()
    try:
        answer = await connection.post("/v1/embeddings", asked.body)
    except (OSError, asyncio.IncompleteReadError) as exc:
        connection.close()
        seen.statuses[f"lost: {type(exc).__name__}"] += 1
        return 0
    seen.statuses[str(answer.status)] += 1
    if answer.status == 200:
        seen.latencies_ms.append((time.perf_counter() - started) * 1000)
        seen.texts += len(asked.expected)
        seen.wrong += _VECTOR.findall(answer.body) != asked.expected
    return answer.status


async def timed(work: Callable[[Seen], Awaitable[None]]) -> Seen:
    seen = Seen()
    started = time.perf_counter()
    await work(seen)
    seen.seconds = time.perf_counter() - started
    return seen


async def clients(service: Service, asked: Iterator[Asked], *, number: int, seconds: float) -> Seen:
    """So many clients that ask again as soon as they are answered."""
    end = time.perf_counter() + seconds

    async def one(seen: Seen) -> None:
        connection = Connection(service.port)
        while time.perf_counter() < end:
            if await ask(connection, next(asked), seen) == 429:
                await asyncio.sleep(1)
        connection.close()

    async def all_of_them(seen: Seen) -> None:
        await asyncio.gather(*(one(seen) for _ in range(number)))

    return await timed(all_of_them)


async def arrivals(service: Service, asked: Iterator[Asked], *, per_second: float, seconds: float) -> Seen:
    """So many requests a second at random moments, on up to 1,000 connections."""
    idle = [Connection(service.port) for _ in range(CONNECTIONS)]
    free = asyncio.Semaphore(CONNECTIONS)

    async def one(request: Asked, seen: Seen) -> None:
        connection = idle.pop()
        await ask(connection, request, seen)
        idle.append(connection)
        free.release()

    async def all_of_them(seen: Seen) -> None:
        asking = set()
        start = due = time.perf_counter()
        while due < start + seconds and time.perf_counter() < start + 2 * seconds:
            due += random.expovariate(per_second)
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            await free.acquire()
            task = asyncio.ensure_future(one(next(asked), seen))
            asking.add(task)
            task.add_done_callback(asking.discard)
        offered = (seen.statuses.total() + len(asking)) / (time.perf_counter() - start)
        print(f"  {offered:.0f} requests/s were sent of {per_second:.0f} wanted", flush=True)
        await asyncio.gather(*asking)

    return await timed(all_of_them)


async def beside_bulk(service: Service, questions: Iterator[Asked], bulk: Asked) -> Seen:
    """One client's questions for as long as a large request is in work."""
    connection = Connection(service.port)
    passages = Seen()
    large = asyncio.ensure_future(ask(Connection(service.port), bulk, passages))
    await asyncio.sleep(1)

    async def one(seen: Seen) -> None:
        while not large.done():
            await ask(connection, next(questions), seen)

    seen = await timed(one)
    seen.wrong += passages.wrong
    if passages.statuses != {"200": 1}:
        raise RuntimeError(f"the large request got {passages.statuses}")
    return seen


async def load(service: Service, texts: Texts, *, name: str, seconds: float) -> int:
    """Print what came of all kinds of load; how many answers were wrong."""
    random.seed(0)
    questions = requests(texts.questions, model=f"{name}:query", texts_a_request=1)
    passages = requests(texts.passages, model=name, texts_a_request=32)
    wrong = 0

    def told(what: str, seen: Seen) -> None:
        nonlocal wrong
        wrong += seen.wrong
        print(f"{what}: {seen}", flush=True)

    for kind, asked in (("questions, 1 a request", questions), ("passages, 32 a request", passages)):
        print(kind, flush=True)
        best = 0.0
        for number in (1, 4, 16, 64):
            seen = await clients(service, asked, number=number, seconds=seconds)
            best = max(best, seen.answered_per_second)
            told(f"{number:4} clients  ", seen)
        told("  10 x capacity", await arrivals(service, asked, per_second=10 * best, seconds=seconds))
        for metric in ("iqe_waiting_tokens", "iqe_requests_in_work"):
            assert service.metric(metric) == 0, f"{metric} is not 0 when all is answered"
    large = next(requests(texts.passages, model=name, texts_a_request=2000))
    told("questions beside 2,000 passages", await beside_bulk(service, questions, large))
    print(f"memory: {service.metric('process_resident_memory_bytes') / 1e6:.0f} MB", flush=True)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description="Load on `iqe serve`, from this machine.")
    parser.add_argument("model")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--runtime", default="native")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="the rest is passed to iqe serve")
    options = parser.parse_args()
    texts = Texts.read(Encoder.load(options.model, runtime=options.runtime))
    served = ("--name", "served", "--runtime", options.runtime, *options.serve)
    with service_in_process(options.model, *served) as (service, said):
        print(said.splitlines()[-1], flush=True)
        wrong = asyncio.run(load(service, texts, name="served", seconds=options.seconds))
        service.stop()
        print("ended with", service.ended()[0], flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
