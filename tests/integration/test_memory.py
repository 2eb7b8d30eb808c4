"""Memory reaches a plateau, whatever shapes come, and does not follow the number of texts."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PADDING = ("openvino", "ipex")  # which keep a graph for each shape
CALLS = """
import json, os, random, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.encoding.batching import planned_shapes

def resident():  # megabytes
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

folder, runtime, calls, mean_texts = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
encoder = Encoder.load(folder, runtime=runtime)
padded = hasattr(encoder._runtime, "run")  # ragged texts have no shapes to prepare
for rows, length in planned_shapes(max_length=encoder.max_length) if padded else ():
    ones = np.ones((rows, length), dtype=np.int64)
    encoder._runtime.run(ones, ones)
    with ThreadPoolExecutor(encoder._runtime.streams) as pool:  # most likely each stream gets one of these
        list(pool.map(encoder._runtime.run_in_stream, [ones] * 4, [ones] * 4))
random.seed(0)
readings = []
for call in range(calls):
    n_texts = min(40, 1 + int(random.expovariate(1 / mean_texts)))
    sizes = [random.randint(0, encoder.max_length) for _ in range(n_texts)]
    texts = [f"{random.random()} " + "stone " * size for size in sizes]
    (encoder.encode_queries if call % 2 else encoder.encode_documents)(texts)
    if call % (calls // 20) == 0:
        readings.append(resident())
print(json.dumps(readings))
"""

STREAM = """
import resource, sys
from intel_quantized_embeddings import Encoder

def most():  # megabytes that the process ever had
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

encoder = Encoder.load(sys.argv[1])
encoder.encode_documents(f"stone {'water ' * (number % 200)}" for number in range(1500))
before = most()
n_texts = int(sys.argv[2])
long = "water " * 1700  # 10 kB, cut at the model's maximum
vectors = encoder.encode_documents(f"{long if number % 8 < 2 else 'stone '}{number // 2}" for number in range(n_texts))
assert len(vectors) == n_texts
print(most() - before - 2 * vectors.nbytes / 1e6)
"""


def _run(program: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=7200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _assert_plateau(readings: list[float]) -> None:
    """The second half of the calls needs no more than the first did, but for the allocator's mood."""
    assert max(readings[10:]) < max(readings[5:10]) + 8, readings


@pytest.mark.parametrize("runtime", ["native", *(pytest.param(name, marks=pytest.mark.slow) for name in PADDING)])
def test_memory_reaches_a_plateau(runtime, tiny_int8_of, request):
    if runtime == "ipex":
        request.getfixturevalue("ipex_installed")
    _assert_plateau(json.loads(_run(CALLS, tiny_int8_of(runtime), runtime, 600, 8)))


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_memory_reaches_a_plateau_over_20_000_calls(runtime, tiny_int8_of):
    readings = json.loads(_run(CALLS, tiny_int8_of(runtime), runtime, 20_000, 20))
    print(f"{runtime}: {[round(reading) for reading in readings]} MB")
    _assert_plateau(readings)


@pytest.mark.parametrize(
    ("n_texts", "megabytes"), [(8_000, 12), pytest.param(20_000, 30, marks=pytest.mark.slow)], ids=str
)
def test_a_long_generator_is_encoded_in_bounded_memory(tiny_int8, n_texts, megabytes):
    """Thousands of texts, two and a half times as large as the limit together, every other one the same as the one
    before, never need more than their vectors (twice: once with and once without the repeated rows) and a little for
    each text."""
    assert float(_run(STREAM, tiny_int8, n_texts)) < megabytes
