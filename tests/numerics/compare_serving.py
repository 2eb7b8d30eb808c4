"""Two services taking turns: python tests/numerics/compare_serving.py MODEL [--against "--runtime openvino"].

Both run on this machine all the time, and one of them is loaded at a time: with questions of 64 clients, each of which
asks again as soon as it is answered; then with one client's questions while a request of 2,000 passages is in work.
The first is `iqe serve MODEL`, the second what --against says: other options, or the sources of another checkout
(--checkout). Prints of each what it did in the median turn, and the first by the second, turn by turn. Ends with 1
where a vector of the first is not `Encoder`'s own to the bit. What docs/benchmarks.md compares comes from it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from load_serving import Texts, beside_bulk, clients, requests

from intel_quantized_embeddings import Encoder
from support.services import Service, service_in_process

MEASURES = (
    "questions/s, 64 clients",
    "p50 of those, ms",
    "p99 of those, ms",
    "p50 beside 2,000 passages, ms",
    "p99 beside 2,000 passages, ms",
    "passages/s meanwhile",
)


async def turn(service: Service, texts: Texts, *, seconds: float, passages: int) -> tuple[list[float], int]:
    """Load a service once; the numbers of MEASURES, and how many answers were wrong."""
    questions = requests(texts.questions, model="served:query", texts_a_request=1)
    many = await clients(service, questions, number=64, seconds=seconds)
    large = next(requests(texts.passages, model="served", texts_a_request=passages))
    began = time.perf_counter()
    beside = await beside_bulk(service, questions, large)
    took = time.perf_counter() - began
    percentiles = [*np.percentile(many.latencies_ms, [50, 99]), *np.percentile(beside.latencies_ms, [50, 99])]
    return [many.answered_per_second, *percentiles, passages / took], many.wrong + beside.wrong


def main() -> None:
    parser = argparse.ArgumentParser(description="Two services taking turns.")
    parser.add_argument("model")
    parser.add_argument("--against", default="", help="options of the second service")
    parser.add_argument("--checkout", help="a checkout whose sources the second service runs")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of questions in a turn")
    parser.add_argument("--passages", type=int, default=2000)
    options = parser.parse_args()
    texts = Texts.read(Encoder.load(options.model))
    other = {"PYTHONPATH": f"{options.checkout}/src"} if options.checkout else {}
    told: list[list[list[float]]] = [[], []]
    wrong = 0
    with ExitStack() as stack:
        started = [
            stack.enter_context(service_in_process(options.model, "--name", "served", *more, environment=environment))
            for more, environment in (((), {}), (options.against.split(), other))
        ]
        for _, said in started:
            print(said.splitlines()[-1], flush=True)
        for number in range(options.turns):
            for place in (0, 1) if number % 2 else (1, 0):
                service = started[place][0]
                numbers, found = asyncio.run(turn(service, texts, seconds=options.seconds, passages=options.passages))
                wrong += found if place == 0 else 0
                told[place].append(numbers)
    first, second = (np.array(numbers) for numbers in told)
    for column, name in enumerate(MEASURES):
        one, another = first[:, column], second[:, column]
        low, high = np.percentile(one / another, [10, 90])
        print(
            f"{name}: {np.median(one):.1f} and {np.median(another):.1f}, "
            f"ratio {np.median(one / another):.2g} ({low:.2g}-{high:.2g})"
        )
    print(f"wrong: {wrong}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
