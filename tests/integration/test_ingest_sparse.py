"""`ingest` and sparse models: refused alone with the way, and known beside a dense model in a hybrid store."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")
pytest.importorskip("scipy", reason="SciPy is not installed (the extra `sparse`)")
pytest.importorskip("langchain_qdrant", reason="langchain-qdrant is not installed")

import langchain_qdrant
from qdrant_client import QdrantClient, models

from intel_quantized_embeddings import IntelQuantizedEmbeddings
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.errors import OtherEncoderError, UnsupportedModelError
from intel_quantized_embeddings.ingestion import ingest
from intel_quantized_embeddings.integrations.langchain_qdrant import IntelQuantizedSparseEmbeddings
from support.ingestion import RIVER, write_small_docs
from support.tiny_models import write_tiny_sparse, write_tiny_sparse_router


@pytest.fixture
def docs(tmp_path):
    return write_small_docs(tmp_path / "docs")


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    return write_tiny_sparse(tmp_path_factory.mktemp("sparse") / "model")


@pytest.fixture
def hybrid(tiny_int8):
    """Makes a store of one client for a sparse model and how many of its weights are kept."""
    client, dense = QdrantClient(":memory:"), IntelQuantizedEmbeddings(model=tiny_int8)
    client.create_collection(
        "docs",
        models.VectorParams(size=dense.encoder.dimension, distance=models.Distance.COSINE),
        sparse_vectors_config={"langchain-sparse": models.SparseVectorParams()},
    )

    def make(model, **options):
        return langchain_qdrant.QdrantVectorStore(
            client,
            "docs",
            embedding=dense,
            sparse_embedding=IntelQuantizedSparseEmbeddings(model=model, **options),
            retrieval_mode=langchain_qdrant.RetrievalMode.HYBRID,
        )

    return make


@pytest.mark.parametrize("write", [write_tiny_sparse, write_tiny_sparse_router])
def test_the_command_refuses_a_sparse_model_and_names_the_way(write, docs, tmp_path, capsys):
    folder = write(tmp_path / "model")
    arguments = ["ingest", docs, "--chroma", tmp_path / "chroma", "--collection", "docs", "--model", folder, "--json"]
    assert main(list(map(str, arguments))) == 2
    told = json.loads(capsys.readouterr().out)["error"]
    assert told["type"] == "UnsupportedModelError"
    assert f"{folder} is a sparse model" in told["message"]
    assert "sparse_embedding=IntelQuantizedSparseEmbeddings(...), as docs/sparse.md shows" in told["message"]
    assert not (tmp_path / "chroma").exists()


def test_a_store_of_one_is_refused_too(sparse, docs, tmp_path):
    from langchain_core.vectorstores import InMemoryVectorStore

    store = InMemoryVectorStore(IntelQuantizedEmbeddings(model=sparse))
    with pytest.raises(UnsupportedModelError, match=r"langchain-qdrant's hybrid mode"):
        ingest([docs], store=store, ledger=tmp_path / "ledger")


def test_a_hybrid_store_gets_both_vectors_and_knows_both_models(hybrid, sparse, docs, tmp_path):
    ledger = tmp_path / "ledger"
    store = hybrid(sparse)
    first = ingest([docs], store=store, ledger=ledger)
    assert first.added > 0
    encoder = store.sparse_embeddings.encoder
    assert first.encoder == f"{store.embeddings.encoder.fingerprint}+{encoder.fingerprint}"
    points, _ = store.client.scroll("docs", limit=100, with_vectors=True)
    assert len(points) == first.added
    assert all(set(point.vector) == {"", "langchain-sparse"} for point in points)
    assert store.similarity_search(RIVER, k=1)
    assert ingest([docs], store=hybrid(sparse), ledger=ledger).unchanged == first.added


@pytest.mark.parametrize("change", ["model", "kept"])
def test_another_sparse_model_is_another_encoder(hybrid, sparse, docs, tmp_path, change):
    ledger = tmp_path / "ledger"
    ingest([docs], store=hybrid(sparse), ledger=ledger)
    other = hybrid(sparse, max_active_dims=9)
    if change == "model":
        other = hybrid(write_tiny_sparse(tmp_path / "other", seed=3))
    with pytest.raises(OtherEncoderError):
        ingest([docs], store=other, ledger=ledger)
    assert ingest([docs], store=other, ledger=ledger, reindex=True).added > 0
