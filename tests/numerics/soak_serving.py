"""A day's requests to `iqe serve`, as fast as it answers: python tests/numerics/soak_serving.py MODEL [--requests N].

Thirty-two clients send questions (of a hundred requests 80), questions to text-embeddings-inference's route (9),
eight of them at once (5) or thirty-two (1), what must be refused (3), and go away before they are answered (2). Its
memory is looked at fifty times. Prints it, and ends with 1 where an answer is not the one that it must be, or where
the second half took more than 2 % more memory than the first. What docs/benchmarks.md says of a day comes from it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from load_serving import Texts

from intel_quantized_embeddings import Encoder
from support.http_client import Connection
from support.services import Service, service_in_process

CLIENTS = 32
LOOKS = 50
OPENAI, TEI = "/v1/embeddings", "/embed"
GONE = 0  # what stands for a status where nobody waits for it
ALLOWED = 1.02


def day(texts: Texts, *, number: int) -> Iterator[tuple[str, bytes, int, list[bytes]]]:
    """Requests: path, body, the status that it must get, and parts of the answer."""
    chance = random.Random(0)
    questions = cycle(texts.questions.items())

    def embeddings(some: int, **more: object) -> tuple[bytes, list[bytes]]:
        chosen = [next(questions) for _ in range(some)]
        body = {"model": "served:query", "input": [text for text, _ in chosen], "encoding_format": "base64"}
        return json.dumps(body | more).encode(), [vector for _, vector in chosen]

    for _ in range(number):
        kind = chance.randrange(100)
        if kind < 80:
            body, vectors = embeddings(1)
            yield OPENAI, body, 200, vectors
        elif kind < 89:
            yield TEI, json.dumps({"inputs": next(questions)[0], "truncate": True}).encode(), 200, [b"[["]
        elif kind < 95:
            body, vectors = embeddings(32 if kind == 94 else 8)
            yield OPENAI, body, 200, vectors
        elif kind < 98:
            status = {95: 400, 96: 404, 97: 400}[kind]
            wrong = {95: b"{", 96: embeddings(1, model="another")[0], 97: embeddings(1, input=[1, 2])[0]}[kind]
            yield OPENAI, wrong, status, [b'"error"']
        else:
            yield OPENAI, embeddings(32)[0], GONE, []


async def spend(service: Service, asked: Iterator[tuple[str, bytes, int, list[bytes]]], *, number: int) -> list[float]:
    """Send all of them; the memory in MB as they go on."""
    memory: list[float] = []
    statuses: Counter[int] = Counter()
    sent = 0
    began = time.perf_counter()

    async def one() -> None:
        nonlocal sent
        connection = Connection(service.port)
        for path, body, status, parts in asked:
            sent += 1
            if sent % max(number // LOOKS, 1) == 0:
                memory.append(service.metric("process_resident_memory_bytes") / 1e6)
            if status == GONE:
                leaving = asyncio.ensure_future(connection.post(path, body))
                await asyncio.sleep(0.002)
                leaving.cancel()
                connection.close()
                statuses[GONE] += 1
                continue
            answer = await connection.post(path, body)
            statuses[answer.status] += 1
            if answer.status != status or not all(part in answer.body for part in parts):
                raise RuntimeError(f"{body[:200]!r} got {answer.status}: {answer.body[:200]!r}")
        connection.close()

    await asyncio.gather(*(one() for _ in range(CLIENTS)))
    seconds = time.perf_counter() - began
    print(f"{sent} requests in {seconds:.0f} s, {sent / seconds:.0f} a second: {dict(sorted(statuses.items()))}")
    return memory


def main() -> None:
    parser = argparse.ArgumentParser(description="A day's requests to `iqe serve`, as fast as it answers.")
    parser.add_argument("model")
    parser.add_argument("--requests", type=int, default=200_000)
    options = parser.parse_args()
    texts = Texts.read(Encoder.load(options.model))
    with service_in_process(options.model, "--name", "served") as (service, said):
        print(said.splitlines()[-1], flush=True)
        before = service.metric("process_resident_memory_bytes") / 1e6
        memory = asyncio.run(spend(service, day(texts, number=options.requests), number=options.requests))
        service.stop()
        print("ended with", service.ended()[0], flush=True)
    first, second = memory[: len(memory) // 2], memory[len(memory) // 2 :]
    print(f"memory before, MB: {before:.0f}; then at each fiftieth:", *(f"{size:.0f}" for size in memory))
    print(f"most in the first half {max(first):.1f}, in the second {max(second):.1f}; median {np.median(memory):.1f}")
    sys.exit(1 if max(second) > ALLOWED * max(first) else 0)


if __name__ == "__main__":
    main()
