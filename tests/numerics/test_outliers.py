"""int8 of models with channels far larger than the others, which fp32 does not notice: they must not spoil the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.quantization.calibration import built_in_texts

LAYERS, CHANNELS, SCALED = 6, 384, 8
ATTENTION = "encoder.layer.{layer}.attention"


@pytest.fixture(scope="module")
def outliers(minilm, tmp_path_factory) -> Path:
    """all-MiniLM-L6-v2 with channels of values and queries 30 to 100 times as large, and scaled back behind them."""
    folder = tmp_path_factory.mktemp("outliers") / "model"
    shutil.copytree(find_model(minilm).path, folder)
    weights = {name: array.copy() for name, array in load_file(folder / "model.safetensors").items()}
    random = np.random.default_rng(0)
    for layer in range(LAYERS):
        attention = ATTENTION.format(layer=layer)
        for grown, shrunk in (("self.value", "output.dense"), ("self.query", "self.key")):
            channels = random.choice(CHANNELS, SCALED, replace=False)
            times = random.uniform(30, 100, SCALED).astype(np.float32)
            weights[f"{attention}.{grown}.weight"][channels] *= times[:, None]
            weights[f"{attention}.{grown}.bias"][channels] *= times
            if shrunk == "output.dense":  # which reads the values as its inputs
                weights[f"{attention}.{shrunk}.weight"][:, channels] /= times
            else:  # which meets the queries channel by channel
                weights[f"{attention}.{shrunk}.weight"][channels] /= times[:, None]
                weights[f"{attention}.{shrunk}.bias"][channels] /= times
    save_file(weights, folder / "model.safetensors")
    return folder


def test_native_int8_keeps_them_and_all_else(minilm, outliers, slow_run):
    count = 60 if slow_run else 20
    texts = [*built_in_texts().documents[:count], *built_in_texts().queries[:count]]
    as_published = Encoder.load(minilm, runtime="native", precision="fp32").encode_documents(texts)
    fp32 = Encoder.load(outliers, runtime="native", precision="fp32").encode_documents(texts)
    assert (as_published * fp32).sum(axis=1).min() > 0.99999
    int8 = Encoder.load(outliers, runtime="native").encode_documents(texts)
    cosines = (int8 * fp32).sum(axis=1)
    assert cosines.mean() >= 0.998
    assert cosines.min() >= 0.995


@pytest.mark.slow
def test_openvino_keeps_weights_alone_in_int8_where_static_would_spoil_them(minilm, outliers, tmp_path):
    """And all-MiniLM-L6-v2 as it was published stays static."""
    spoilt = quantize(outliers, tmp_path / "outliers", runtime="openvino", search=False)
    assert spoilt.method == "weight-only"
    assert spoilt.fidelity.score >= 0.999
    assert quantize(minilm, tmp_path / "published", runtime="openvino", search=False).method == "static"
