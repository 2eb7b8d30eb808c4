"""Processes forked while something is under way: the child works, or says why not, and never waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.hub_machine import Machine
from support.hub_server import HubServer

PRELUDE = """
import os, sys, threading, time
from intel_quantized_embeddings import Encoder, IntelQuantizedEmbeddings, errors

source, *more = sys.argv[1:]


def in_a_child(ask, *, seconds=60):
    pid = os.fork()
    if not pid:
        try:
            ask()
        except errors.QuantizedEmbeddingsError as exc:
            print(type(exc).__name__, exc, flush=True)
            os._exit(7)
        except BaseException as exc:
            print(repr(exc), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise SystemExit("the child hung")


def meanwhile(work, *, after=0.0):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    time.sleep(after)
    return thread
"""


def _run(script, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


LOADING = """
from intel_quantized_embeddings.encoders.shared import shared_encoder, shared_reranker
from intel_quantized_embeddings.options import LoadOptions

options = LoadOptions(model=source, precision="fp32")
if more[0] == "shared":
    parent, child = (lambda: shared_encoder(options)), (lambda: shared_encoder(options).encode_queries(["a river"]))
elif more[0] == "reranker":
    parent, child = (lambda: shared_reranker(options)), (lambda: shared_reranker(options).score("a", ["a river"]))
else:
    embeddings = IntelQuantizedEmbeddings(model=source, precision="fp32")
    parent, child = embeddings.warm_up, lambda: embeddings.embed_query("a river")
load, begun, forked = Encoder.from_options.__func__, threading.Event(), threading.Event()


def slow(cls, options):
    if not forked.is_set():
        begun.set()
        time.sleep(1)
    return load(cls, options)


Encoder.from_options = classmethod(slow)
thread = meanwhile(parent)
assert begun.wait(60)


def ask():
    forked.set()
    child()


status = in_a_child(ask)
thread.join()
sys.exit(status)
"""


@pytest.mark.parametrize("who", ["shared", "reranker", "LangChain"])
def test_a_model_that_another_thread_is_loading_is_loaded_in_the_child(tiny, who):
    """Chroma's, Haystack's and Ray's objects load through the first, rerankers through the second."""
    done = _run(LOADING, tiny, who)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


FIRST_LOAD = """
load = lambda: Encoder.load(source, precision="fp32", num_threads=1).encode_documents(["a river"])
thread = meanwhile(load)
for _ in range(6):
    status = in_a_child(load)
    if status:
        sys.exit(status)
    time.sleep(0.05)
thread.join()
"""


def test_the_first_load_of_a_process_may_be_forked_at_any_moment(tiny):
    """Its imports among them, which a child would wait for as for a lock."""
    done = _run(FIRST_LOAD, tiny)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


QUANTIZING = """
import pytest
sys.path.insert(0, more[0])
from support.few_texts import quantize_quickly
quantize_quickly(pytest.MonkeyPatch())
embeddings = IntelQuantizedEmbeddings(model=source, runtime="openvino")
thread = meanwhile(embeddings.warm_up)
statuses = []
for _ in range(2):
    time.sleep(0.7)
    statuses.append(in_a_child(lambda: embeddings.embed_query("a river"), seconds=120))
thread.join()
embeddings.embed_query("a river")
sys.exit(max(statuses))
"""


def test_a_child_waits_for_the_int8_model_that_its_parent_makes(tiny, tmp_path):
    """It does not take its parent's lock for its own, and ends up with the one folder that the parent wrote."""
    done = _run(QUANTIZING, tiny, Path(__file__).parents[1], XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert len([p for p in (tmp_path / "intel-quantized-embeddings" / "int8").iterdir() if p.is_dir()]) == 1


IMPORTING = """
sys.path.insert(0, more[0])
thread = meanwhile(lambda: __import__("openvino"), after=0.3)
started = time.monotonic()
status = in_a_child(lambda: Encoder.load(source, runtime="openvino", precision="fp32"))
print(time.monotonic() - started < 5)
sys.exit(status)
"""


def test_a_library_that_others_were_importing_is_named(tiny, tmp_path):
    """Its import can't be ended in the child: that is said at once."""
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("import time\ntime.sleep(30)\n")
    done = _run(IMPORTING, tiny, tmp_path)
    assert done.returncode == 7, done.stdout + done.stderr[-2000:]
    for said in ("ForkedProcessError", "importing openvino", "True"):
        assert said in done.stdout


DRAWING = """
from tqdm import tqdm
encoder = Encoder.load(source, precision="fp32")
encoder.encode_documents(["a river"], show_progress=True)
held = threading.Event()


def draw():
    with tqdm.get_lock():
        held.set()
        time.sleep(1)


meanwhile(draw)
assert held.wait(60)
sys.exit(in_a_child(lambda: encoder.encode_documents(["a river"], show_progress=True), seconds=20))
"""


def test_a_bar_that_another_thread_was_drawing_does_not_keep_the_child_from_its_own(tiny):
    done = _run(DRAWING, tiny)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


DOWNLOADING = """
from intel_quantized_embeddings.process import forks
forks._LONGEST_WAIT_SECONDS = 50.0  # on a busy machine the hub's client may take longer than a fork waits to import
load = lambda: Encoder.load(source, precision="fp32", num_threads=1).encode_documents(["a river"])
thread = meanwhile(load)
statuses = []
for _ in range(3):
    time.sleep(0.4)
    statuses.append(in_a_child(load))
thread.join()
sys.exit(max(statuses))
"""


class SlowHub(HubServer):
    """One that takes its time for the weights."""

    def answer(self, method, path, headers, body):
        if method == "GET" and path.endswith(".safetensors"):
            time.sleep(1)
        return super().answer(method, path, headers, body)


def test_a_download_in_another_thread_does_not_keep_the_child_from_its_own(tiny, tmp_path):
    """Nor do the locks of the hub client's bars."""
    with SlowHub() as hub:
        hub.add("someone/model", tiny)
        machine = Machine(hub, tmp_path)
        done = _run(DOWNLOADING, "someone/model", **machine.environment({"HF_HUB_DISABLE_PROGRESS_BARS": "0"}))
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


CONNECTED = """
from huggingface_hub.utils import get_session
client = get_session()
client.close = threading.Event().wait  # as for a lock that another thread held when this process was forked
try:
    status = in_a_child(lambda: Encoder.load(source, precision="fp32").encode_documents(["a river"]), seconds=20)
finally:
    del client.close  # this process closes it at its end
sys.exit(status)
"""


def test_connections_to_the_hub_are_not_closed_in_the_child(tiny):
    done = _run(CONNECTED, tiny)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


LOGGING = """
import concurrent.futures
import logging
from intel_quantized_embeddings.process.forks import importing


def work():
    with importing():
        begun.set()
        time.sleep(0.5)
        logging.getLogger("of a library").warning("imported")
        concurrent.futures.ThreadPoolExecutor(1).submit(int).result()


begun = threading.Event()
thread = meanwhile(work)
assert begun.wait(60)
started = time.monotonic()
waited = []
os.register_at_fork(after_in_parent=lambda: waited.append(time.monotonic() - started))
status = in_a_child(lambda: Encoder.load(source, precision="fp32"))
thread.join()
sys.exit(status or waited[0] > 8)
"""


def test_what_a_fork_waits_for_may_log_and_start_threads(tiny):
    """Both take locks before a fork, which must not come before the work that it waits for."""
    done = _run(LOGGING, tiny)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


OTHERS_THREADS = """
import tokenizers
theirs = tokenizers.Tokenizer.from_file(source + "/tokenizer.json")
if more[0] == "used":
    theirs.encode_batch(["a river", "a stone"] * 50)
started = time.monotonic()


def ask():
    Encoder.load(source, precision="fp32").encode_documents(["a river", "a stone"] * 50)


status = in_a_child(ask)
print(time.monotonic() - started < 5)
sys.exit(status)
"""


@pytest.mark.parametrize(("others", "status"), [("used", 7), ("only read", 0)])
def test_threads_that_another_library_started_are_missed_at_once(tiny, others, status):
    """Nothing was tokenized by this package before. Where the threads were not started yet, the child has its own."""
    done = _run(OTHERS_THREADS, tiny, others, TOKENIZERS_PARALLELISM="true")
    assert done.returncode == status, done.stdout + done.stderr[-2000:]
    assert ("OptionError TOKENIZERS_PARALLELISM='true'" in done.stdout) is (status == 7)
    assert "True" in done.stdout


SERVING = """
import asyncio
from intel_quantized_embeddings.serving.batcher import Batcher
from intel_quantized_embeddings.serving.metrics import Metrics
batcher = Batcher(Encoder.load(source, precision="fp32"), round_tokens=512, metrics=Metrics().of_model("m"))
batcher.start()
sys.exit(in_a_child(lambda: asyncio.run(batcher.encode([[1, 2, 3]]))))
"""


def test_a_forked_service_says_that_it_is_none(tiny):
    done = _run(SERVING, tiny)
    assert done.returncode == 7, done.stdout + done.stderr[-2000:]
    assert "ForkedProcessError" in done.stdout
