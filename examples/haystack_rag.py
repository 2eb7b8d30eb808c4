"""Find passages with an int8 model and rerank them with another: Haystack, in memory.

    python examples/haystack_rag.py
    python examples/haystack_rag.py --docs ~/notes --question "When is the rent due?"
    python examples/haystack_rag.py --model BAAI/bge-small-en-v1.5 --reranker BAAI/bge-base-en-v1.5 --precision int8

The reranker is the same model in fp32 unless another is named: that shows the pipeline, and changes little. The
documents are embedded in every run; only the int8 model is kept, in .demo. Haystack reports its use over the network
unless told not to: this example tells it, with HAYSTACK_TELEMETRY_ENABLED.
Needs `pip install -e '.[examples,haystack]'`, and no network once the models are here.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")  # read when Haystack is imported

try:
    from haystack import Document, Pipeline
    from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
    from haystack.components.writers import DocumentWriter
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    import rag_steps as steps
    from intel_quantized_embeddings.int8_folder.manifest import Manifest
    from intel_quantized_embeddings.integrations.haystack import (
        IntelQuantizedDocumentEmbedder,
        IntelQuantizedRanker,
        IntelQuantizedTextEmbedder,
    )
    from intel_quantized_embeddings.similarity import Similarity
except ImportError as exc:
    sys.exit(f"error: {exc}. This example needs: pip install -e '.[examples,haystack]'")

if TYPE_CHECKING:
    from pathlib import Path

FOUND, PASSAGES = 20, 3
# The source is embedded with the text, and a document's fields are joined as the other examples join them.
FIELDS, SEPARATOR = ["source"], "\n\n"


def rag(options: argparse.Namespace) -> None:
    """Quantize, embed, find, rerank."""
    folder = steps.int8_folder(options.model, options.data)
    by_product = Manifest.read(folder).settings.similarity is Similarity.DOT
    store = InMemoryDocumentStore(embedding_similarity_function="dot_product" if by_product else "cosine")
    searching = searching_pipeline(folder, store, options)
    searching.warm_up()  # so that a reranker that is not there is told before any work is done
    index(folder, store, options.docs)
    steps.heading(f"Answers (source, similarity to the reranker, place among the first {FOUND})")
    for question in options.question or steps.QUESTIONS:
        ask(searching, question)


def index(folder: Path, store: InMemoryDocumentStore, docs: Path | None) -> None:
    """Embed the corpus into the store."""
    entries = steps.corpus_entries(docs)
    embedder = IntelQuantizedDocumentEmbedder(
        folder, meta_fields_to_embed=FIELDS, embedding_separator=SEPARATOR, progress_bar=sys.stderr.isatty()
    )
    indexing = Pipeline()
    indexing.add_component("embedder", embedder)
    indexing.add_component("writer", DocumentWriter(store))
    indexing.connect("embedder", "writer")
    documents = [Document(id=e.id, content=e.text, meta={"source": e.source}) for e in entries]
    started = time.perf_counter()
    indexing.run({"embedder": {"documents": documents}})
    seconds = time.perf_counter() - started
    steps.say(
        f"embedded and stored {len(entries):,} in {seconds:.1f} s: {len(entries) / seconds:,.0f} documents a second"
    )


def searching_pipeline(folder: Path, store: InMemoryDocumentStore, options: argparse.Namespace) -> Pipeline:
    """Embed a question, find what is near, sort it with the reranker."""
    ranker = IntelQuantizedRanker(
        options.reranker or options.model,
        runtime="openvino" if options.precision == "bf16" else None,  # which the default one does not have
        precision=options.precision,
        top_k=PASSAGES,
        meta_fields_to_embed=FIELDS,
        embedding_separator=SEPARATOR,
    )
    searching = Pipeline()
    searching.add_component("embedder", IntelQuantizedTextEmbedder(folder))
    searching.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=FOUND))
    searching.add_component("ranker", ranker)
    searching.connect("embedder.embedding", "retriever.query_embedding")
    searching.connect("retriever", "ranker")
    return searching


def ask(searching: Pipeline, question: str) -> None:
    """Print the passages that the reranker puts first, with the places that they were found at."""
    given = {"embedder": {"text": question}, "ranker": {"query": question}}
    answer = searching.run(given, include_outputs_from={"retriever"})
    places = {document.id: place for place, document in enumerate(answer["retriever"]["documents"], 1)}
    print(f"\n{question}")
    for rank, document in enumerate(answer["ranker"]["documents"], 1):
        source = f"{document.meta['source']} (found at {places[document.id]})"
        steps.show_passage(rank, document.score, source, document.content)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    options = steps.parser("Search a folder of texts: int8 embeddings, Haystack, a reranker.", keeps_vectors=False)
    options.add_argument("--reranker", metavar="MODEL", help="what sorts the passages (the model itself)")
    options.add_argument(
        "--precision", default="fp32", help="of the reranker: int8, fp32, or bf16 with the extra openvino (%(default)s)"
    )
    return steps.run(rag, options.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
