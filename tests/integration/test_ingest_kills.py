"""`iqe ingest` killed at any moment and run again: the collection ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")

import chromadb
from chromadb.config import Settings

from intel_quantized_embeddings.ingestion import ingest
from intel_quantized_embeddings.integrations.chroma_collections import connect
from support.ingestion import Contents, command, contents, contents_of, copied, iqe, write_texts

# Chroma writes its index over so often here that kills meet it at work; its own setting is 1,000.
INDEX_WRITTEN_EVERY = 200


@dataclass(frozen=True, kw_only=True)
class Story:
    """A folder of texts, a collection that holds an older state of it, and what a run must make of that.

    Attributes:
        before: The Chroma folder as a run finds it.
        expected: What the collection holds after a run that nobody killed.
        seconds: What that run took, its start included.
    """

    arguments: tuple[object, ...]
    before: Path
    expected: Contents
    seconds: float


def make_story(tmp_path: Path, model: Path, *, files: int) -> Story:
    """Some files new, some changed, some gone, some as they were; a paragraph that is in all of them."""
    docs = write_texts(tmp_path / "docs", files=files, paragraphs=25)
    before, after = tmp_path / "before", tmp_path / "after"
    with chromadb.PersistentClient(before, settings=Settings(anonymized_telemetry=False)) as client:
        client.create_collection(
            "docs",
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine", "sync_threshold": INDEX_WRITTEN_EVERY}},
        )
    arguments = ("ingest", docs, "--model", model, "--collection", "docs", "--chroma")
    ingest([docs], chroma=before, collection="docs", model=model)
    write_texts(tmp_path / "docs", files=files * 2, paragraphs=25, seed=1, first=files)
    for number in range(files):
        file = docs / f"text-{number:03}.txt"
        if number % 4 == 0:
            file.unlink()
        elif number % 4 == 1:
            file.write_text("a new beginning\n\n" * 3 + file.read_text("utf-8"), "utf-8")
    copied(before, after)
    started = time.monotonic()
    second = iqe(*arguments, after)
    seconds = time.monotonic() - started
    assert second.returncode == 0, second.stderr
    return Story(arguments=arguments, before=before, expected=contents(after), seconds=seconds)


@pytest.fixture(scope="module")
def short_story(tmp_path_factory, tiny_int8) -> Story:
    return make_story(tmp_path_factory.mktemp("short"), tiny_int8, files=12)


@pytest.fixture(scope="module")
def long_story(tmp_path_factory, tiny_int8) -> Story:
    return make_story(tmp_path_factory.mktemp("long"), tiny_int8, files=60)


def run_killed(story: Story, chroma: Path, moment: Callable[[Path], bool]) -> bool:
    """Start a run and kill it when the moment has come; whether it was still at work then."""
    run = subprocess.Popen(
        command(*story.arguments, chroma), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    while run.poll() is None and not moment(chroma):
        pass
    run.kill()
    _, told = run.communicate()
    assert run.returncode in (0, -9), told
    return run.returncode == -9


def after(seconds: float) -> Callable[[Path], bool]:
    """The moment so long after the start."""
    deadline = time.monotonic() + seconds

    def has_come(chroma: Path) -> bool:
        time.sleep(0.001)
        return time.monotonic() >= deadline

    return has_come


def index_state(chroma: Path) -> tuple[object, ...]:
    """Of every index file, when it was written and how long it is.

    Chroma's index folders are named by a UUID and stay; the copies beside them come and go while this looks.
    """
    states = []
    for file in sorted(chroma.glob("????????-????-????-????-????????????/*.bin")):
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(file)
            states.append((found.st_mtime_ns, found.st_size))
    return tuple(states)


def while_the_index_is_written(chroma: Path, *, time_no: int) -> Callable[[Path], bool]:
    """The moment when Chroma has begun to write over its index files for the nth time."""
    seen, changes = index_state(chroma), 0

    def has_come(chroma: Path) -> bool:
        nonlocal seen, changes
        time.sleep(0.001)  # leaves the run the core
        now = index_state(chroma)
        if now != seen:
            seen, changes = now, changes + 1
        return changes >= time_no

    return has_come


def killed_at_random(story: Story, tmp_path: Path, *, kills: int, then_run: float) -> None:
    """Several kills, each of a run that starts from the beginning or goes on where the one before was killed.

    Args:
        story: What is run.
        tmp_path: For the Chroma folder.
        kills: How many.
        then_run: How likely a kill is followed by a run to the end, after which it starts anew; the last one is.
    """
    seed = int(os.environ.get("IQE_KILL_SEED", "20"))
    random_ = random.Random(seed)
    chroma = copied(story.before, tmp_path / "chroma")
    moments: list[str] = []
    for number in range(kills):
        seconds = random_.uniform(0.3, 1.0) * story.seconds
        met = run_killed(story, chroma, after(seconds))
        moments.append(f"{seconds:.2f} s{'' if met else ' (it had ended)'}")
        if random_.random() < then_run or number == kills - 1:
            again = iqe(*story.arguments, chroma)
            assert again.returncode == 0, f"seed {seed}, killed after {moments}: {again.stderr}"
            assert contents(chroma) == story.expected, f"seed {seed}, killed after {moments}"
            copied(story.before, chroma)
    print(f"seed {seed}: killed after {', '.join(moments)}, of {story.seconds:.2f} s")
    assert not all("ended" in moment for moment in moments)


def test_three_kills_in_a_row(short_story, tmp_path):
    """One at the worst moment, when Chroma has begun to write over its index, which it does not survive by itself; two
    at random ones."""
    seed = int(os.environ.get("IQE_KILL_SEED", "20"))
    random_ = random.Random(seed)
    before = contents(copied(short_story.before, tmp_path / "before"))
    for time_no in (2, 2, 2, 1, 1, 1, 1, 1):  # beside other work, who watches may come too late
        chroma = copied(short_story.before, tmp_path / "chroma")
        if run_killed(short_story, chroma, while_the_index_is_written(chroma, time_no=time_no)):
            break
    else:
        pytest.fail("no run was at work any more when its index was seen to be written")
    with connect(copied(chroma, tmp_path / "asked before it is run again")) as client:
        found = contents_of(client.get_collection("docs", embedding_function=None))
    assert all(record in (before.get(id), short_story.expected.get(id)) for id, record in found.items())
    assert len(found) > len(before) // 2
    moments = [random_.uniform(0.3, 0.9) * short_story.seconds for _ in range(2)]
    for seconds in moments:
        run_killed(short_story, chroma, after(seconds))
    again = iqe(*short_story.arguments, chroma)
    assert again.returncode == 0, again.stderr
    assert contents(chroma) == short_story.expected, f"seed {seed}, killed at the index and after {moments} s"


@pytest.mark.soak
def test_twenty_kills_at_random(long_story, tmp_path):
    killed_at_random(long_story, tmp_path, kills=20, then_run=0.7)


@pytest.mark.soak
def test_twenty_kills_while_chroma_writes_its_index(long_story, tmp_path):
    met = 0
    for number in range(20):
        chroma = copied(long_story.before, tmp_path / "chroma")
        if run_killed(long_story, chroma, while_the_index_is_written(chroma, time_no=1 + 2 * number)):
            met += 1
            again = iqe(*long_story.arguments, chroma)
            assert again.returncode == 0, again.stderr
        assert contents(chroma) == long_story.expected, f"kill {number}"
    print(f"{met} of 20 kills met a run at work")
    assert met >= 10
