"""The snippets of docs/integrations.md, copied and run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "integrations.md").read_text("utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)


@pytest.fixture
def run(minilm, tmp_path, monkeypatch, capsys):
    """Run a snippet in a folder of the test's own and check that it prints what its comments say."""
    monkeypatch.chdir(tmp_path)

    def run_snippet(containing: str) -> None:
        (snippet,) = (s for s in SNIPPETS if containing in s)
        exec(compile(snippet, "integrations.md", "exec"), {})
        shown = re.findall(r"^print\(.*\)  # (.*)$", snippet, flags=re.MULTILINE)
        assert shown
        assert capsys.readouterr().out.splitlines() == shown

    return run_snippet


def test_a_chroma_collection_is_filled_and_opened_again(run):
    pytest.importorskip("chromadb", reason="the chroma extra is not installed")
    run("create_collection")
    run("registers the function's name")


def test_a_sentence_transformer_is_asked(run):
    run("encode_document")


def test_a_haystack_pipeline_finds_and_reranks(run):
    pytest.importorskip("haystack", reason="the haystack extra is not installed")
    run("IntelQuantizedRanker")


def test_every_snippet_is_run_by_a_test_here():
    assert len(SNIPPETS) == 4
