"""A loaded encoder in forked processes: gunicorn's preload, multiprocessing's fork, LlamaIndex's `arun`."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import os, sys, threading, time
import numpy as np
from intel_quantized_embeddings import Encoder

folder, source, runtime = sys.argv[1:]
TEXTS = [f"stone number {number} " * (number % 8 + 1) for number in range(60)]
encoder = Encoder.load(folder, runtime=runtime, num_threads=2)
expected = Encoder.load(folder, runtime=runtime, num_threads=2).encode_documents(TEXTS)


def in_a_child(state, *, leave, forked=lambda: None):
    pid = os.fork()
    if not pid:
        if runtime == "openvino":
            Encoder.load(source, precision="fp32", num_threads=2, warm_shapes=False).encode_documents(TEXTS)
        same = np.allclose(encoder.encode_documents(TEXTS), expected, atol=1e-6)
        same &= np.allclose(encoder.encode_documents(TEXTS[:1]), expected[:1], atol=1e-6)
        os._exit(0 if same else 3) if leave == "at once" else sys.exit(0 if same else 3)
    forked()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert not status, f"{state}, left {leave}: the child ended with {status}"
            return
        time.sleep(0.01)
    os.kill(pid, 9)
    raise SystemExit(f"{state}, left {leave}: the child hung")


LEAVES = ("at once", "after cleaning up")
for leave in LEAVES:
    in_a_child("loaded", leave=leave)
encoder.encode_documents(TEXTS)
for leave in LEAVES:
    in_a_child("after a bulk call", leave=leave)
busy, encoding = True, threading.Event()
def encode():
    while busy:
        encoding.wait()
        encoder.encode_documents(TEXTS)
threads = [threading.Thread(target=encode) for _ in range(2)]
for thread in threads:
    thread.start()
try:
    for leave in LEAVES:
        encoding.set()
        time.sleep(0.05)
        # What they were doing at the fork is what counts; the child needs the cores afterwards.
        in_a_child("while other threads encode", leave=leave, forked=encoding.clear)
finally:
    busy = False
    encoding.set()
    for thread in threads:
        thread.join()
assert np.array_equal(encoder.encode_documents(TEXTS).shape, expected.shape)
"""


def _run(script, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=360,
        env={**os.environ, **environment},
    )


def test_a_loaded_encoder_works_in_a_forked_process(runtime, tiny, tiny_int8_of):
    """Whatever the parent was doing with it; so does one loaded there. The child, which may clean up, ends well."""
    done = _run(SCRIPT, tiny_int8_of(runtime), tiny, runtime)
    assert done.returncode == 0, done.stderr[-2000:]


PARALLEL = """
import os, sys
from intel_quantized_embeddings import Encoder, errors

encoder = Encoder.load(sys.argv[1])
encoder.encode_documents(["stone"] * 3 + ["light"])
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
try:
    encoder.encode_documents(["stone"] * 3 + ["light"])
except errors.OptionError as exc:
    print(exc)
    sys.exit(7)
"""


def test_tokenizing_with_threads_that_are_not_there_is_an_error_and_no_hang(tiny_int8):
    """TOKENIZERS_PARALLELISM=true orders the tokenizers library to use the threads of before the fork."""
    done = _run(PARALLEL, tiny_int8, TOKENIZERS_PARALLELISM="true")
    assert done.returncode == 7, done.stderr[-2000:]
    assert "TOKENIZERS_PARALLELISM='true'" in done.stdout
