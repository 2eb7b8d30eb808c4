"""The recipe for Spark in docs/scaling.md, run on this machine alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from intel_quantized_embeddings import Encoder
from support.documents import block_with
from support.tiny_models import write_tiny_model

pytest.importorskip("pyspark", reason="PySpark is not installed: the `spark` group brings it")
if shutil.which("java") is None:
    pytest.skip("Spark needs Java, which is not installed (Debian: default-jre-headless)", allow_module_level=True)

# A JVM and Python workers for each.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("folder")]

TEXTS = [f"the cat number {n} sat on the mat by the cold river" for n in range(200)]
# Beside each vector the process that made it, how many encoders that has seen, and the batch's rows.
WATCHED = """
import json, os, sys

def watched(batches):
    for batch in embed(batches):
        seen = vars(sys).setdefault("seen", [])  # of the process, not of the task
        if not any(encoder.value is one for one in seen):
            seen.append(encoder.value)
        for name, value in (("process", os.getpid()), ("encoders", len(seen)), ("rows", batch.num_rows)):
            batch = batch.append_column(name, pa.array([value] * batch.num_rows))
        yield batch

documents = spark.createDataFrame(list(enumerate(json.loads(sys.argv[1]))), ["id", "text"]).repartition(6)
schema = "id long, text string, vector array<float>, process long, encoders long, rows long"
print("ROWS", json.dumps([row.asDict() for row in documents.mapInArrow(watched, schema).collect()]))
"""
ANOTHER_MODEL = """
folder.unlink()
folder.symlink_to("another")
embedded.collect()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(more: str = "", *arguments: str, status: int = 0, rows_a_batch: int | None = None) -> str:
    """Run the recipe and more behind it in a process, since a JVM ends with it; what it printed, or its error."""
    recipe = block_with("scaling.md", "mapInArrow").text
    if rows_a_batch is not None:
        assert recipe.count(", 1000)") == 1
        recipe = recipe.replace(", 1000)", f", {rows_a_batch})")
    Path("recipe.py").write_text(recipe + more, "utf-8")
    here = {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": str(Path.cwd())}
    path = os.pathsep.join(place for place in sys.path if place)
    done = subprocess.run(
        [sys.executable, "recipe.py", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **here, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr if status else done.stdout


def test_it_prints_what_it_says(minilm_int8):
    Path("minilm-int8").symlink_to(minilm_int8, target_is_directory=True)
    assert run() == "384\n"


def test_a_process_loads_one_encoder_and_takes_no_more_rows_at_once_than_it_is_told(tiny_int8, tiny_encoder):
    Path("minilm-int8").symlink_to(tiny_int8, target_is_directory=True)
    printed = run(WATCHED, json.dumps(TEXTS), rows_a_batch=10)
    rows = sorted(json.loads(printed.partition("ROWS ")[2]), key=lambda row: row["id"])
    assert [row["text"] for row in rows] == TEXTS
    assert [row["vector"] for row in rows] == tiny_encoder.encode_documents(TEXTS).tolist()
    assert {row["encoders"] for row in rows} == {1}
    assert len({row["process"] for row in rows}) < 6  # tasks: some had the encoder of one before
    assert max(row["rows"] for row in rows) <= 10


def test_a_machine_whose_folder_holds_another_model_ends_the_job(tiny_int8):
    Path("minilm-int8").symlink_to(tiny_int8, target_is_directory=True)
    Path("another").symlink_to(write_tiny_model(Path("other"), seed=7), target_is_directory=True)
    assert Encoder.load("another").fingerprint != Encoder.load(tiny_int8).fingerprint
    assert "the model pickled as" in run(ANOTHER_MODEL, status=1)
