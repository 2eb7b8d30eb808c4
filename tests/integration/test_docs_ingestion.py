"""The snippets of docs/ingestion.md, copied and run in order; its commands run too."""

from __future__ import annotations

import importlib.util
import re
import shlex

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_chroma", reason="it comes with the `examples` extra")
pytest.importorskip("llama_index.vector_stores.chroma", reason="it comes with the `examples` extra")

from intel_quantized_embeddings.cli import main
from support.documents import ROOT, blocks

PAGE = ROOT / "docs" / "ingestion.md"


def test_what_the_page_shows_is_what_comes_out(minilm_int8, minilm, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    for block in blocks(PAGE, "python"):
        if block.not_run and importlib.util.find_spec("langchain_qdrant") is None:
            continue
        exec(compile(block.text, PAGE.name, "exec"), known)
        assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", block.text, re.MULTILINE)
    (tmp_path / "notes.jsonl").write_text('{"text": "Cats sleep most of the day.", "id": "cats"}\n', "utf-8")
    commands = [line for line in blocks(PAGE, "sh")[0].text.splitlines() if line.startswith("iqe ")]
    assert [main(shlex.split(line)[1:]) for line in commands] == [0, 0]
    shown = capsys.readouterr().out
    assert "1 added" in shown
    assert re.search(r"^1\. .*docs/rent\.md  \(distance 0\.\d+\)$", shown, flags=re.MULTILINE)
