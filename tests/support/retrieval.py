"""Retrieval scores on BEIR folders, small enough to check by eye."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Documents, queries, and which documents answer which query."""

    documents: dict[str, str]
    queries: dict[str, str]
    relevant: dict[str, dict[str, int]]

    def of_queries(self, count: int) -> RetrievalSet:
        """The first so many queries."""
        queries = dict(islice(self.queries.items(), count))
        return RetrievalSet(self.documents, queries, {query: self.relevant[query] for query in queries})

    def reduced(self, distractors: int) -> RetrievalSet:
        """All relevant documents and the first so many others."""
        needed = {document for answers in self.relevant.values() for document in answers}
        others = [document for document in self.documents if document not in needed][:distractors]
        kept = needed.union(others)
        return RetrievalSet({i: t for i, t in self.documents.items() if i in kept}, self.queries, self.relevant)


def read_beir(folder: Path) -> RetrievalSet:
    """Read corpus.jsonl, queries.jsonl and qrels/test.tsv; only queries with an answer are kept."""
    documents = {
        entry["_id"]: f"{entry.get('title', '')} {entry['text']}".strip() for entry in _lines(folder / "corpus.jsonl")
    }
    relevant: dict[str, dict[str, int]] = {}
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8") as opened:
        for row in csv.DictReader(opened, delimiter="\t"):
            relevant.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    queries = {e["_id"]: e["text"] for e in _lines(folder / "queries.jsonl") if e["_id"] in relevant}
    return RetrievalSet(documents, queries, relevant)


def ndcg_at_10(data: RetrievalSet, documents: np.ndarray, queries: np.ndarray) -> float:
    """Mean nDCG@10 of unit vectors in the order of `data`; ties are broken by document id."""
    ids = list(data.documents)
    by_id = np.argsort(np.argsort(ids))
    total = 0.0
    for query, scores in zip(data.queries, queries @ documents.T, strict=True):
        order = np.lexsort((by_id, -scores))[:10]
        answers = data.relevant[query]
        gained = sum(answers.get(ids[j], 0) / math.log2(rank + 2) for rank, j in enumerate(order))
        best = sorted(answers.values(), reverse=True)[:10]
        total += gained / sum(gain / math.log2(rank + 2) for rank, gain in enumerate(best))
    return total / len(data.queries)


def _lines(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]
