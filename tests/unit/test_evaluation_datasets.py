"""Folders of data: which kind each is, what is read, and what is said of a broken one."""

from __future__ import annotations

import json

import pytest

from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError
from intel_quantized_embeddings.tasks.datasets import (
    ClassificationDataset,
    RetrievalDataset,
    SimilarityDataset,
    read_dataset,
)

QRELS = "query-id\tcorpus-id\tscore\n"


def _lines(*entries) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


@pytest.fixture
def beir(tmp_path):
    (tmp_path / "corpus.jsonl").write_text(
        _lines({"_id": "d1", "title": "Rain", "text": "falls\u2028down"}, {"_id": "d2", "text": "stone"}), "utf-8"
    )
    (tmp_path / "queries.jsonl").write_text(
        _lines({"_id": "q1", "text": "wet?"}, {"_id": "q2", "text": "hard?"}, {"_id": "q3", "text": "unjudged"}),
        "utf-8",
    )
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(QRELS + "q1\td1\t2\nq1\td2\t0\nq2\td2\t0\n", "utf-8")
    return tmp_path


def test_a_beir_folder(beir):
    dataset = read_dataset(beir)
    assert isinstance(dataset, RetrievalDataset)
    assert dataset.documents == {"d1": "Rain falls\u2028down", "d2": "stone"}
    assert dataset.queries == {"q1": "wet?"}  # q2 has no answer, q3 no judgement
    assert dataset.relevant == {"q1": {"d1": 2, "d2": 0}}
    assert str(dataset) == f"{beir.name}: retrieval, 2 documents, 1 queries"


def test_the_only_judgements_are_taken_and_one_of_several_is_asked_for(beir):
    (beir / "qrels" / "test.tsv").rename(beir / "qrels" / "dev.tsv")
    assert read_dataset(beir).queries == {"q1": "wet?"}
    (beir / "qrels" / "train.tsv").write_text(QRELS, "utf-8")
    with pytest.raises(ModelFilesError, match=r"has dev\.tsv, train\.tsv; test\.tsv is expected"):
        read_dataset(beir)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", '{"_id": "d1"}\n', r'corpus\.jsonl, line 1: an object with "_id" and "text"'),
        ("corpus.jsonl", "{\n", r"corpus\.jsonl, line 1"),
        ("corpus.jsonl", '{"_id": "d1", "text": null}\n', r"corpus\.jsonl, line 1"),
        ("corpus.jsonl", '{"_id": "d2", "text": "x"}\n', r"test\.tsv, line 2: corpus\.jsonl has no document 'd1'"),
        ("queries.jsonl", '{"_id": "q9", "text": "x"}\n', r"queries\.jsonl has no query 'q1', which test\.tsv judges"),
        ("qrels/test.tsv", QRELS + "q1\td1\tmuch\n", r"test\.tsv, line 2: .* integer score"),
        ("qrels/test.tsv", "a\tb\tc\nq1\td1\t1\n", r"test\.tsv, line 2: query-id, corpus-id"),
        ("qrels/test.tsv", QRELS + "q1\td1\n", r"test\.tsv, row 2: it has not as many fields"),
        ("qrels/test.tsv", QRELS + "q1\td1\t0\n", r"no query with an answer"),
    ],
)
def test_a_broken_file_is_named_with_the_line(beir, file, content, message):
    (beir / file).write_text(content, "utf-8")
    with pytest.raises(DamagedFilesError, match=message):
        read_dataset(beir)


def test_a_classification_folder(tmp_path):
    (tmp_path / "train.csv").write_text('text,label\n"where, then?",place\nwhen,time\n', "utf-8")
    (tmp_path / "test.csv").write_text('\ufefftext,label\n"two\nlines",time\n', "utf-8")
    dataset = read_dataset(tmp_path)
    assert isinstance(dataset, ClassificationDataset)
    assert (dataset.train_texts, dataset.train_labels) == (("where, then?", "when"), ("place", "time"))
    assert (dataset.test_texts, dataset.test_labels) == (("two\nlines",), ("time",))
    (tmp_path / "train.csv").write_text("text,intent\nwhen,time\n", "utf-8")
    with pytest.raises(DamagedFilesError, match=r"train\.csv has text, intent; a dataset is"):
        read_dataset(tmp_path)


def test_a_similarity_folder(tmp_path):
    (tmp_path / "test.csv").write_text("sentence1,sentence2,score\na cat,a tom,4.5\na cat,a car,0\n", "utf-8")
    dataset = read_dataset(tmp_path)
    assert isinstance(dataset, SimilarityDataset)
    assert dataset.second == ("a tom", "a car")
    assert dataset.scores == (4.5, 0.0)
    (tmp_path / "test.csv").write_text("sentence1,sentence2,score\na cat,a tom,high\n", "utf-8")
    with pytest.raises(DamagedFilesError, match="score is 'high'; a number"):
        read_dataset(tmp_path)


def test_what_is_no_dataset_is_told_what_one_is(tmp_path):
    with pytest.raises(OptionError, match=r"has no corpus\.jsonl and no test\.csv; a dataset is a folder"):
        read_dataset(tmp_path)
    with pytest.raises(ModelFilesError, match=r"no folder .*absent"):
        read_dataset(tmp_path / "absent")
    (tmp_path / "corpus.jsonl").write_text(_lines({"_id": "d1", "text": "x"}), "utf-8")
    with pytest.raises(ModelFilesError, match=r"qrels has no \.tsv"):
        read_dataset(tmp_path)


def test_real_folders(shared):
    scifact, banking = (read_dataset(shared / "data" / name) for name in ("scifact", "banking77"))
    assert str(scifact) == "scifact: retrieval, 5,183 documents, 300 queries"
    assert sum(len(grades) for grades in scifact.relevant.values()) == 339
    assert str(banking) == "banking77: classification, 77 classes, 10,003 texts to learn from, 3,080 to score"
