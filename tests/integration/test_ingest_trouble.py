"""`iqe ingest` while a server goes away and comes back, and on a disk that fills up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import (
    ForkedProcessError,
    ModelFilesError,
    OptionError,
    OtherEncoderError,
    VectorStoreError,
)
from intel_quantized_embeddings.ingestion import chroma_store, ingest, query, run
from intel_quantized_embeddings.integrations.chroma_collections import connect
from support.chroma_server import ChromaServer, chroma_server
from support.ingestion import contents, contents_of, iqe, write_texts


@pytest.fixture
def server(tmp_path):
    with chroma_server(tmp_path / "server") as server:
        yield server


@pytest.fixture
def docs(tmp_path) -> Path:
    return write_texts(tmp_path / "docs", files=4, paragraphs=10)


def on_the_server(server: ChromaServer) -> dict:
    with connect(server.address) as client:
        return contents_of(client.get_collection("docs", embedding_function=None))


@pytest.fixture
def before_write(monkeypatch):
    """Do something before the nth write of a run, which has ten texts each."""
    monkeypatch.setattr(run, "AT_ONCE", 10)
    real_write, writes = chroma_store.ChromaStore.write, 0

    def arranged(number: int, happens: Callable[[], object]) -> None:
        def write(self, records):
            nonlocal writes
            writes += 1
            if writes == number:
                happens()
            real_write(self, records)

        monkeypatch.setattr(chroma_store.ChromaStore, "write", write)

    return arranged


def test_a_server_that_goes_away_and_comes_back_is_waited_for(server, docs, tmp_path, tiny_int8, before_write):
    """It is killed when the first texts are stored, and comes back while the run tries again."""

    def away_and_back() -> None:
        server.stop(kill=True)
        server.start(wait=False)

    before_write(2, away_and_back)
    common = {"collection": "docs", "model": tiny_int8}
    report = ingest([docs], chroma=server.address, **common)
    assert report.added == report.chunks > 20
    ingest([docs], chroma=tmp_path / "folder", **common)
    assert on_the_server(server) == contents(tmp_path / "folder")
    with pytest.raises(OtherEncoderError):
        ingest([docs], chroma=server.address, max_length=32, **common)
    assert query("cat", chroma=server.address, collection="docs", k=1)


def test_a_server_that_stays_away_is_told_and_a_later_run_goes_on(server, docs, tiny_int8, before_write):
    before_write(3, server.stop)
    common = {"chroma": server.address, "collection": "docs", "model": tiny_int8}
    with pytest.raises(VectorStoreError, match="stayed away"):
        ingest([docs], patience_s=0.5, **common)
    server.start()
    again = ingest([docs], **common)
    assert (again.unchanged, again.added) == (20, again.chunks - 20)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_is_no_folder_is_told(docs, tmp_path, tiny_int8, place):
    (tmp_path / "file").write_text("")
    done = iqe("ingest", docs, "--chroma", tmp_path / place, "--collection", "docs", "--model", tiny_int8, "--json")
    assert done.returncode == 3, done.stderr
    assert "can't be written, or is not a folder" in json.loads(done.stdout)["error"]["message"]


@pytest.mark.parametrize("error", [OptionError("no"), ForkedProcessError("no"), ModelFilesError("no")])
def test_what_every_text_fails_with_ends_the_run(docs, tmp_path, tiny_int8, monkeypatch, error):
    """And is not a problem of each of them, tried one by one."""
    calls = []

    def fail(self, texts, show_progress=False):
        calls.append(len(texts))
        raise error

    monkeypatch.setattr(Encoder, "encode_documents", fail)
    with pytest.raises(type(error)):
        ingest([docs], chroma=tmp_path / "chroma", collection="docs", model=tiny_int8)
    assert len(calls) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system can't be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_once_there_is_room_a_run_goes_on(small_disk, tmp_path, tiny_int8):
    many = write_texts(tmp_path / "many", files=50, paragraphs=25, seed=3)
    chroma = small_disk / "chroma"
    stopped = iqe("ingest", many, "--chroma", chroma, "--collection", "docs", "--model", tiny_int8, "--json")
    assert stopped.returncode == 3, stopped.stderr
    assert "is full" in json.loads(stopped.stdout)["error"]["message"]
    assert "Traceback" not in stopped.stderr
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = ingest([many], chroma=chroma, collection="docs", model=tiny_int8)
    assert again.unchanged > 0  # what was stored before the disk was full
    ingest([many], chroma=tmp_path / "roomy", collection="docs", model=tiny_int8)
    assert contents(chroma) == contents(tmp_path / "roomy")
