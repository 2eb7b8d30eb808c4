"""A dataset and an encoder -> scores of every query, text or pair, so that encoders can be compared item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from intel_quantized_embeddings.errors import OptionError, needs
from intel_quantized_embeddings.similarity import Similarity
from intel_quantized_embeddings.tasks.bm25 import bm25_candidates
from intel_quantized_embeddings.tasks.datasets import (
    ClassificationDataset,
    Dataset,
    RetrievalDataset,
    SimilarityDataset,
)
from intel_quantized_embeddings.tasks.ranking import Embedded, Ranking, Vectors, rank, rerank, score

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array


class Encodes(Protocol):
    """Anything that encodes documents and queries, as an `Encoder` does."""

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts to be searched. Shape: (n_texts, dimension)."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts to search with. Shape: (n_texts, dimension)."""
        ...


class EncodesSparsely(Protocol):
    """Anything that encodes documents and queries, as a `SparseEncoder` does."""

    def encode_documents(self, texts: Sequence[str]) -> csr_array:
        """Encode texts to be searched. Shape: (n_texts, vocabulary)."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> csr_array:
        """Encode texts to search with. Shape: (n_texts, vocabulary)."""
        ...


class ScoresPairs(Protocol):
    """Anything that scores pairs, as a `CrossEncoder` does."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Score each pair of a query and a document, the higher the better. Shape: (n_pairs,)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One score, with the values that it is made of.

    Attributes:
        name: Its name in tables.
        values: A value for every query or text, whose mean is the score, or for every pair. Shape: (n_items,).
        truth: People's score of each pair, if the score is Spearman's correlation with it. Shape: (n_items,).
    """

    name: str
    values: NDArray[np.float64]
    truth: NDArray[np.float64] | None = None

    @property
    def score(self) -> float:
        """The score, in [0, 1], or [-1, 1] for a correlation."""
        return float(self.values.mean()) if self.truth is None else spearman(self.values, self.truth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The scores of an encoder on a dataset.

    Attributes:
        metrics: The metrics, the first of which decides about settings.
        vectors: Vectors by kind of text: documents, queries, texts; those of a sparse model are SciPy's. Shape of each:
            (n_texts, dimension).
        ranking: Documents of each query, nearest first; empty but for retrieval.
    """

    metrics: tuple[Metric, ...]
    vectors: dict[str, Vectors]
    ranking: Ranking = field(default_factory=dict)

    @property
    def main(self) -> float:
        """The main score: nDCG@10, accuracy, or Spearman's correlation."""
        return self.metrics[0].score


def measure(dataset: Dataset, encoder: Encodes, *, similarity: Similarity = Similarity.COSINE) -> Measurement:
    """Encode a dataset and score the vectors, compared by `settings.similarity` of an `Encoder`."""
    if isinstance(dataset, RetrievalDataset):
        return _retrieval(dataset, encoder, similarity)
    if isinstance(dataset, ClassificationDataset):
        return _classification(dataset, encoder)
    return _similarity(dataset, encoder, similarity)


def measure_sparse(dataset: Dataset, encoder: EncodesSparsely, *, similarity: Similarity) -> Measurement:
    """Encode a dataset into sparse vectors and score their ranking; only for retrieval."""
    if not isinstance(dataset, RetrievalDataset):
        raise OptionError(f"{dataset}: a sparse model is for search, so only retrieval can be measured with it.")
    return _retrieval(dataset, encoder, similarity)


def measure_reranking(dataset: Dataset, model: ScoresPairs) -> Measurement:
    """Order BM25's first candidates by a cross-encoder's scores, and score the order; only for retrieval."""
    if not isinstance(dataset, RetrievalDataset):
        raise OptionError(f"{dataset}: a cross-encoder ranks documents, so only retrieval can be measured with it.")
    candidates = bm25_candidates(dataset.documents, dataset.queries)
    ids = [(query, document) for query, listed in candidates.items() for document in sorted(listed)]
    scores = model.score([(dataset.queries[query], dataset.documents[document]) for query, document in ids])
    scored: dict[str, list[tuple[float, str]]] = {query: [] for query in candidates}
    for (query, document), one in zip(ids, scores.tolist(), strict=True):
        scored[query].append((-one, document))
    reranked = {query: [document for _, document in sorted(listed)] for query, listed in scored.items()}
    relevant = {query: dataset.relevant[query] for query in dataset.queries}
    return Measurement(metrics=_of_reranking(reranked, relevant), vectors={}, ranking=reranked)


def relative_drop(fp32: Measurement, int8: Measurement) -> float:
    """Return the share of fp32's main score, which must be above 0, that int8 loses; negative for a gain."""
    if not fp32.main > 0:
        raise OptionError(
            f"fp32 scores {fp32.main:.4g} in {fp32.metrics[0].name} on this dataset, and int8 can't lose a share of "
            f"that. Pass a dataset whose main score is above 0, or none to limit the loss of the mean cosine to fp32."
        )
    return 1 - int8.main / fp32.main


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation; 0 if one of the two is constant."""
    with needs("scipy", extra="eval", needed_for="Correlating scores"):
        from scipy.stats import spearmanr
    return 0.0 if np.ptp(one) == 0 or np.ptp(other) == 0 else float(spearmanr(one, other).statistic)


def _retrieval(dataset: RetrievalDataset, encoder: Encodes | EncodesSparsely, similarity: Similarity) -> Measurement:
    vectors: dict[str, Vectors] = {
        "documents": encoder.encode_documents(list(dataset.documents.values())),
        "queries": encoder.encode_queries(list(dataset.queries.values())),
    }
    documents = Embedded.of(dataset.documents, vectors["documents"], similarity=similarity)
    queries = Embedded.of(dataset.queries, vectors["queries"], similarity=similarity)
    # As in ArguAna, where the queries are documents.
    themselves = {id_: id_ for id_, text in dataset.queries.items() if dataset.documents.get(id_, "").endswith(text)}
    ranking = rank(documents, queries, excluded=themselves)
    reranked = rerank(bm25_candidates(dataset.documents, dataset.queries), documents, queries)
    relevant = {query: dataset.relevant[query] for query in dataset.queries}
    found = score(ranking, relevant, ("ndcg_cut_10", "map", "recall_100"))
    first_ten = score({query: listed[:10] for query, listed in ranking.items()}, relevant, ("recip_rank",))
    metrics = (
        Metric(name="nDCG@10", values=found["ndcg_cut_10"]),
        Metric(name="MAP", values=found["map"]),
        Metric(name="MRR@10", values=first_ten["recip_rank"]),
        Metric(name="recall@100", values=found["recall_100"]),
        *_of_reranking(reranked, relevant),
    )
    return Measurement(metrics=metrics, vectors=vectors, ranking=ranking)


def _of_reranking(reranked: Ranking, relevant: Mapping[str, Mapping[str, int]]) -> tuple[Metric, ...]:
    found = score(reranked, relevant, ("map", "recip_rank"))
    names = {"reranked MAP": "map", "reranked MRR": "recip_rank"}
    return tuple(Metric(name=name, values=found[key]) for name, key in names.items())


def _classification(dataset: ClassificationDataset, encoder: Encodes) -> Measurement:
    with needs("scikit-learn", extra="eval", needed_for="Classifying texts"):
        from sklearn.linear_model import LogisticRegression
    train = encoder.encode_documents(dataset.train_texts)
    test = encoder.encode_documents(dataset.test_texts)
    head = LogisticRegression(max_iter=1000).fit(train, dataset.train_labels)
    right = head.predict(test) == np.array(dataset.test_labels)
    return Measurement(metrics=(Metric(name="accuracy", values=right.astype(np.float64)),), vectors={"texts": test})


def _similarity(dataset: SimilarityDataset, encoder: Encodes, similarity: Similarity) -> Measurement:
    first, second = encoder.encode_documents(dataset.first), encoder.encode_documents(dataset.second)
    found = similarity.pairwise(first, second)
    metric = Metric(name="Spearman", values=found.astype(np.float64), truth=np.array(dataset.scores))
    return Measurement(metrics=(metric,), vectors={"texts": np.concatenate([first, second])})
