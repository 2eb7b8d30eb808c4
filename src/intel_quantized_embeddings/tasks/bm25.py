"""Candidates for reranking: BM25's first hundred documents, like those of a keyword search."""

from __future__ import annotations

from collections.abc import Mapping

from intel_quantized_embeddings.errors import needs

CANDIDATES = 100


def bm25_candidates(
    documents: Mapping[str, str], queries: Mapping[str, str], *, count: int = CANDIDATES
) -> dict[str, list[str]]:
    """Find at most `count` documents that share words with each query, best first.

    Robertson's BM25 as Lucene computes it, with English stop words.
    """
    with needs("bm25s", extra="eval", needed_for="Finding candidates to rerank"):
        import bm25s
    ids = sorted(documents)
    index = bm25s.BM25(method="lucene")
    index.index(_words([documents[id_] for id_ in ids]), show_progress=False)
    found, _ = index.retrieve(_words(list(queries.values())), k=min(count, len(ids)), show_progress=False, n_threads=1)
    return {query: [ids[place] for place in places] for query, places in zip(queries, found, strict=True)}


def _words(texts: list[str]) -> object:
    import bm25s

    return bm25s.tokenize(texts, stopwords="en", show_progress=False)
