"""Folders with datasets: retrieval in BEIR's form, classification, and similarity; `_FORMS` describes them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalDataset:
    """Documents, queries, and the documents that answer each query.

    Attributes:
        name: The folder's name.
        documents: Title, a space, and text, by document id.
        queries: The queries that have an answer, by query id.
        relevant: For every query the grades of documents, 1 or more if they answer it.
    """

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    relevant: dict[str, dict[str, int]]

    def __str__(self) -> str:
        return f"{self.name}: retrieval, {len(self.documents):,} documents, {len(self.queries):,} queries"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationDataset:
    """Labelled texts: some to train on, some to score."""

    name: str
    train_texts: tuple[str, ...]
    train_labels: tuple[str, ...]
    test_texts: tuple[str, ...]
    test_labels: tuple[str, ...]

    def __str__(self) -> str:
        classes = len(set(self.train_labels))
        texts = f"{len(self.train_texts):,} texts to learn from, {len(self.test_texts):,} to score"
        return f"{self.name}: classification, {classes} classes, {texts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityDataset:
    """Pairs of texts with people's scores of their similarity."""

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.name}: similarity, {len(self.scores):,} pairs"


Dataset: TypeAlias = RetrievalDataset | ClassificationDataset | SimilarityDataset


def texts_of(dataset: Dataset) -> dict[str, list[str]]:
    """Return what is encoded, as "documents" and "queries": the same where the dataset does not tell them apart."""
    if isinstance(dataset, RetrievalDataset):
        return {"documents": list(dataset.documents.values()), "queries": list(dataset.queries.values())}
    texts = dataset.test_texts if isinstance(dataset, ClassificationDataset) else (*dataset.first, *dataset.second)
    return {"documents": list(texts), "queries": list(texts)}


_FORMS = (
    "a dataset is a folder with corpus.jsonl, queries.jsonl and qrels/*.tsv (retrieval, as BEIR keeps it), with "
    "train.csv and test.csv of the columns text and label (classification), or with a test.csv of the columns "
    "sentence1, sentence2 and score (similarity)"
)


def read_dataset(folder: Path) -> Dataset:
    """Read a folder in one of the forms; errors name the file and line."""
    name = folder.resolve().name
    if not folder.is_dir():
        raise ModelFilesError(f"no folder {folder}; {_FORMS}.")
    if (folder / "corpus.jsonl").is_file():
        return _read_retrieval(folder, name)
    if not (folder / "test.csv").is_file():
        raise OptionError(f"{folder} has no corpus.jsonl and no test.csv; {_FORMS}.")
    rows = _read_csv(folder / "test.csv")
    if rows and {"sentence1", "sentence2", "score"} <= rows[0].keys():
        return SimilarityDataset(
            name=name,
            first=tuple(row["sentence1"] for row in rows),
            second=tuple(row["sentence2"] for row in rows),
            scores=tuple(_number(row["score"], folder / "test.csv", place) for place, row in enumerate(rows, start=2)),
        )
    return _read_classification(folder, name, rows)


def _read_retrieval(folder: Path, name: str) -> RetrievalDataset:
    documents = {
        str(entry["_id"]): f"{entry.get('title') or ''} {entry['text']}".strip()
        for entry in _read_jsonl(folder / "corpus.jsonl")
    }
    qrels = _qrels_file(folder)
    relevant: dict[str, dict[str, int]] = {}
    for place, row in enumerate(_read_csv(qrels, delimiter="\t"), start=2):
        try:
            query, document, grade = row["query-id"], row["corpus-id"], int(row["score"])
        except (KeyError, TypeError, ValueError) as exc:
            raise DamagedFilesError(
                f"{qrels}, line {place}: query-id, corpus-id and an integer score are expected."
            ) from exc
        if document not in documents:
            raise DamagedFilesError(f"{qrels}, line {place}: corpus.jsonl has no document {document!r}.")
        relevant.setdefault(query, {})[document] = grade
    relevant = {query: grades for query, grades in relevant.items() if max(grades.values()) > 0}
    queries = {
        str(entry["_id"]): entry["text"]
        for entry in _read_jsonl(folder / "queries.jsonl")
        if str(entry["_id"]) in relevant
    }
    absent = sorted(relevant.keys() - queries.keys())
    if absent:
        raise DamagedFilesError(f"{folder / 'queries.jsonl'} has no query {absent[0]!r}, which {qrels.name} judges.")
    if not queries:
        raise DamagedFilesError(f"{qrels} has no query with an answer.")
    return RetrievalDataset(name=name, documents=documents, queries=queries, relevant=relevant)


def _qrels_file(folder: Path) -> Path:
    """Return test.tsv, or the only file."""
    files = sorted((folder / "qrels").glob("*.tsv"))
    test = folder / "qrels" / "test.tsv"
    if test in files:
        return test
    if len(files) == 1:
        return files[0]
    found = ", ".join(file.name for file in files) or "no .tsv"
    raise ModelFilesError(f"{folder / 'qrels'} has {found}; test.tsv is expected, or a single file.")


def _read_classification(folder: Path, name: str, test: Sequence[dict[str, str]]) -> ClassificationDataset:
    train = _read_csv(folder / "train.csv")
    for file, rows in (("train.csv", train), ("test.csv", test)):
        if not rows or not {"text", "label"} <= rows[0].keys():
            columns = ", ".join(rows[0]) if rows else "no rows"
            raise DamagedFilesError(f"{folder / file} has {columns}; {_FORMS}.")
    return ClassificationDataset(
        name=name,
        train_texts=tuple(row["text"] for row in train),
        train_labels=tuple(row["label"] for row in train),
        test_texts=tuple(row["text"] for row in test),
        test_labels=tuple(row["label"] for row in test),
    )


def _read_jsonl(file: Path) -> Iterator[dict[str, str]]:
    # Not splitlines(): it would also split at separators inside a JSON string.
    for place, line in enumerate(_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if "_id" not in entry or not isinstance(entry["text"], str):
                raise ValueError(line)
        except (ValueError, KeyError, TypeError) as exc:
            raise DamagedFilesError(f'{file}, line {place}: an object with "_id" and "text" is expected.') from exc
        yield entry


def _read_csv(file: Path, *, delimiter: str = ",") -> list[dict[str, str]]:
    rows = csv.DictReader(io.StringIO(_text(file), newline=""), delimiter=delimiter, strict=True)
    try:
        read = list(rows)
    except csv.Error as exc:
        raise DamagedFilesError(f"{file}, line {rows.line_num}: {exc}") from exc
    for place, row in enumerate(read, start=2):
        if None in row or None in row.values():
            raise DamagedFilesError(f"{file}, row {place}: it has not as many fields as the first line.")
    return read


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except FileNotFoundError as exc:
        raise ModelFilesError(f"{file} is missing; {_FORMS}.") from exc
    except (UnicodeDecodeError, IsADirectoryError) as exc:
        raise DamagedFilesError(f"{file} is not a UTF-8 text file: {exc}") from exc


def _number(value: str, file: Path, place: int) -> float:
    try:
        return float(value)
    except ValueError as exc:
        raise DamagedFilesError(f"{file}, row {place}: score is {value!r}; a number is expected.") from exc
