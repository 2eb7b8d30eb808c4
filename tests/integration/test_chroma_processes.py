"""A Chroma collection filled by one process and asked by another: through a folder, and through `chroma run`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `chroma` extra brings it")

import chromadb
from chromadb.config import Settings

from intel_quantized_embeddings.integrations.chroma import IntelQuantizedEmbeddingFunction
from support.chroma_server import chroma_server
from support.tiny_models import write_tiny_model

TEXTS = {"cat": "the cat sat on the mat", "river": "a cold river", "city": "music and light in the old city"}
QUESTION = "what does the cat do?"
MODULE = "intel_quantized_embeddings.integrations.chroma"

# Asks the collection "docs" a question and prints the answer, or the error.
ASKING = """
import importlib, json, sys
import chromadb
from chromadb.config import Settings
where, question, *modules = sys.argv[1:]
settings = Settings(anonymized_telemetry=False)
host, _, port = where.rpartition(":")
client = chromadb.HttpClient(host, int(port), settings=settings) if host else chromadb.PersistentClient(where, settings)
for module in modules:
    importlib.import_module(module)
try:
    found = client.get_collection("docs").query(query_texts=[question], n_results=3)
    print(json.dumps([found["ids"], found["distances"]]))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def asked_by_a_new_process(where: str, folder: Path, *modules: str) -> list:
    """What another process, in another working folder, gets as an answer."""
    done = subprocess.run(
        [sys.executable, "-c", ASKING, where, QUESTION, *modules],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def settings() -> Settings:
    """New ones for every client: Chroma writes into them."""
    return Settings(anonymized_telemetry=False)


def fill(client: chromadb.ClientAPI, model: Path, **options: str) -> list:
    """Make the collection and ask it the question."""
    function = IntelQuantizedEmbeddingFunction(model, **options)
    function.warm_up()
    collection = client.create_collection("docs", embedding_function=function)
    collection.add(ids=list(TEXTS), documents=list(TEXTS.values()))
    found = collection.query(query_texts=[QUESTION], n_results=3)
    return [found["ids"], found["distances"]]


def test_a_server_is_asked_by_a_new_process(tiny_int8, tmp_path):
    with chroma_server(tmp_path / "server") as server:
        answer = fill(chromadb.HttpClient(server.host, server.port, settings=settings()), tiny_int8)
        assert asked_by_a_new_process(f"{server.host}:{server.port}", tmp_path, MODULE) == answer


def test_a_folder_is_asked_by_a_new_process_with_the_same_model_or_not_at_all(tmp_path):
    model = write_tiny_model(tmp_path / "model")
    where = str(tmp_path / "chroma")
    answer = fill(chromadb.PersistentClient(where, settings=settings()), model, precision="fp32")
    assert asked_by_a_new_process(where, tmp_path, MODULE) == answer

    kind, message = asked_by_a_new_process(where, tmp_path)  # without the import
    assert (kind, "intel_quantized not found" in message) == ("ValueError", True)

    write_tiny_model(model, seed=1)
    kind, message = asked_by_a_new_process(where, tmp_path, MODULE)
    assert kind == "OtherEncoderError"
    assert "their vectors don't compare" in message
