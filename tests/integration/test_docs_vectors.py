"""The snippets of docs/vectors.md, copied and run."""

from __future__ import annotations

import pytest

from support.documents import ROOT, blocks, run_as_shown


def test_int8_and_bits_are_made_and_scored_again(minilm_int8, capsys):
    run_as_shown("vectors.md", containing="to_binary", capsys=capsys)


def test_langchains_vectors_are_cut(minilm_int8, capsys):
    pytest.importorskip("langchain_core", reason="the langchain extra is not installed")
    run_as_shown("vectors.md", containing="truncate_dim=256", capsys=capsys)


def test_every_snippet_is_run_by_a_test_here():
    assert len(blocks(ROOT / "docs" / "vectors.md", "python")) == 2
