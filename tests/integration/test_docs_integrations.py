"""The snippets of docs/integrations.md, copied and run."""

from __future__ import annotations

import re

import pytest

from support.documents import ROOT, blocks, run_as_shown

PAGE = "integrations.md"


@pytest.fixture
def run(minilm_int8, tmp_path, monkeypatch, capsys):
    """Run a snippet in a folder of the test's own and check that it prints what its comments say."""
    monkeypatch.chdir(tmp_path)
    return lambda containing: run_as_shown(PAGE, containing=containing, capsys=capsys)


def test_a_chroma_collection_is_filled_and_opened_again(run):
    pytest.importorskip("chromadb", reason="the chroma extra is not installed")
    run("create_collection")
    run("registers the function's name")


def test_a_sentence_transformer_is_asked(run):
    run("encode_document")


def test_a_haystack_pipeline_finds_and_reranks(run):
    pytest.importorskip("haystack", reason="the haystack extra is not installed")
    run("IntelQuantizedRanker")


def test_a_cache_of_vectors_keeps_queries_documents_and_models_apart(minilm_int8, tmp_path, monkeypatch, capsys):
    """And the snippet after it: slices into Chroma, and a node that replaces another."""
    pytest.importorskip("langchain_classic", reason="langchain-classic is not installed: the `test` group brings it")
    pytest.importorskip("langchain_chroma", reason="it comes with the `examples` extra")
    pytest.importorskip("llama_index.vector_stores.chroma", reason="it comes with the `examples` extra")
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    shown = [block for block in blocks(ROOT / "docs" / PAGE, "python") if "IntelQuantizedEmbeddings" in block.text]
    (following,) = (block for block in blocks(ROOT / "docs" / PAGE, "python") if "TextNode" in block.text)
    for block in [*shown, following]:
        exec(compile(block.text, PAGE, "exec"), known)
        expected = re.findall(r"^ *print\(.*\)  # (.*)$", block.text, re.MULTILINE)
        assert capsys.readouterr().out.splitlines() == expected


def test_every_snippet_is_run_by_a_test_here():
    assert len(blocks(ROOT / "docs" / PAGE, "python")) == 6
