"""The snippets of docs/migrating.md: what it says is the same, is; and the new index is filled."""

from __future__ import annotations

from itertools import pairwise

import pytest

from support.documents import ROOT, blocks

RUN = [block.text for block in blocks(ROOT / "docs" / "migrating.md", "python") if not block.not_run]
NAMES = ("embeddings", "embed_model")


def made_by(snippet: str):
    """The object that a snippet leaves, and its options, which decide its vectors; nothing is loaded."""
    namespace = {}
    exec(compile(snippet, "migrating.md", "exec"), namespace)
    (made,) = (namespace[name] for name in NAMES if name in namespace)
    return made, made.model_dump(exclude={"callback_manager"})


@pytest.fixture(autouse=True)
def _frameworks():
    pytest.importorskip("langchain_core", reason="the langchain extra is not installed")
    pytest.importorskip("llama_index.core", reason="the llama-index extra is not installed")


@pytest.mark.parametrize(
    ("old", "new"),
    [(old, new) for old, new in pairwise(RUN) if "integrations.retired" in old],
    ids=lambda snippet: snippet.split("import ", 1)[1].split()[0],
)
def test_the_old_name_and_the_new_class_are_given_the_same_options(old, new):
    assert "integrations.retired" not in new
    with pytest.deprecated_call():
        under_the_old_name = made_by(old)[1]
    assert made_by(new)[1] == under_the_old_name


@pytest.mark.parametrize("snippet", [s for s in RUN if "IntelQuantizedEmbedding" in s and "chromadb" not in s])
def test_the_new_class_takes_what_the_page_gives_it(snippet):
    made, _ = made_by(snippet)
    assert type(made).__name__ in ("IntelQuantizedEmbeddings", "IntelQuantizedEmbedding")


def test_indexing_again_moves_every_text_with_its_metadata(minilm_int8, tmp_path, monkeypatch, capsys):
    chromadb = pytest.importorskip("chromadb", reason="the chroma extra is not installed")
    monkeypatch.chdir(tmp_path)
    old = chromadb.PersistentClient("index").create_collection("documents", embedding_function=None)
    old.add(
        ids=["cats", "danube", "xeons"],
        documents=["Cats sleep most of the day.", "The Danube flows into the Black Sea.", "Xeons are processors."],
        metadatas=[{"page": 1}, None, {"page": 3}],
        embeddings=[[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]],
    )
    (snippet,) = (s for s in RUN if "chromadb" in s)
    namespace = {}
    exec(compile(snippet, "migrating.md", "exec"), namespace)
    assert capsys.readouterr().out == "3 of 3\n"
    query = namespace["embeddings"].embed_query("Where does the river end?")
    found = namespace["new"].query(query_embeddings=[query], n_results=3)
    assert found["ids"][0][0] == "danube"
    assert dict(zip(found["ids"][0], found["metadatas"][0], strict=True))["xeons"] == {"page": 3}
    assert namespace["new"].metadata["encoder"].startswith("native-int8-mean-")


def test_fastrags_successors_are_constructed_as_shown():
    reason = "integrations.haystack is not part of this checkout, or the haystack extra is not installed"
    pytest.importorskip("intel_quantized_embeddings.integrations.haystack", reason=reason, exc_type=ImportError)
    (snippet,) = (s for s in RUN if "integrations.haystack" in s)
    exec(compile(snippet, "migrating.md", "exec"), {})


def test_every_snippet_is_run_by_a_test_here():
    assert len(RUN) == 13
