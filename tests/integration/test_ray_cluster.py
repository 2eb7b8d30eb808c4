"""examples/ray_ingest.py on a cluster of two machines, one of which loses its power in the middle and comes back."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed: the `ray` extra brings it (make test runs this in .venv)")
pytest.importorskip("chromadb", reason="chromadb is not installed: the `examples` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="the `examples` extra brings it")

import pyarrow.parquet as pq

import ray_ingest
from corpus import read_corpus
from intel_quantized_embeddings import Encoder
from support.machines import Machine, environment, machines, start_ray

NOTES = 3000
SECONDS = 300  # a start of Ray on a busy machine may take one
# What Ray calls the process of an actor of `map_batches`; the machine's own processes are all that it sees.
AN_ACTOR = "ray::MapWorker"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for n in range(NOTES):
        (folder / f"{n}.md").write_text(f"The cat number {n} sat on the mat {n * 7} by the cold river.\n", "utf-8")
    return folder


@pytest.fixture
def cluster() -> Iterator[list[Machine]]:
    with contextlib.ExitStack() as stack:
        try:
            two = stack.enter_context(machines(2))
        except OSError as exc:
            pytest.skip(f"machines of their own can't be made here: {exc}")
        for machine in two:
            start_ray(machine, head=two[0])
        yield two


@contextlib.contextmanager
def started(machine: Machine, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The example, run on a machine of the cluster."""
    command = machine.command(sys.executable, ray_ingest.__file__, *arguments)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        yield process
    finally:
        process.kill()  # what it started ends with the machine
        process.communicate()


def wait_until(
    happened: Callable[[], bool], process: subprocess.Popen[str], what: str, *, seconds: float = 300
) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"it ended before {what}: {process.communicate()}"
        assert time.monotonic() < end, f"not {what} after {SECONDS} s"
        time.sleep(0.05)


def has_actor(machine: Machine) -> bool:
    return AN_ACTOR in subprocess.run(machine.command("ps", "ax"), capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_machine_that_is_killed_and_comes_back_loses_nothing_and_does_nothing_twice(
    docs, tiny_int8, cluster, tmp_path
):
    head, other = cluster
    data = tmp_path / "data"

    def files() -> int:
        return len(list(data.glob("ray-*/part-*.parquet")))

    arguments = ("--docs", docs, "--model", tiny_int8, "--data", data, "--rows", 2, "--address", f"{head.address}:6379")
    with started(head, *arguments) as process:
        wait_until(lambda: files() > 20 and has_actor(other), process, "both work")
        other.kill()
        at_the_kill = files()
        other.start(head)
        start_ray(other, head=head)
        wait_until(lambda: has_actor(other), process, "the machine that came back works")
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out + err
    assert 20 < at_the_kill < NOTES // 2
    assert f"{NOTES:,} of {NOTES:,} written" in out

    rows = [row for part in data.glob("ray-*/part-*.parquet") for row in pq.read_table(part).to_pylist()]
    entries = read_corpus(docs)
    assert len(entries) == NOTES
    assert sorted(row["id"] for row in rows) == sorted(entry.id for entry in entries)  # each once
    vectors = Encoder.load(tiny_int8).encode_documents([entry.titled for entry in entries]).tolist()
    by_id = {entry.id: (entry.source, entry.titled, vector) for entry, vector in zip(entries, vectors, strict=True)}
    assert {row["id"]: (row["source"], row["text"], row["vector"]) for row in rows} == by_id
    assert f"stored {NOTES:,} in" in out
    assert not list(data.glob("ray-*/.part-*"))
