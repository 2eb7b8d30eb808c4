"""examples/ray_ingest.py, run as a person runs it, and killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from support.local_ray import ENVIRONMENT, short_folder

pytest.importorskip("ray", reason="Ray is not installed: the `ray` extra brings it (make test runs this in .venv)")
pytest.importorskip("chromadb", reason="chromadb is not installed: the `examples` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="the `examples` extra brings it")

import chromadb
import pyarrow as pa
import pyarrow.parquet as pq
from chromadb.config import Settings

import ray_ingest
from corpus import read_corpus
from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.process.cores import affinity

if len(affinity()) < 2:
    pytest.skip("two actors that pin themselves need two cores", allow_module_level=True)

EXAMPLE = Path(ray_ingest.__file__)
QUESTION = "what does the cat number 7 do?"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """120 short notes."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for n in range(120):
        (folder / f"{n}.md").write_text(f"The cat number {n} sat on the mat {n * 7} by the cold river.\n", "utf-8")
    return folder


@contextlib.contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The example on two actors, in a group of processes of its own, none of which is left behind."""
    with short_folder() as folder:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLE), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRONMENT, "RAY_TMPDIR": folder, "COLUMNS": "90"},
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):  # all are gone
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def finished(*arguments: object, status: int = 0) -> str:
    """What it prints when it ran to its end."""
    with started(*arguments) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == status, out + err
    return out if status == 0 else err


def files(data: Path) -> list[Path]:
    return sorted(data.glob("ray-*/part-*.parquet"))


def killed_in_the_middle(data: Path, *arguments: object, after: int) -> None:
    """Run it until there are some files, and kill it."""
    with started("--data", data, *arguments) as process:
        deadline = time.monotonic() + 120
        while len(files(data)) < after and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.kill()
        process.wait()


def contents(data: Path) -> tuple[dict[str, tuple[str, str, list[float]]], dict[str, list[float]]]:
    """What the Parquet files hold by id, read without Ray, and the vectors that the collection holds."""
    rows = [row for file in files(data) for row in pq.read_table(file).to_pylist()]
    by_id = {row["id"]: (row["source"], row["text"], row["vector"]) for row in rows}
    assert len(by_id) == len(rows)  # each once
    stored = collection(data).get(include=["embeddings"])
    return by_id, dict(zip(stored["ids"], np.array(stored["embeddings"]).tolist(), strict=True))


def collection(data: Path) -> chromadb.Collection:
    client = chromadb.PersistentClient(data / "chroma", settings=Settings(anonymized_telemetry=False))
    (found,) = client.list_collections()
    return client.get_collection(found.name)


@pytest.mark.slow
def test_killed_and_started_again_it_does_what_is_missing(docs, tiny_int8, tmp_path):
    data, arguments = tmp_path / "data", ("--docs", docs, "--model", tiny_int8)
    killed_in_the_middle(data, *arguments, "--rows", 2, after=3)
    survived = {file: file.read_bytes() for file in files(data)}
    assert 3 <= len(survived) < 60  # or there is nothing to do again
    output = finished("--data", data, *arguments, "--rows", 50, "--question", QUESTION)
    missing = int(re.search(r"(\d+) of 120 are in no file yet", output)[1])
    assert 0 < missing <= 120 - 2 * len(survived)  # the killed run's actors may have finished another
    assert {file: file.read_bytes() for file in survived} == survived

    entries = read_corpus(docs)
    vectors = Encoder.load(tiny_int8).encode_documents([entry.titled for entry in entries]).tolist()
    by_id, stored = contents(data)
    assert by_id == {
        entry.id: (entry.source, entry.titled, vector) for entry, vector in zip(entries, vectors, strict=True)
    }
    assert stored.keys() == by_id.keys()
    np.testing.assert_allclose([stored[key] for key in by_id], [row[2] for row in by_id.values()], atol=1e-6)
    assert not list(data.glob("ray-*/.part-*"))

    # The collection embeds a question with the same model, in another process than the one that filled it.
    found = collection(data).query(query_texts=[QUESTION], n_results=1)
    best = max(entries, key=lambda e: np.dot(by_id[e.id][2], Encoder.load(tiny_int8).encode_queries([QUESTION])[0]))
    assert found["ids"] == [[best.id]]
    assert f"  1. {best.source}  (" in output


class TestWithoutRay:
    """What needs no actor: nothing is missing, or something is wrong."""

    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        """Files of three rows, one of them twice, and what a killed writer left."""
        for name, ids in {"part-1.parquet": ["a", "b"], "part-2.parquet": ["b", "c"], ".part-3.parquet-77": []}.items():
            pq.write_table(pa.table({"id": pa.array(ids, pa.string())}), tmp_path / name)
        return tmp_path

    def test_a_row_that_is_there_twice_is_left_once(self, folder):
        assert ray_ingest.tidy(folder, wanted={"a", "b", "c"}) == {"a", "b", "c"}
        assert [pq.read_table(part)["id"].to_pylist() for part in ray_ingest.parts(folder)] == [["a", "b"], ["c"]]
        assert sorted(file.name for file in folder.iterdir()) == ["part-1.parquet", "part-2.parquet"]

    def test_rows_of_a_text_that_is_gone_go_too(self, folder):
        assert ray_ingest.tidy(folder, wanted={"c", "d"}) == {"c"}
        assert [part.name for part in ray_ingest.parts(folder)] == ["part-2.parquet"]

    def test_another_encoder_is_refused(self, folder):
        with pytest.raises(ray_ingest.steps.ExampleError, match="--fresh"):
            ray_ingest.refuse_other_encoder(folder, "another")

    def test_a_second_run_is_refused(self, folder):
        refused = pytest.raises(ray_ingest.steps.ExampleError, match="another run")
        with ray_ingest.alone(folder), refused, ray_ingest.alone(folder):
            pass


@pytest.mark.soak
def test_it_ends_as_an_uninterrupted_run_wherever_it_is_killed(docs, tiny_int8, tmp_path):
    arguments = ("--docs", docs, "--model", tiny_int8, "--rows", 2)
    finished("--data", tmp_path / "whole", *arguments)
    for after in (1, 20, 40, 60):
        killed_in_the_middle(tmp_path / "killed", *arguments, after=after)
    assert "nothing to embed" in finished("--data", tmp_path / "killed", *arguments)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.soak
def test_too_few_cores_are_told_in_one_line(docs, tiny_int8, tmp_path):
    arguments = ("--docs", docs, "--model", tiny_int8, "--data", tmp_path / "data")
    err = finished(*arguments, "--cores", 99, "--actors", 1, status=1)
    assert "error: an actor failed: " in err
    assert "alone: 99;" in err


def test_the_files_are_read_by_pandas_duckdb_pyarrow_and_polars(tiny_int8, tmp_path):
    """Vectors are plain fixed-size lists, no type of Ray's own, which Polars does not know."""
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed: the `test` group brings it")
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: the `ray` extra brings it")
    polars = pytest.importorskip("polars", reason="Polars is not installed: the `test` group brings it")
    encoder = Encoder.load(tiny_int8)
    writer = ray_ingest.EmbedIntoFiles(folder=tmp_path, model=tiny_int8, fingerprint=encoder.fingerprint)
    texts = ["the cat sat", "a cold river", "music and light"]
    writer(pa.table({"id": ["0", "1", "2"], "source": ["a", "b", "c"], "text": texts}))
    (file,) = tmp_path.glob("part-*.parquet")
    kind = pq.read_schema(file).field("vector").type
    assert (kind.list_size, kind.value_type) == (32, pa.float32())
    assert not isinstance(kind, pa.ExtensionType)
    assert polars.read_parquet_schema(file)["vector"] == polars.Array(polars.Float32, 32)
    found = {
        "pyarrow": pq.read_table(file)["vector"].to_pylist(),
        "pandas": pandas.read_parquet(file)["vector"].tolist(),
        "duckdb": [row[0] for row in duckdb.sql(f"SELECT vector FROM '{file}' ORDER BY id").fetchall()],
        "polars": polars.read_parquet(file)["vector"].to_list(),
        "polars, lazily": polars.scan_parquet(file).collect()["vector"].to_list(),
    }
    expected = encoder.encode_documents(texts)
    for reader, vectors in found.items():
        np.testing.assert_array_equal(np.array(vectors, np.float32), expected, err_msg=reader)
