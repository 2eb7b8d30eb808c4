"""What holds of every family of encoders, on both runtimes that run them all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.architectures.description import Architecture
from intel_quantized_embeddings.architectures.table import ARCHITECTURES
from support.each_runtime import TEXTS
from support.few_texts import FEW
from support.tiny_models import HIDDEN, INNER, OUTPUT, RECALLED, write_tiny_model


@pytest.fixture(scope="module", params=ARCHITECTURES, ids=lambda family: family.name)
def family(request) -> Architecture:
    return request.param


@pytest.fixture(scope="module")
def model(family, tmp_path_factory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp(family.name) / "model", family=family)


@pytest.fixture(scope="module")
def fp32(model) -> np.ndarray:
    return Encoder.load(model, precision="fp32").encode_documents(TEXTS)


def test_both_runtimes_compute_the_same(model, fp32):
    openvino = Encoder.load(model, runtime="openvino", precision="fp32").encode_documents(TEXTS)
    assert np.abs(openvino - fp32).max() <= 2e-6


def test_int8_keeps_the_directions(model, fp32, tmp_path):
    """By the engine, without data: in the folder, and with the fidelity that it reports."""
    report = quantize(model, tmp_path / "int8", runtime="native")
    assert report.fidelity.documents.mean >= 0.999
    vectors = Encoder.load(tmp_path / "int8").encode_documents(TEXTS)
    assert (vectors * fp32).sum(axis=1).min() >= 0.997
    alone = [Encoder.load(tmp_path / "int8").encode_documents([text])[0] for text in TEXTS[:3]]
    assert np.array_equal(alone, vectors[:3])


def test_int8_bears_channels_far_larger_than_the_others(family, model, fp32, tmp_path):
    """Values, and what gates are multiplied with: some 30 to 100 times as large, and scaled back behind them."""
    scaled = tmp_path / "scaled"
    write_tiny_model(scaled, family=family)
    tensors = {name: array.copy() for name, array in load_file(model / "model.safetensors").items()}
    _scale(tensors, family, np.random.default_rng(0))
    save_file(tensors, scaled / "model.safetensors")
    same = Encoder.load(scaled, precision="fp32").encode_documents(TEXTS)
    assert (same * fp32).sum(axis=1).min() > 0.99999
    int8 = Encoder.load(scaled, precision="int8", cache_folder=tmp_path / "cache").encode_documents(TEXTS)
    assert (int8 * fp32).sum(axis=1).min() >= 0.995
    # What OpenVINO's int8 is where one range can't hold them; tests/integration/test_weight_only.py has the choice.
    quantize(scaled, tmp_path / "weights", runtime="openvino", method="weight-only", **FEW)
    int8 = Encoder.load(tmp_path / "weights").encode_documents(TEXTS)
    assert (int8 * fp32).sum(axis=1).min() >= 0.995


def _scale(tensors, family, random):
    names = family.weights
    if names.recall is not None:  # the norm that all layers' inputs from the embeddings go through
        channels = random.choice(RECALLED, 3, replace=False)
        times = random.uniform(30, 100, 3).astype(np.float32)
        tensors[f"{names.recall.input_norm}.weight"][channels] *= times
        for index in range(2):
            tensors[f"{names.layer.format(index)}{names.recall.output}.weight"][:, channels] /= times
    for index in range(2):
        at = names.layer.format(index)
        if not family.block.value_norm:  # which makes channels of values of one size again
            _scale_values(tensors, family, at, random)
        if not family.block.gated:
            continue
        channels = random.choice(INNER, 4, replace=False)
        times = random.uniform(30, 100, 4).astype(np.float32)
        behind = INNER if names.gate_and_intermediate and names.gate_first else 0
        _multiply(tensors, f"{at}{names.gate_and_intermediate or names.intermediate}", behind + channels, times)
        tensors[f"{at}{names.output}.weight"][:, channels] /= times


def _scale_values(tensors, family, at, random):
    names = family.weights
    grouped = family.keys.num_key_heads is not None
    head, queries, keys = (16, 4, 2) if grouped else (8, 4, 4)
    width = keys * head
    channels = random.choice(width, 3, replace=False)
    times = random.uniform(30, 100, 3).astype(np.float32)
    value, rows = (names.qkv, (queries + keys) * head + channels) if names.qkv else (names.value, channels)
    _multiply(tensors, f"{at}{value}", rows, times)
    for query in range(queries):  # each reads the values of one head
        own = channels // head == query * keys // queries
        columns = query * head + channels[own] % head
        tensors[f"{at}{names.attention_output}.weight"][:, columns] /= times[own]


def _multiply(tensors, name, rows, times):
    tensors[f"{name}.weight"][rows] *= times[:, None]
    if f"{name}.bias" in tensors:
        tensors[f"{name}.bias"][rows] *= times


def test_the_dimension_and_the_longest_text_are_the_models(family, model):
    encoder = Encoder.load(model, precision="fp32")
    assert (encoder.dimension, encoder.max_length) == (OUTPUT if family.keys.output_size else HIDDEN, 64)
