"""What smaller vectors cost in search: nDCG@10 of cut vectors, int8 and bits, with and without rescoring.

python tests/numerics/compare_vectors.py MODEL DATASET [DATASET ...] [--dimensions 256 128 64]

Prints a table in Markdown for each dataset (folders in BEIR's form; the `eval` extra). The change is to the model's own
int8 encoder with float32 vectors of full length, with the 95 % interval of a paired bootstrap over queries.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.evaluation.comparison import compare
from intel_quantized_embeddings.tasks.datasets import RetrievalDataset, read_dataset
from intel_quantized_embeddings.tasks.measure import Measurement, Metric
from intel_quantized_embeddings.tasks.ranking import Embedded, Ranking, rank, score
from intel_quantized_embeddings.vectors import cosines, to_binary, to_int8

DEPTH = 10


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare smaller vectors in search.")
    parser.add_argument("model")
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--dimensions", nargs="*", type=int, default=[256, 128, 64], help="beside the model's own")
    parser.add_argument("--candidates", nargs="+", type=int, default=[40, 100], help="how many of them are rescored")
    parser.add_argument("--max-length", type=int)
    parser.add_argument("--runtime", help="what the model's folder says when left out")
    options = parser.parse_args()
    for folder in options.datasets:
        data = read_dataset(folder)
        if not isinstance(data, RetrievalDataset):
            parser.error(f"{folder} is not a retrieval dataset")
        print(f"\n{data.name}: {len(data.documents)} documents, {len(data.queries)} queries\n")
        print("| numbers | vectors | bytes | nDCG@10 | change | 95 % interval |\n|---|---|---|---|---|---|")
        reference = None
        for dimension in (None, *options.dimensions):
            encoder = Encoder.load(
                options.model, runtime=options.runtime, truncate_dim=dimension, max_length=options.max_length
            )
            for name, size, ranking in rankings(data, encoder, options.candidates):
                measured = Measurement(metrics=(ndcg(data, ranking),), vectors={})
                reference = reference or measured
                (change,) = compare(reference, measured).differences
                interval = f"{change.low:+.2%} to {change.high:+.2%}" if measured is not reference else ""
                shown = f"{change.change:+.2%}" if interval else ""
                print(
                    f"| {encoder.dimension} | {name} | {size} | {change.score:.4f} | {shown} | {interval} |", flush=True
                )


def rankings(data: RetrievalDataset, encoder: Encoder, candidates: list[int]) -> Iterator[tuple[str, int, Ranking]]:
    """The first documents of each query, by every way of storing vectors: its name, bytes a document, the ranking."""
    documents = encoder.encode_documents(list(data.documents.values()))
    queries = encoder.encode_queries(list(data.queries.values()))

    def ranked(of_documents: np.ndarray, of_queries: np.ndarray, depth: int = DEPTH) -> Ranking:
        sides = (Embedded.of(data.documents, of_documents), Embedded.of(data.queries, of_queries))
        return rank(*sides, depth=depth)

    def rescored(count: int, stored: np.ndarray) -> Ranking:
        again = {}
        for query, listed in by_bits.items():
            found = listed[:count]
            near = cosines(query_of[query], stored[[row_of[id_] for id_ in found]])
            again[query] = [found[place] for place in np.argsort(-near, kind="stable")[:DEPTH]]
        return again

    query_of = dict(zip(data.queries, queries, strict=True))
    row_of = {id_: row for row, id_ in enumerate(data.documents)}
    small, bits = to_int8(documents), to_binary(documents)
    # Cosines between vectors of 1 and -1 order as Hamming distances do, the other way round.
    by_bits = ranked(signs(documents), signs(queries), max(candidates))
    yield "float32", documents[0].nbytes, ranked(documents, queries)
    yield "int8", small[0].nbytes, ranked(small, to_int8(queries))
    yield "binary", bits[0].nbytes, {query: listed[:DEPTH] for query, listed in by_bits.items()}
    for count in candidates:
        yield f"binary, {count} rescored by the bits", bits[0].nbytes, rescored(count, bits)
        yield f"binary, {count} rescored by int8", bits[0].nbytes + small[0].nbytes, rescored(count, small)


def signs(vectors: np.ndarray) -> np.ndarray:
    return np.where(vectors > 0, np.float32(1), np.float32(-1))


def ndcg(data: RetrievalDataset, ranking: Ranking) -> Metric:
    relevant = {query: data.relevant[query] for query in data.queries}
    return Metric(name="nDCG@10", values=score(ranking, relevant, ("ndcg_cut_10",))["ndcg_cut_10"])


if __name__ == "__main__":
    main()
