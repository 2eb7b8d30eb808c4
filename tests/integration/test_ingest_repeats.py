"""Texts that occur often: stored once with all their sources, whatever runs, removals and questions come."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")

from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion import IngestionReport, ingest, query
from intel_quantized_embeddings.integrations.chroma_collections import connect
from support.ingestion import contents
from support.tiny_models import VOCABULARY

LICENCE = "the sun and the moon for a document of stone and water"
OWN = {"a": "a cat sat on a mat", "b": "the dog is in the house", "c": "a river of cold water"}


@pytest.fixture
def docs(tmp_path) -> Path:
    """Three folders with a file each that begins with the same paragraph."""
    for name, own in OWN.items():
        folder = tmp_path / "docs" / name
        folder.mkdir(parents=True)
        (folder / f"{name}.txt").write_text(f"{LICENCE}\n\n{own}", "utf-8")
    return tmp_path / "docs"


@pytest.fixture
def bring(tmp_path, tiny):
    def brought(*sources: Path, chroma: str = "chroma", **options: object) -> IngestionReport:
        given = {"chunk_tokens": 16, "overlap_tokens": 0, "precision": "fp32"} | options
        return ingest(sources, chroma=tmp_path / chroma, collection="docs", model=tiny, **given)

    return brought


@pytest.fixture
def sources_of(tmp_path):
    """Ask for a text, and see the names of the files that have it."""

    def asked(text: str) -> list[str]:
        passages = query(text, chroma=tmp_path / "chroma", collection="docs", k=1)
        assert passages[0].text == text
        return [Path(place["source"]).name for place in passages[0].places]

    return asked


def test_a_text_in_many_files_is_one_record_that_names_them_all(bring, docs, tmp_path, sources_of):
    report = bring(docs)
    assert (report.chunks, report.added, report.repeated) == (4, 4, 2)
    assert "4 chunks (and 2 that repeat one)" in str(report)
    assert sorted(text for text, _, _ in contents(tmp_path / "chroma").values()) == sorted([LICENCE, *OWN.values()])
    assert sources_of(LICENCE) == ["a.txt", "b.txt", "c.txt"]
    assert sources_of(OWN["b"]) == ["b.txt"]
    assert bring(docs).unchanged == 4


def test_the_collection_is_the_same_whatever_sources_came_in_which_order(bring, docs, tmp_path):
    bring(docs)
    for chroma, order in (("there", "abc"), ("back", "cba")):
        for name in order:
            bring(docs / name, chroma=chroma)
        assert contents(tmp_path / chroma) == contents(tmp_path / "chroma")


def test_a_source_that_goes_takes_its_name_with_it_and_the_last_one_the_text(bring, docs, tmp_path, sources_of):
    bring(docs)
    (docs / "a" / "a.txt").write_text(OWN["a"], "utf-8")
    report = bring(docs / "a")
    assert (report.added, report.changed, report.removed) == (0, 2, 0)  # the licence's places, the cat's number
    assert sources_of(LICENCE) == ["b.txt", "c.txt"]
    (docs / "b" / "b.txt").unlink()
    (docs / "b" / "other.txt").write_text(OWN["b"], "utf-8")
    bring(docs / "b")
    assert sources_of(LICENCE) == ["c.txt"]
    (docs / "c" / "c.txt").write_text(OWN["c"], "utf-8")
    assert bring(docs / "c").removed == 1
    bring(docs, chroma="fresh")
    assert contents(tmp_path / "chroma") == contents(tmp_path / "fresh")


def test_a_file_that_can_not_be_read_any_more_stays_a_source(bring, docs, sources_of):
    bring(docs)
    (docs / "a" / "a.txt").write_bytes(b"\xff")
    assert not bring(docs).complete
    assert sources_of(LICENCE) == ["a.txt", "b.txt", "c.txt"]


def test_nothing_is_embedded_again_when_another_file_gets_a_text_that_is_there(bring, docs, monkeypatch):
    bring(docs)
    (docs / "c" / "d.txt").write_text(f"{LICENCE}\n\n{OWN['a']}", "utf-8")
    report = bring(docs / "c")
    assert (report.added, report.changed) == (0, 2)


def test_reindexing_one_of_the_sources_is_refused_while_another_has_the_text(bring, docs):
    bring(docs)
    for name in "bc":
        (docs / name / f"{name}.txt").write_text(LICENCE, "utf-8")
    bring(docs)
    (docs / "a" / "a.txt").write_text(LICENCE, "utf-8")
    bring(docs)  # one record now, of three folders
    with pytest.raises(OptionError, match=r"would lose 1 texts .* which come from .*b\.txt, .*c\.txt"):
        bring(docs / "a", reindex=True)
    assert bring(docs, reindex=True).added == 1


def test_pages_and_lines_keep_what_each_says_of_itself(bring, docs, tmp_path, capsys):
    lines = [{"text": LICENCE, "id": n, "title": f"number {n}", "score": n / 2} for n in range(30)]
    (docs / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    bring(docs / "lines.jsonl")
    (passage,) = query(LICENCE, chroma=tmp_path / "chroma", collection="docs", k=1)
    assert [(place["id"], place["title"], place["score"]) for place in passage.places] == [
        (str(n), f"number {n}", n / 2) for n in range(30)
    ]
    assert passage.metadata == passage.places[0]
    common = ["--chroma", str(tmp_path / "chroma"), "--collection", "docs"]
    assert main(["query", LICENCE, *common]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("1. ")
    assert f"also in {docs / 'lines.jsonl'}, id 20" in shown
    assert "and in 9 places more" in shown
    assert main(["query", LICENCE, *common, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["places"]) == 30


def test_what_another_program_stored_is_found_without_places(bring, docs, tmp_path, tiny_encoder):
    bring(docs)
    with connect(tmp_path / "chroma") as client:
        client.get_collection("docs", embedding_function=None).add(
            ids=["mine"], embeddings=[[0.5] * 32], documents=["by hand"], metadatas=[{"source": "me"}]
        )
    found = {passage.id: passage for passage in query("cat", chroma=tmp_path / "chroma", collection="docs", k=9)}
    assert (found["mine"].places, found["mine"].metadata) == ((), {"source": "me"})


@pytest.mark.slow
def test_a_text_in_twenty_thousand_files_does_not_spoil_the_collection(bring, docs, tmp_path):
    """A list of so many as Chroma's own metadata leaves a collection that it can neither read nor write again."""
    lines = "\n".join(json.dumps({"text": LICENCE, "id": n}) for n in range(20_000))
    (docs / "lines.jsonl").write_text(lines, "utf-8")
    assert bring(docs).repeated == 20_002
    assert bring(docs).unchanged == 4
    (passage,) = query(LICENCE, chroma=tmp_path / "chroma", collection="docs", k=1)
    assert len(passage.places) == 20_003


def test_others_are_found_beside_a_text_that_comes_six_hundred_times(bring, tmp_path):
    """As so many equal vectors it makes an approximate index lose others from their own ten nearest."""
    random_ = random.Random(5)
    words = [word for word in VOCABULARY if word.isalpha() and len(word) > 1]
    different = [" ".join(random_.choices(words, k=10)) for _ in range(2400)]
    texts = tmp_path / "texts.jsonl"
    texts.write_text("\n".join(json.dumps({"text": text}) for text in [*different, *[LICENCE] * 600]), "utf-8")
    assert bring(texts).chunks == 2401
    with connect(tmp_path / "chroma") as client:
        collection = client.get_collection("docs", embedding_function=None)
        held = collection.get(include=["embeddings"])
        vectors = np.asarray(held["embeddings"])
        found = [
            id in its
            for start in range(0, len(vectors), 500)
            for id, its in zip(
                held["ids"][start : start + 500],
                collection.query(query_embeddings=vectors[start : start + 500], n_results=10, include=[])["ids"],
                strict=True,
            )
        ]
    assert sum(found) >= 0.999 * len(found)


@pytest.mark.parametrize("problem", ["", "not JSON\n"], ids=["whole", "with a problem"])
def test_numbers_that_chroma_gives_back_otherwise_are_the_same(bring, tmp_path, problem):
    """findings/chroma-float-metadata.sh: their last bits. Each run wrote them again, or added a place to each."""
    file = tmp_path / "lines.jsonl"
    lines = (json.dumps({"text": f"the cat {number}", "score": number / 3}) for number in range(270, 300))
    file.write_text("\n".join(lines) + f"\n{problem}")
    assert bring(file).added == 30
    for _ in range(3):
        report = bring(file)
        assert (report.added, report.changed, report.unchanged, report.removed) == (0, 0, 30, 0)
    passages = query("the cat 271", chroma=tmp_path / "chroma", collection="docs", k=30)
    assert [len(passage.places) for passage in passages] == [1] * 30
    file.write_text(file.read_text().replace(str(271 / 3), str(271 / 3 + 1e-9)))
    assert bring(file).changed == 1
