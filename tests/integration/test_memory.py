"""Memory reaches a plateau, whatever shapes come, and does not follow the number of texts."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CALLS = """
import json, os, random, sys
from intel_quantized_embeddings import Encoder

def resident():  # megabytes
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

folder, runtime, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
encoder = Encoder.load(folder, runtime=runtime)
random.seed(0)
readings = []
for call in range(calls):
    sizes = [random.randint(0, encoder.max_length) for _ in range(random.randint(1, 40))]
    texts = [f"{random.random()} " + "stone " * size for size in sizes]
    (encoder.encode_queries if call % 2 else encoder.encode_documents)(texts)
    if call % (calls // 20) == 0:
        readings.append(resident())
print(json.dumps(readings))
"""

STREAM = """
import os, sys
from intel_quantized_embeddings import Encoder

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

encoder = Encoder.load(sys.argv[1])
encoder.encode_documents(f"stone {number}" for number in range(3000))
before = resident()
n_texts = 30_000
vectors = encoder.encode_documents(f"{'water ' * (number % 3)}{number} " + "x" * 5000 for number in range(n_texts))
assert len(vectors) == n_texts
print(resident() - before - vectors.nbytes / 1e6)
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


def test_memory_reaches_a_plateau(runtime, tiny_int8_of):
    _assert_plateau(json.loads(_run(CALLS, tiny_int8_of(runtime), runtime, 600)))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_memory_reaches_a_plateau_over_20_000_calls(runtime, minilm_int8_of):
    readings = json.loads(_run(CALLS, minilm_int8_of(runtime), runtime, 20_000))
    print(f"{runtime}: {[round(reading) for reading in readings]} MB")
    _assert_plateau(readings)


def test_a_long_generator_is_encoded_in_bounded_memory(tiny_int8):
    """30,000 texts of 5 kB, 150 MB together, leave little more than their vectors."""
    assert float(_run(STREAM, tiny_int8)) < 40
