"""Vectors -> rankings -> scores of every query. Ties are broken by document id, so that a run can be repeated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from intel_quantized_embeddings.errors import OptionError, needs
from intel_quantized_embeddings.similarity import Similarity
from intel_quantized_embeddings.vectors import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

Ranking: TypeAlias = dict[str, list[str]]
# An array (n, dimension) of float32, or SciPy's csr_array of the same, which is no type without SciPy.
Vectors: TypeAlias = Any

# The depth at which trec_eval takes a run to be cut.
DEPTH = 1000
_QUERIES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Embedded:
    """Texts' ids and vectors, ready to be compared.

    Attributes:
        ids: The ids, sorted.
        vectors: The vectors, dense or sparse, scaled to length 1 for the cosine. Shape: (n_texts, dimension).
        similarity: The similarity of these vectors: DOT in place of COSINE.
    """

    ids: tuple[str, ...]
    vectors: Vectors
    similarity: Similarity

    @classmethod
    def of(cls, ids: Iterable[str], vectors: Vectors, *, similarity: Similarity = Similarity.COSINE) -> Embedded:
        """Sort by id, so that places and ids have the same order.

        Raises:
            OptionError: Sparse vectors have another similarity than the cosine and the dot product.
        """
        listed = list(ids)
        order = sorted(range(len(listed)), key=listed.__getitem__)
        is_dense = isinstance(vectors, np.ndarray)
        if not is_dense and similarity not in (Similarity.COSINE, Similarity.DOT):
            raise OptionError(
                f"similarity_fn_name={similarity.value!r} is not built in for ranking by sparse vectors; built in are "
                f"{Similarity.DOT.value!r} and {Similarity.COSINE.value!r}."
            )
        if similarity is Similarity.COSINE:
            vectors, similarity = unit(vectors) if is_dense else _sparse_unit(vectors), Similarity.DOT
        return cls(tuple(listed[place] for place in order), vectors[order], similarity)

    def matrix(self, others: Vectors) -> NDArray[np.float32]:
        """Compare every one of some vectors with every own one. Shape: (n_others, n_texts)."""
        if isinstance(self.vectors, np.ndarray):
            return self.similarity.matrix(others, self.vectors)
        products: NDArray[np.float32] = (others @ self.vectors.T).toarray()
        return products

    def each(self, other: Vectors, rows: Sequence[int]) -> NDArray[np.float32]:
        """Compare one vector, shape (1, dimension), with some own ones, each by itself. Shape: (rows,)."""
        if isinstance(self.vectors, np.ndarray):
            return self.similarity.to_documents(other[0], self.vectors[rows])
        products: NDArray[np.float32] = (self.vectors[rows] @ other.T).toarray()[:, 0]
        return products


def rank(
    documents: Embedded, queries: Embedded, *, excluded: Mapping[str, str] | None = None, depth: int = DEPTH
) -> Ranking:
    """Order documents by their similarity to each query, the nearest first, `depth` of them at most.

    `excluded` has a document to leave out of a query's ranking, by query id: the query itself if it is a document.
    """
    excluded = excluded or {}
    ranking = {}
    for start in range(0, len(queries.ids), _QUERIES_AT_ONCE):
        part = slice(start, start + _QUERIES_AT_ONCE)
        similarities = documents.matrix(queries.vectors[part])
        for query, row in zip(queries.ids[part], similarities, strict=True):
            nearest = (documents.ids[place] for place in _nearest(row, depth + 1))
            ranking[query] = [document for document in nearest if document != excluded.get(query)][:depth]
    return ranking


def rerank(candidates: Mapping[str, Sequence[str]], documents: Embedded, queries: Embedded) -> Ranking:
    """Order each query's own candidates by their similarity to it."""
    row_of = {id_: row for row, id_ in enumerate(documents.ids)}
    ranking = {}
    for row, query in enumerate(queries.ids):
        rows = sorted(row_of[id_] for id_ in candidates[query])
        places = _nearest(documents.each(queries.vectors[row : row + 1], rows), len(rows))
        ranking[query] = [documents.ids[rows[place]] for place in places]
    return ranking


def score(
    ranking: Ranking, relevant: Mapping[str, Mapping[str, int]], measures: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Score every query with trec_eval, by `measures` that it knows: ndcg_cut_10, map, recip_rank, recall_100.

    Returns for each measure a score for every query of `relevant` (grades of documents for each query), in its order: 0
    for one that is not ranked. Shape: (n_queries,).
    """
    with needs("pytrec-eval-terrier", extra="eval", needed_for="Scoring rankings"):
        import pytrec_eval
    # trec_eval sorts by score and equal scores by descending id, so it gets places as scores.
    run = {query: {id_: float(-place) for place, id_ in enumerate(listed)} for query, listed in ranking.items()}
    evaluator = pytrec_eval.RelevanceEvaluator(
        {query: dict(grades) for query, grades in relevant.items()}, set(measures)
    )
    found = evaluator.evaluate(run)
    return {
        measure: np.array([found.get(query, {}).get(measure, 0.0) for query in relevant], dtype=np.float64)
        for measure in measures
    }


def overlap(one: Ranking, other: Ranking, *, depth: int = 10) -> float:
    """Return the share of the first `depth` documents that two rankings have in common, the mean over queries."""
    shares = [
        len(set(listed[:depth]).intersection(other[query][:depth])) / max(1, len(listed[:depth]))
        for query, listed in one.items()
    ]
    return float(np.mean(shares))


def _sparse_unit(vectors: csr_array) -> csr_array:
    """Divide sparse vectors by their lengths; those without any weight stay so."""
    lengths = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)))
    divided = vectors.copy()
    divided.data /= np.repeat(lengths, np.diff(vectors.indptr))
    return divided


def _nearest(similarities: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Return the places of the highest similarities, the highest first, equal ones by place."""
    if count < len(similarities):
        least = np.partition(similarities, len(similarities) - count)[len(similarities) - count]
        places = np.flatnonzero(similarities >= least)
    else:
        places = np.arange(len(similarities))
    return places[np.lexsort((places, -similarities[places]))][:count]
