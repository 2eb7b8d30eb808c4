"""Killed, cancelled, many at once: whoever comes next finds everything as it should be."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.files.atomic import atomic_folder

# Says when its folder is being written, and is then killed.
QUANTIZE = """
import time
from intel_quantized_embeddings import quantize
from intel_quantized_embeddings.quantization import job as module

def write_folder(*arguments, **options):
    write(*arguments, **options)
    print("written", flush=True)
    time.sleep(60)

write, module.write_folder = module.write_folder, write_folder
quantize({model!r}, {output!r}, search=False)
"""

LOAD = """
import sys, time
import pytest
sys.path.insert(0, {tests!r})
from support.few_texts import quantize_quickly
quantize_quickly(pytest.MonkeyPatch())
from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.files.atomic import atomic_folder
from intel_quantized_embeddings.quantization import cache

def quantize_folder(source, output, **options):
    with atomic_folder(output, overwrite=False) as folder:
        (folder / "encoder.bin").touch()
        print("written", flush=True)
        time.sleep(60)

cache.quantize_folder = quantize_folder
Encoder.load({model!r}, runtime="openvino", cache_folder={cache!r})
"""


def _kill(script: str) -> None:
    """Run a script, and kill it when files are written and not in their place."""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "written\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_next_run_clears_away_what_a_killed_one_left(tiny, tmp_path):
    output = tmp_path / "out"
    _kill(QUANTIZE.format(model=str(tiny), output=str(output)))
    assert not output.exists()
    assert len(_left(tmp_path)) == 2  # the folder and its lock
    quantize(tiny, output, search=False)
    assert _left(tmp_path) == ["out"]
    assert Encoder.load(output).encode_queries(["the cat"]).shape == (1, 32)


@pytest.mark.usefixtures("quick_quantizing")
def test_a_model_that_was_being_made_on_first_use_is_made_by_the_next(tiny, tmp_path):
    cache = tmp_path / "cache"
    _kill(LOAD.format(model=str(tiny), cache=str(cache), tests=str(Path(__file__).parents[1])))
    assert len([path for path in (cache / "int8").iterdir() if path.is_dir()]) == 1
    started = time.monotonic()
    assert Encoder.load(tiny, runtime="openvino", cache_folder=cache).encode_queries(["the cat"]).shape == (1, 32)
    assert time.monotonic() - started < 60, "it waited for a lock that nobody holds"
    assert len([path for path in (cache / "int8").iterdir() if path.is_dir()]) == 1


def test_the_folder_of_one_who_is_at_work_is_left_alone(tmp_path):
    made_first, made_second = '{"format_version": 1}', '{"format_version": 2}'  # as of folders that may be replaced
    with atomic_folder(tmp_path / "out", overwrite=True) as first:
        (first / "manifest.json").write_text(made_first)
        with atomic_folder(tmp_path / "out", overwrite=True) as second:
            (second / "manifest.json").write_text(made_second)
        assert (first / "manifest.json").read_text() == made_first
    assert (tmp_path / "out" / "manifest.json").read_text() == made_first
    assert _left(tmp_path) == ["out"]


def test_a_folder_that_was_being_replaced_comes_back(tmp_path):
    """Killed between its going and the other's coming."""
    lock, old = tmp_path / ".out.01234567.partial.lock", tmp_path / ".out.01234567.partial.old"
    lock.touch()
    old.mkdir()
    (old / "manifest.json").write_text("the old one")
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "out", overwrite=True):
        raise ZeroDivisionError
    assert (tmp_path / "out" / "manifest.json").read_text() == "the old one"
    assert _left(tmp_path) == ["out"]


def test_what_only_looks_like_a_temporary_folder_stays(tmp_path):
    for name in (".out.notes", ".out.01234567.partial", ".other.01234567.partial"):
        (tmp_path / name).mkdir()
    (tmp_path / ".other.01234567.partial.lock").touch()
    with atomic_folder(tmp_path / "out", overwrite=False) as folder:
        (folder / "manifest.json").touch()
    assert len(_left(tmp_path)) == 5


def _encode(encoder: Encoder, results: multiprocessing.Queue) -> None:
    results.put(encoder.encode_queries(["the red cat"]))


def test_a_loaded_encoder_is_sent_to_a_spawned_process(tiny_encoder):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_encode, args=(tiny_encoder, results))
    process.start()
    try:
        assert np.array_equal(results.get(timeout=60), tiny_encoder.encode_queries(["the red cat"]))
    finally:
        process.join(timeout=60)


def test_many_threads_get_what_one_gets(tiny_encoder):
    calls = [[f"text {call} of {number}" for number in range(1 + call * 7 % 60)] for call in range(24)]
    expected = [tiny_encoder.encode_documents(texts) for texts in calls]
    found: dict[int, np.ndarray] = {}

    def encode(call: int) -> None:
        found[call] = tiny_encoder.encode_documents(calls[call])

    threads = [threading.Thread(target=encode, args=(call,)) for call in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert all(np.array_equal(found[call], expected[call]) for call in range(len(calls)))


CANCELLED = """
import asyncio, sys
import numpy as np
{imports}

TEXTS = [f"stone {{number}} of a river" for number in range(8_000)]


async def main():
    embeddings = {build}
    first = (await {embed_many}(TEXTS[:1]))[0]
    for seconds in (0, 0.01, 0.05):
        task = asyncio.create_task({embed_many}(TEXTS))
        await asyncio.sleep(seconds)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            print("cancelled")
        assert np.allclose((await {embed_many}(TEXTS[:5]))[0], first)
    asyncio.create_task({embed_many}(TEXTS))  # still at work when the loop ends
    await asyncio.sleep(0.01)


asyncio.run(main())
"""

ADAPTERS = {
    "langchain": {
        "imports": "from intel_quantized_embeddings.integrations.langchain import IntelQuantizedEmbeddings",
        "build": "IntelQuantizedEmbeddings(model=sys.argv[1])",
        "embed_many": "embeddings.aembed_documents",
    },
    "llama_index": {
        "imports": "from intel_quantized_embeddings.integrations.llama_index import IntelQuantizedEmbedding",
        "build": "IntelQuantizedEmbedding(model_name=sys.argv[1])",
        "embed_many": "embeddings.aget_text_embedding_batch",
    },
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_cancelled_call_leaves_the_encoder_usable_and_the_process_ends(adapter, tiny_int8):
    package = {"langchain": "langchain_core", "llama_index": "llama_index.core"}[adapter]
    pytest.importorskip(package, reason=f"{package} is not installed")
    script = CANCELLED.format(**ADAPTERS[adapter])
    done = subprocess.run([sys.executable, "-c", script, str(tiny_int8)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["cancelled"] * 3
