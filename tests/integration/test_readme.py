"""The snippets of the README and of docs/ipex.md, copied and run."""

from __future__ import annotations

import re

import pytest

from support.documents import ROOT, blocks

README = (ROOT / "README.md").read_text("utf-8")
PAGES = (ROOT / "README.md", ROOT / "docs" / "ipex.md")
SNIPPETS = [block.text for page in PAGES for block in blocks(page, "python")]


@pytest.fixture(scope="module", autouse=True)
def _frameworks():
    pytest.importorskip("langchain_core", reason="the langchain extra is not installed")
    pytest.importorskip("llama_index.core", reason="the llama-index extra is not installed")


@pytest.fixture
def run_alone(tmp_path, monkeypatch, capsys):
    """Run a snippet in a folder of its own and return what it printed."""
    monkeypatch.chdir(tmp_path)

    def run_snippet(containing: str) -> str:
        (snippet,) = (s for s in SNIPPETS if containing in s)
        exec(compile(snippet, "README.md", "exec"), {})
        return capsys.readouterr().out

    return run_snippet


@pytest.fixture
def run(minilm_int8, run_alone):
    """The same where the int8 model was made before."""
    return run_alone


def test_the_quickstart_is_ten_lines_and_prints_what_the_readme_shows(run):
    (quickstart,) = (s for s in SNIPPETS if "InMemoryVectorStore" in s)
    assert len(quickstart.strip().splitlines()) <= 10
    shown = re.search(r"```text\n(.*?)```", README, flags=re.DOTALL).group(1)
    printed = run("InMemoryVectorStore")
    # Scores may move in the last digit; texts and order may not.
    assert re.sub(r"\d\.\d\d", "#", printed) == re.sub(r"\d\.\d\d", "#", shown)
    for one, two in zip(re.findall(r"\d\.\d\d", printed), re.findall(r"\d\.\d\d", shown), strict=True):
        assert float(one) == pytest.approx(float(two), abs=0.02)


def test_the_llama_index_snippet_finds_the_text(run):
    from llama_index.core import Settings

    before = Settings._embed_model
    try:
        assert run("VectorStoreIndex") == "The Danube flows into the Black Sea.\n"
    finally:
        Settings._embed_model = before


def test_the_encoder_snippet_finds_the_document(run):
    printed = run("encode_documents").splitlines()
    assert printed[0] == "0"
    assert printed[1].startswith("native-int8-mean-")


def test_the_reranking_snippet_finds_the_document(run):
    assert run("Reranker.load") == "1\n"


@pytest.mark.usefixtures("quick_quantizing")
def test_the_quantize_snippet_writes_the_folder(run, tmp_path):
    assert run("report = quantize").startswith("mean 0.9")
    assert (tmp_path / "minilm-int8" / "manifest.json").is_file()


@pytest.mark.usefixtures("ipex_installed")
def test_the_ipex_snippet_encodes(minilm_int8_of, run_alone):
    minilm_int8_of("ipex")
    assert run_alone('runtime="ipex")  #') == "(1, 384)\n"


def test_the_snippet_for_intels_folders_opens_one_made_by_their_recipe(like_optimum_intels):
    """There is no hub here: the id is exchanged for a folder that was made as Intel's were."""
    (snippet,) = (s for s in SNIPPETS if "allow_torchscript" in s)
    namespace = {}
    exec(snippet.replace("Intel/bge-small-en-v1.5-rag-int8-static", str(like_optimum_intels[0])), namespace)
    assert len(namespace["embeddings"].embed_query("Where does the river end?")) == 384


def test_every_snippet_is_run_by_a_test_here():
    assert len(SNIPPETS) == 7
