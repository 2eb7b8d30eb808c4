"""The native runtime where a cgroup grants less than a core, as a small container does."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

from intel_quantized_embeddings import Encoder
from support.cgroups import cpu_quota

TEXTS = [f"stone number {number} in the river" for number in range(40)]

ENCODES = """
import json, os, sys, time
from pathlib import Path

group, folder, texts = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
(group / "cgroup.procs").write_text(str(os.getpid()))

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.process.cores import cpu_quota

told = {"quota": cpu_quota()}
for name, threads in (("unasked", None), ("two", 2)):
    encoder = Encoder.load(folder, runtime="native", num_threads=threads)
    vectors = [encoder.encode_documents(texts), *(encoder.encode_queries([text]) for text in texts)]
    time.sleep(0.2)
    before = time.process_time()
    time.sleep(1)
    told[name] = {
        "threads": encoder._runtime.streams,
        "vectors": vectors[0].tolist(),
        "idle": time.process_time() - before,
    }
print(json.dumps(told))
"""


def test_half_a_core_is_one_thread_and_more_of_them_give_the_same_bits_and_rest(tiny_int8_of):
    folder = tiny_int8_of("native")
    expected = Encoder.load(folder, runtime="native").encode_documents(TEXTS)
    with cpu_quota(0.5) as group:
        command = [sys.executable, "-c", ENCODES, str(group), str(folder), json.dumps(TEXTS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["quota"] == 0.5
    assert (told["unasked"]["threads"], told["two"]["threads"]) == (1, 2)
    for case in (told["unasked"], told["two"]):
        assert np.array_equal(np.array(case["vectors"], dtype=np.float32), expected)
        assert case["idle"] < 0.05
