"""The engine's promise: the same model gives the same bits on every CPU, in every company, with any number of threads.

`native_bits.json` holds a hash of the vectors of each model here. To write it anew after a change that is meant to move
vectors: `IQE_WRITE_BITS=1 pytest tests/numerics/test_native_bits.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intel_quantized_embeddings.architectures import Activation, Ending
from intel_quantized_embeddings.architectures.table import ARCHITECTURES
from intel_quantized_embeddings.encoders.loading import load_model
from intel_quantized_embeddings.int8_folder.config import MethodName
from intel_quantized_embeddings.options import LoadOptions, Pooling, Precision
from intel_quantized_embeddings.quantization.kinds import CROSS_ENCODER, EMBEDDER
from intel_quantized_embeddings.quantization.native import quantize_graph
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.runtimes.base import ModelGraph
from intel_quantized_embeddings.runtimes.native import NativeRuntime
from intel_quantized_embeddings.runtimes.native_graph import native_graph
from intel_quantized_embeddings.runtimes.native_library import instruction_sets
from support.tiny_models import random_encoder, write_tiny_model

STORED = Path(__file__).with_name("native_bits.json")
EMBEDDERS = [f"tiny-{pooling.value}-{precision}" for pooling in Pooling for precision in ("int8", "fp32")]
FAMILIES = {f"family-{one.name}": one for one in ARCHITECTURES}
MODELS = [
    *EMBEDDERS,
    *(f"{family}-{precision}" for family in FAMILIES for precision in ("int8", "fp32")),
    "tiny-cross-encoder-int8",
    "tiny-cross-encoder-fp32",
    "minilm-int8",
    "minilm-fp32",
]


def _texts(vocabulary: int) -> list[list[int]]:
    """Token ids of texts of every length up to two blocks of sixteen, and of some beyond."""
    random = np.random.default_rng(7)
    lengths = [*range(1, 34), 47, 48, 49, 95, 96, 97, 120]
    return [random.integers(0, vocabulary, length).tolist() for length in lengths]


@pytest.fixture(scope="module")
def graph_of(tmp_path_factory, tiny, tiny_cross_encoder, minilm):
    """Make the graph of one of `MODELS`, and its texts."""

    def made(name: str):
        if name.startswith("minilm"):
            folder, kind, precision, pooling = minilm, EMBEDDER, name.partition("-")[2], None
        elif name.startswith("family"):
            family, _, precision = name.rpartition("-")
            folder = write_tiny_model(tmp_path_factory.mktemp(family), family=FAMILIES[family])
            kind, pooling = EMBEDDER, None
        elif "cross" in name:
            folder, kind, precision, pooling = tiny_cross_encoder, CROSS_ENCODER, name.rpartition("-")[2], None
        else:
            _, pooling, precision = name.split("-")
            folder, kind = tiny, EMBEDDER
        options = LoadOptions(model=folder, runtime="native", precision=precision, pooling=pooling)
        graph = load_model(options, kind).graph
        texts = _texts(graph.shape.vocabulary)
        return graph, texts[::6] if name.startswith("minilm") else texts

    return made


@pytest.mark.parametrize("name", MODELS)
def test_every_instruction_set_gives_the_stored_bits(graph_of, name):
    graph, texts = graph_of(name)
    hashes = {
        instructions: hashlib.sha256(NativeRuntime(graph, instruction_set=instructions).run_ragged(texts)).hexdigest()
        for instructions in instruction_sets()
    }
    assert len(set(hashes.values())) == 1, hashes
    stored = json.loads(STORED.read_text()) if STORED.is_file() else {}
    if os.environ.get("IQE_WRITE_BITS") == "1":
        stored[name] = hashes["scalar"]
        STORED.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n")
    assert hashes["scalar"] == stored[name]


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FP32], ids=lambda precision: precision.value)
@pytest.mark.parametrize("pooling", Pooling, ids=lambda pooling: pooling.value)
def test_a_text_has_one_vector_in_any_company_and_with_any_threads(graph_of, pooling, precision):
    graph, texts = graph_of(f"tiny-{pooling.value}-{precision.value}")
    runtimes = {threads: NativeRuntime(graph, num_threads=threads) for threads in (1, 2, 3, 7)}
    alone = np.concatenate([runtimes[1].run_ragged([text]) for text in texts])

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=80), st.sampled_from(list(runtimes)))
    def check(chosen, threads):
        rows = runtimes[threads].run_ragged([texts[place] for place in chosen])
        assert np.array_equal(rows, alone[chosen])

    check()


@pytest.mark.parametrize("activation", Activation, ids=lambda activation: activation.value)
@pytest.mark.parametrize(("hidden", "heads", "inner"), [(40, 2, 37), (64, 1, 16), (24, 6, 200)], ids=str)
def test_any_width_and_activation_has_the_same_bits_everywhere(hidden, heads, inner, activation):
    """Widths that are no multiple of sixteen are padded with zeros."""
    encoder, weights = random_encoder(hidden=hidden, heads=heads, inner=inner, activation=activation)
    ending = Ending.plain(Pooling.MEAN, normalize=True)
    fp32 = native_graph(encoder, weights, ending)
    model = ModelGraph(graph=fp32, precision=Precision.FP32, max_positions=encoder.max_length, pad_token_id=0)
    int8 = quantize_graph(model, [[1, 2]], Recipe(method=MethodName.PER_TOKEN))
    texts = _texts(encoder.vocab_size)
    vectors = []
    for graph in (fp32, int8):
        rows = [NativeRuntime(graph, instruction_set=name).run_ragged(texts) for name in instruction_sets()]
        assert all(np.array_equal(rows[0], others) for others in rows)
        vectors.append(rows[0])
    assert (vectors[0] * vectors[1]).sum(axis=1).mean() > 0.99


@pytest.mark.parametrize("reach", [(7, 7), (40, 3), (1000, 0)], ids=str)
def test_attention_in_whole_numbers_sees_what_attention_in_floats_sees(reach):
    """Texts of 24 tokens and more have it in int8; windows cut through blocks of sixteen keys."""
    encoder, weights = random_encoder(hidden=64, heads=2, inner=64, activation=Activation.GELU)
    plain = native_graph(encoder, weights, Ending.plain(Pooling.MEAN, normalize=True))
    reaches = np.array([reach] * encoder.num_layers, dtype=np.int32)
    texts = [text for text in _texts(encoder.vocab_size) if len(text) >= 24]
    vectors = {}
    for name, arrays in (("all", plain.arrays), ("some", {**plain.arrays, "layers.reaches": reaches})):
        fp32 = replace(plain, arrays=arrays)
        model = ModelGraph(graph=fp32, precision=Precision.FP32, max_positions=encoder.max_length, pad_token_id=0)
        int8 = quantize_graph(model, [[1, 2]], Recipe(method=MethodName.PER_TOKEN))
        rows = [NativeRuntime(int8, instruction_set=isa).run_ragged(texts) for isa in instruction_sets()]
        assert all(np.array_equal(rows[0], others) for others in rows)
        vectors[name, "fp32"], vectors[name, "int8"] = NativeRuntime(fp32).run_ragged(texts), rows[0]
    lost = 1 - (vectors["some", "fp32"] * vectors["some", "int8"]).sum(axis=1).min()
    assert lost < 0.005
    assert 1 - (vectors["some", "fp32"] * vectors["all", "fp32"]).sum(axis=1).max() > 2 * lost
