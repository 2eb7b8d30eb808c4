"""The snippets of docs/reranking.md and the example, run; a tiny cross-encoder stands for the one named there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "reranking.md").read_text("utf-8"), flags=re.DOTALL)
MODEL = "BAAI/bge-reranker-base"


@pytest.mark.parametrize(
    ("containing", "needed", "printed"),
    [
        ("Reranker.load(", "numpy", r"0\.\d\d  (Cats|The Danube) .*\n"),
        ("IntelQuantizedReranker(", "langchain_core", r"0\.\d+\n"),
        ("IntelQuantizedRerank(", "llama_index.core", r"0\.\d+\n"),
        ("CrossEncoder.load(", "numpy", r"\(1,\)\n"),
    ],
)
def test_a_snippet_prints_what_it_says(containing, needed, printed, tiny_cross_encoder_int8, capsys):
    pytest.importorskip(needed, reason=f"{needed} is not installed")
    (snippet,) = (one for one in SNIPPETS if containing in one and "quantize_cross_encoder" not in one)
    exec(compile(snippet.replace(MODEL, str(tiny_cross_encoder_int8)), "reranking.md", "exec"), {})
    assert re.fullmatch(printed, capsys.readouterr().out)


def test_the_quantizing_snippet_writes_the_folder(tiny_cross_encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (snippet,) = (one for one in SNIPPETS if "quantize_cross_encoder" in one)
    exec(compile(snippet.replace(MODEL, str(tiny_cross_encoder)), "reranking.md", "exec"), {})
    assert capsys.readouterr().out.startswith("rank correlation 0.9")
    assert (tmp_path / "bge-reranker-int8" / "manifest.json").is_file()


def run_example(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "rerank.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


class TestExample:
    """`examples/rerank.py` as a person runs it."""

    pytest.importorskip("langchain_text_splitters", reason="the `examples` extra brings langchain-text-splitters")

    def test_a_bi_encoder_reranks_pythons_docstrings(self, minilm_int8):
        done = run_example("--model", minilm_int8)
        assert done.returncode == 0, done.stderr
        question, by_words, reranked = done.stdout.split("\n\n")
        assert question == "How do I copy a folder with everything in it?"
        assert re.search(r"\(100 texts in \d+ ms\)", reranked)
        assert "copy" in reranked.splitlines()[1]
        assert [len(part.strip().splitlines()) for part in (by_words, reranked)] == [6, 6]

    def test_a_cross_encoder_reranks_a_folder(self, tiny_cross_encoder_int8, tmp_path):
        (tmp_path / "rent.txt").write_text("The rent is due on the first day of every month.\n", "utf-8")
        (tmp_path / "bees.md").write_text("Bees live in hives and make honey.\n", "utf-8")
        arguments = ["--docs", tmp_path, "--question", "When is the rent due?", "--top", 1]
        done = run_example("--model", tiny_cross_encoder_int8, *arguments)
        assert done.returncode == 0, done.stderr
        assert "  1. rent.txt: The rent is due" in done.stdout
        assert "(2 texts in " in done.stdout

    def test_likely_mistakes_are_one_line(self, tiny_cross_encoder_int8, tmp_path):
        (tmp_path / "rent.txt").write_text("The rent is due on the first day of every month.\n", "utf-8")
        docs = ["--docs", tmp_path]
        for arguments, message in (
            (["--docs", tmp_path / "absent"], "no folder"),
            ([*docs, "--model", tmp_path / "absent"], "no folder"),
            ([*docs, "--model", tiny_cross_encoder_int8, "--top", 0], "top_n=0"),
        ):
            done = run_example(*arguments)
            assert done.returncode == 1
            assert re.fullmatch(rf"error: .*{message}.*", done.stderr.splitlines()[-1])
            assert "Traceback" not in done.stderr
