"""Code as users write it. Never run: mypy must accept it, and see the types that are promised."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from chromadb.api import ClientAPI
from haystack import Pipeline
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from numpy.typing import NDArray

import intel_quantized_embeddings
from intel_quantized_embeddings import (
    CrossEncoder,
    Encoder,
    IntelQuantizedEmbedding,
    IntelQuantizedEmbeddings,
    IntelQuantizedRerank,
    IntelQuantizedReranker,
    QuantizationReport,
    Reranker,
    SparseEncoder,
    SparseReport,
    push_to_hub,
    quantize,
    quantize_cross_encoder,
    quantize_sparse,
)
from intel_quantized_embeddings.errors import MissingExtraError, QuantizedEmbeddingsError
from intel_quantized_embeddings.ingestion import ingest, query
from intel_quantized_embeddings.integrations.chroma import IntelQuantizedEmbeddingFunction
from intel_quantized_embeddings.integrations.chroma_collections import open_collection
from intel_quantized_embeddings.integrations.haystack import IntelQuantizedDocumentEmbedder, IntelQuantizedRanker
from intel_quantized_embeddings.integrations.ray import EmbedDocuments
from intel_quantized_embeddings.integrations.retired_langchain import QuantizedBiEncoderEmbeddings
from intel_quantized_embeddings.integrations.retired_llama_index import IntelEmbedding

if sys.version_info >= (3, 11):
    from typing import assert_type
else:
    from typing_extensions import assert_type


def sparse() -> None:
    encoder = SparseEncoder.load(Path("folder"), runtime="native", query_instruction="query: ")
    vectors = encoder.encode_documents(["a text"], max_active_dims=64)
    assert_type(encoder.decode(vectors, top_k=3), list[list[tuple[str, float]]])
    assert_type(quantize_sparse("model", Path("folder"), measure=False), SparseReport)


def encode() -> None:
    encoder = Encoder.load()
    encoder = Encoder.load(
        Path("folder"),
        runtime="openvino",
        precision="fp32",
        revision="main",
        cache_folder=Path("cache"),
        local_files_only=True,
        num_threads=2,
        pooling="cls",
        normalize=True,
        max_length=256,
        query_instruction="query: ",
        document_instruction="",
        warm_shapes=False,
    )
    assert_type(encoder, Encoder)
    assert_type(encoder.encode_documents(["one", "two"], show_progress=True), NDArray[np.float32])
    assert_type(encoder.encode_queries(text for text in ("one", "two")), NDArray[np.float32])
    assert_type(encoder.encode(["one"], instruction="cluster: "), NDArray[np.float32])
    assert_type(encoder.dimension, int)
    assert_type(encoder.max_length, int)
    assert_type(encoder.fingerprint, str)


def quantize_then_load() -> None:
    report = quantize("BAAI/bge-small-en-v1.5", "bge-small-int8", calibration_texts=["one", "two"])
    assert_type(report, QuantizationReport)
    assert_type(report.folder, Path)
    assert_type(Encoder.load(report.folder), Encoder)
    assert_type(push_to_hub(report.folder, "me/bge-small-int8", private=True), str)


async def use_langchain() -> None:
    embeddings: Embeddings = IntelQuantizedEmbeddings()
    embeddings = IntelQuantizedEmbeddings(model=Path("folder"), precision="int8", show_progress=True)
    assert_type(embeddings.embed_documents(["one"]), list[list[float]])
    assert_type(embeddings.embed_query("one"), list[float])
    assert_type(await embeddings.aembed_documents(["one"]), list[list[float]])
    assert_type(await embeddings.aembed_query("one"), list[float])
    assert_type(embeddings.encoder, Encoder)
    embeddings.warm_up()


async def use_llama_index() -> None:
    embedding: BaseEmbedding = IntelQuantizedEmbedding()
    embedding = IntelQuantizedEmbedding(model_name="folder", precision="int8", num_threads=2, embed_batch_size=64)
    assert_type(embedding.get_query_embedding("one"), list[float])
    assert_type(embedding.get_text_embedding_batch(["one"]), list[list[float]])
    assert_type(await embedding.aget_query_embedding("one"), list[float])
    assert_type(await embedding.aget_text_embedding_batch(["one"]), list[list[float]])
    assert_type(embedding.encoder, Encoder)
    embedding.warm_up()


async def rerank() -> None:
    report = quantize_cross_encoder("BAAI/bge-reranker-base", "bge-reranker-int8", calibration_texts=["one", "two"])
    assert report.fidelity is not None  # None with measure=False
    assert_type(report.fidelity.rank_correlation, float)
    cross_encoder = CrossEncoder.load(report.folder, precision="int8", max_length=256)
    assert_type(cross_encoder.score([("query", "document")]), NDArray[np.float32])
    reranker = Reranker.load(Path("folder"), query_instruction="query: ")
    reranker = Reranker(cross_encoder)
    assert_type(reranker.score("query", ["one", "two"]), NDArray[np.float32])
    assert_type(reranker.rank("query", ["one", "two"], top_n=1)[0].index, int)
    compressor: BaseDocumentCompressor = IntelQuantizedReranker(model=Path("folder"), top_n=5)
    await compressor.acompress_documents([Document(page_content="one")], "query")
    postprocessor: BaseNodePostprocessor = IntelQuantizedRerank(model="folder", top_n=None, num_threads=2)
    await postprocessor.apostprocess_nodes([], query_str="query")


def use_chroma(client: ClientAPI) -> None:
    function = IntelQuantizedEmbeddingFunction(Path("folder"), precision="int8", num_threads=2, fingerprint="f")
    client.create_collection("docs", embedding_function=function)  # type: ignore[arg-type]  # Chroma's own are too
    assert_type(function.encoder, Encoder)
    function.warm_up()


def use_haystack(pipeline: Pipeline) -> None:
    embedder = IntelQuantizedDocumentEmbedder(Path("folder"), meta_fields_to_embed=["title"], num_threads=2)
    pipeline.add_component("embedder", embedder)
    pipeline.add_component("ranker", IntelQuantizedRanker(precision="fp32", top_k=3, score_threshold=0.5))
    assert_type(embedder.encoder, Encoder)


def use_ray() -> None:
    embed = EmbedDocuments(Path("folder"), text_column="body", fingerprint="f", num_threads=2, max_length=256)
    embed({"body": np.array(["one"])})["vector"]
    assert_type(embed.encoder, Encoder)


def bring_files_into_chroma(client: ClientAPI, encoder: Encoder) -> None:
    report = ingest([Path("docs"), "notes.jsonl"], chroma="folder", collection="docs", model="m", precision="int8")
    assert_type(report.added, int)
    assert_type([problem.place for problem in report.problems], list[str])
    assert_type([passage.text for passage in query("one", chroma="folder", collection="docs", k=3)], list[str])
    assert_type(open_collection(client, "docs", encoder=encoder).count(), int)


def bring_files_into_any_store(store: VectorStore) -> None:
    report = ingest(["docs"], store=store, ledger=Path("docs.ledger"), save=lambda store: store.embeddings)
    assert_type(report.ledger, str | None)


def keep_the_old_names() -> None:
    embeddings: IntelQuantizedEmbeddings = QuantizedBiEncoderEmbeddings("folder", max_seq_len=256, runtime="openvino")
    assert_type(embeddings.embed_query("one"), list[float])
    embedding: IntelQuantizedEmbedding = IntelEmbedding("folder", pooling="cls", text_instruction="passage:")
    assert_type(embedding.get_query_embedding("one"), list[float])


def misspell() -> None:
    # An unused ignore is an error, so these fail if mypy stops seeing the misspelling.
    Encoder.load(precison="int8")  # type: ignore[call-arg]  # must be refused
    IntelQuantizedEmbeddings(precison="int8")  # type: ignore[call-arg]  # must be refused
    IntelQuantizedEmbedding(precison="int8")  # type: ignore[call-arg]  # must be refused
    IntelQuantizedReranker(model="m", top_k=3)  # type: ignore[call-arg]  # must be refused
    Reranker.load("m", top_n=3)  # type: ignore[call-arg]  # must be refused
    IntelQuantizedRanker(precison="int8")  # type: ignore[call-arg]  # must be refused
    EmbedDocuments(precison="int8")  # type: ignore[call-arg]  # must be refused
    ingest(["docs"], chroma="folder", collection="docs", precison="int8")  # type: ignore[call-arg]  # must be refused
    IntelQuantizedEmbeddingFunction(precison="int8")  # type: ignore[call-arg]  # must be refused


def handle_errors() -> str:
    try:
        Encoder.load("no/such-model")
    except MissingExtraError as error:
        assert_type(error.extra, str)
        return error.extra
    except QuantizedEmbeddingsError as error:
        return str(error)
    return assert_type(intel_quantized_embeddings.__version__, str)
