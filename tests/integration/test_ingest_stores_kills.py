"""Runs into LangChain's vector stores, killed at any moment and run again: each ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")

from support.ingestion import write_texts
from support.postgres import postgres
from support.vector_stores import KINDS, Row, Runs, runs

KILLS = 20
FILES = 6


# Those of other packages, in `make test-slow`: ten seconds and more each.
SLOW = ("faiss", "qdrant", "lancedb", "pgvector")


@pytest.fixture(params=[pytest.param(kind, marks=[pytest.mark.slow] if kind in SLOW else []) for kind in KINDS])
def kind(request) -> str:
    if missing := KINDS[request.param].missing():
        pytest.skip(f"not installed: {', '.join(missing)} (pip install --group stores)")
    return request.param


@pytest.fixture
def new_folder(kind, tmp_path, request):
    """Makes folders for stores; for PostgreSQL each names a database of its own."""
    server = request.getfixturevalue("postgres_server") if kind == "pgvector" else None

    def made(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        if server is not None:
            (folder / "address").write_text(server.new_database(name))
        return folder

    return made


@pytest.fixture(scope="module")
def postgres_server():
    with postgres() as server:
        yield server


def two_states(tmp_path: Path) -> list[Path]:
    """A folder before and after: files new, changed, gone and as they were, and a paragraph that is in all of them."""
    before = write_texts(tmp_path / "before", files=FILES, paragraphs=25)
    after = write_texts(
        Path(shutil.copytree(before, tmp_path / "after")), files=FILES, paragraphs=25, seed=1, first=FILES
    )
    for number in range(FILES):
        file = after / f"text-{number:03}.txt"
        if number % 3 == 0:
            file.unlink()
        elif number % 3 == 1:
            file.write_text("a new beginning\n\n" * 3 + file.read_text("utf-8"), "utf-8")
    return [before, after]


def put(state: Path, docs: Path) -> None:
    shutil.rmtree(docs, ignore_errors=True)
    shutil.copytree(state, docs)


def test_twenty_kills_at_random_moments(kind, new_folder, tmp_path, tiny_int8):
    """The folder goes to and fro between two states; most runs are killed once, some more often, before one may end.

    That run finds the files as they were or, in 4 of 10 cases, as they had been.
    """
    seed = int(os.environ.get("IQE_KILL_SEED", "20"))
    random_ = random.Random(seed)
    docs, states = tmp_path / "docs", two_states(tmp_path)
    with runs(kind, docs=docs, model=tiny_int8) as started:
        expected = [
            contents_of_a_fresh_store(started, state, docs, new_folder(f"fresh{n}")) for n, state in enumerate(states)
        ]
        assert expected[0] != expected[1]
        folder = new_folder("killed")
        now, taken = 1, []
        for state in (states[0], states[1], states[0], states[1]):
            put(state, docs)
            taken.append(started.whole(folder))
        seconds = min(taken[1:])  # beside other work, some take much longer
        tried = kills = 0
        while kills < KILLS and tried < 3 * KILLS:
            now = 1 - now
            put(states[now], docs)
            moments = []
            while not moments or (random_.random() < 0.3 and kills < KILLS):
                moments.append(random_.uniform(0.0, 1.1) * seconds)
                met = started.killed(folder, after=moments[-1])
                seconds *= 1.0 if met else 0.9  # or the machine was slower when it was measured
                kills += met
                tried += 1
            if random_.random() < 0.4:  # what was begun is not what the next run wants
                now = 1 - now
                put(states[now], docs)
            started.whole(folder)
            assert started.rows(folder) == expected[now], f"seed {seed}, kill {kills}, killed after {moments} s"
    print(f"{kind}: seed {seed}, {kills} kills of runs of {seconds:.2f} s, {len(expected[1])} pieces")
    assert kills == KILLS


def test_another_encoder_is_refused_until_everything_is_embedded_again(kind, new_folder, tmp_path, tiny_int8):
    docs = tmp_path / "docs"
    (state, _), folder, fresh = two_states(tmp_path), new_folder("refused"), new_folder("fresh")
    with runs(kind, docs=docs, model=tiny_int8) as started:
        before = contents_of_a_fresh_store(started, state, docs, folder)
        assert started.refused(folder, max_length=24)
        assert started.rows(folder) == before
        started.whole(folder, max_length=24, reindex=True)
        after = started.rows(folder)
        assert after == contents_of_a_fresh_store(started, state, docs, fresh, max_length=24)
    assert {metadata["iqe_encoder"] for _, metadata, _ in before}.isdisjoint(
        metadata["iqe_encoder"] for _, metadata, _ in after
    )


def contents_of_a_fresh_store(started: Runs, state: Path, docs: Path, folder: Path, **options: object) -> list[Row]:
    put(state, docs)
    started.whole(folder, **options)
    return started.rows(folder)
