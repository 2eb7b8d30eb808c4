"""Search a folder of texts: int8 embeddings, LlamaIndex, Chroma.

    python examples/llama_index_chroma_rag.py
    python examples/llama_index_chroma_rag.py --docs ~/notes --question "When is the rent due?"

A retriever only, so no chat model is needed; `index.as_query_engine(llm=...)` is one line further.
Needs `pip install -e '.[examples]'`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

try:
    from llama_index.core import VectorStoreIndex
    from llama_index.core.ingestion import IngestionPipeline
    from llama_index.core.schema import TextNode
    from llama_index.vector_stores.chroma import ChromaVectorStore

    import rag_steps as steps
    from intel_quantized_embeddings import IntelQuantizedEmbedding
except ImportError as exc:
    sys.exit(f"error: {exc}. The examples need: pip install -e '.[examples]'")

if TYPE_CHECKING:
    from corpus import Entry

PASSAGES = 3


def rag(options: argparse.Namespace) -> None:
    """Quantize, embed, ask."""
    folder = steps.int8_folder(options.model, options.data)
    index = filled_index(IntelQuantizedEmbedding(model_name=str(folder)), options)
    retriever = index.as_retriever(similarity_top_k=PASSAGES)
    steps.heading("Answers (source, similarity)")
    for question in options.question or steps.QUESTIONS:
        print(f"\n{question}")
        for rank, found in enumerate(retriever.retrieve(question), start=1):
            # LlamaIndex scores Chroma's passages with e to the minus (1 - cosine).
            similarity = 1 + math.log(found.get_score())
            steps.show_passage(rank, similarity, found.metadata["source"], found.text)


def filled_index(embedding: IntelQuantizedEmbedding, options: argparse.Namespace) -> VectorStoreIndex:
    """Open the collection as an index and add the documents that it does not hold yet."""
    entries = steps.corpus_entries(options.docs, options.data)
    name = steps.collection_name("llama_index", options.docs)
    client, collection = steps.open_collection(options.data, name, encoder=embedding.encoder, fresh=options.fresh)
    store = ChromaVectorStore(chroma_collection=collection)
    # Without the pipeline's own cache, which would keep every vector twice.
    pipeline = IngestionPipeline(transformations=[embedding], vector_store=store, disable_cache=True)

    def add(entries: Sequence[Entry]) -> None:
        # Of an id that is there, LlamaIndex's Chroma store reports success and keeps the old text and vector.
        collection.delete(ids=[e.id for e in entries])
        # LlamaIndex puts the metadata before the text it embeds: here, the source.
        pipeline.run(nodes=[TextNode(id_=e.id, text=e.text, metadata={"source": e.source}) for e in entries])

    steps.fill(client, collection, entries, add)
    return VectorStoreIndex.from_vector_store(store, embed_model=embedding)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    options = steps.parser("Search a folder of texts: int8 embeddings, LlamaIndex, Chroma.")
    return steps.run(rag, options.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
