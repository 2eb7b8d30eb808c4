"""EmbeddingGemma 2 in fp32 against vectors of transformers 5.24, stored because no environment of the tests has it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from intel_quantized_embeddings.architectures.embedding_gemma2 import EMBEDDING_GEMMA2
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.options import Pooling, Precision, RuntimeName
from intel_quantized_embeddings.runtimes.base import RaggedRuntime
from intel_quantized_embeddings.runtimes.building import build_embedder
from intel_quantized_embeddings.runtimes.table import runtime_module
from support.tiny_models import write_tiny_model

# make_embedding_gemma2_vectors.py writes it.
STORED = json.loads(Path(__file__).with_name("embedding_gemma2_vectors.json").read_text("utf-8"))
EXPECTED = np.array(STORED["vectors"])


@pytest.mark.parametrize("name", [RuntimeName.NATIVE, RuntimeName.OPENVINO], ids=lambda name: name.value)
def test_vectors_are_those_of_transformers(tmp_path, name):
    """At lengths around a window, with its reach to both sides, and of the longest text."""
    found = _vectors(write_tiny_model(tmp_path / "model", family=EMBEDDING_GEMMA2), name)
    assert np.abs(found - EXPECTED).max() <= 1e-5  # of numbers up to 4
    sizes = np.linalg.norm(found, axis=1) * np.linalg.norm(EXPECTED, axis=1)
    assert ((found * EXPECTED).sum(axis=1) / sizes).min() >= 1 - 2e-6


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("sliding_window", 5), ("sliding_window", 7), ("rms_norm_eps", 1e-2), ("hidden_activation", "silu")),
        ("rope_parameters", {"full_attention": {"rope_theta": 10_000.0}}),
        ("rope_parameters", {"sliding_attention": {"rope_theta": 1_000_000.0}}),
    ],
)
def test_another_model_has_other_vectors(tmp_path, key, value):
    """So that the stored ones tell them apart."""
    folder = write_tiny_model(tmp_path / "model", family=EMBEDDING_GEMMA2)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    assert np.abs(_vectors(folder, RuntimeName.NATIVE) - EXPECTED).max() > 1e-3


def _vectors(folder: Path, name: RuntimeName) -> np.ndarray:
    settings = ModelSettings(
        pooling=Pooling.MEAN, normalize=False, max_length=64, query_instruction="", document_instruction=""
    )
    graph = build_embedder(SourceModel(path=folder, name="tiny", revision=None), settings, runtime=name).graph
    compiled = runtime_module(name).compile_graph(graph, precision=Precision.FP32)
    texts = STORED["token_ids"]
    if isinstance(compiled, RaggedRuntime):
        return compiled.run_ragged(texts)
    ids, mask = (np.zeros((len(texts), max(map(len, texts))), dtype=np.int64) for _ in range(2))
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    return compiled.run(ids, mask)
