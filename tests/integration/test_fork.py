"""A loaded encoder in forked processes: gunicorn's preload, multiprocessing's fork, LlamaIndex's `arun`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys, threading, time
import numpy as np
from intel_quantized_embeddings import Encoder

folder, source, runtime, leave = sys.argv[1:]
TEXTS = [f"stone number {number} " * (number % 20 + 1) for number in range(400)]
encoder = Encoder.load(folder, runtime=runtime, num_threads=2)
expected = Encoder.load(folder, runtime=runtime, num_threads=2).encode_documents(TEXTS)


def in_a_child(state):
    pid = os.fork()
    if not pid:
        if runtime == "openvino":
            Encoder.load(source, precision="fp32", num_threads=2).encode_documents(TEXTS)
        same = np.allclose(encoder.encode_documents(TEXTS), expected, atol=1e-6)
        same &= np.allclose(encoder.encode_documents(TEXTS[:1]), expected[:1], atol=1e-6)
        os._exit(0 if same else 3) if leave == "at once" else sys.exit(0 if same else 3)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert not status, f"{state}: the child ended with {status}"
            return
        time.sleep(0.01)
    os.kill(pid, 9)
    raise SystemExit(f"{state}: the child hung")


in_a_child("loaded")
encoder.encode_documents(TEXTS)
in_a_child("after a bulk call")
busy = True
def encode():
    while busy:
        encoder.encode_documents(TEXTS)
threads = [threading.Thread(target=encode) for _ in range(2)]
for thread in threads:
    thread.start()
try:
    for _ in range(3):
        time.sleep(0.05)
        in_a_child("while other threads encode")
finally:
    busy = False
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


@pytest.mark.parametrize("leave", ["at once", "after cleaning up"])
def test_a_loaded_encoder_works_in_a_forked_process(runtime, tiny, tiny_int8_of, leave):
    """Whatever the parent was doing with it; so does one loaded there. The child, which may clean up, ends well."""
    done = _run(SCRIPT, tiny_int8_of(runtime), tiny, runtime, leave)
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
