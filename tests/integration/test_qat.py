"""Quantization-aware training: what is learned, what is recorded, and what is refused."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.errors import MissingExtraError, OptionError, QuantizationError
from intel_quantized_embeddings.int8_folder.config import QuantizationConfig
from intel_quantized_embeddings.int8_folder.manifest import Manifest

pytestmark = pytest.mark.ipex

TEXTS = ["How do I reset it?", "The museum opens at nine.", "Ein Satz auf Deutsch."]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["openvino", "ipex"])
def test_training_beats_static_and_says_by_how_much(minilm, runtime, tmp_path, monkeypatch):
    """On a real model: the weights of a random one have nothing to gain."""
    pytest.importorskip("torch", reason="torch is not installed (the ipex extra)")
    if runtime == "ipex":
        pytest.importorskip("intel_extension_for_pytorch", reason="the ipex extra is not installed")
    from intel_quantized_embeddings.quantization import qat

    monkeypatch.setattr(qat, "MOST_STEPS", 40)  # a third of the time, and most of what there is to gain
    lines: list[str] = []
    report = quantize(
        minilm, tmp_path / "qat", runtime=runtime, search=False, method="qat", qat_minutes=8, progress=lines.append
    )
    manifest = Manifest.read(report.folder)
    training = manifest.method.training
    assert training.score_after == report.fidelity.score > training.score_before + 2e-4
    assert 20 <= training.steps <= 40
    assert training.texts == 154
    assert manifest.method.name == "qat"
    assert manifest.config == QuantizationConfig(method="qat", qat_minutes=8, smooth_quant=(0.75,))
    assert any("without training" in line for line in lines)
    assert "after quantization-aware training" in (report.folder / "README.md").read_text("utf-8")

    # The folder is like any other: its vectors do not depend on their company, and are near those of fp32.
    encoder = Encoder.load(report.folder, runtime=runtime)
    together = encoder.encode_documents(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.array_equal(encoder.encode_documents([text])[0], vector)
    fp32 = Encoder.load(minilm, precision="fp32", runtime=runtime).encode_documents(TEXTS)
    assert np.einsum("nd,nd->n", fp32, together).min() > 0.99


def test_too_little_time_is_an_error_that_leaves_no_folder(tiny, tmp_path):
    pytest.importorskip("torch", reason="torch is not installed (the ipex extra)")
    with pytest.raises(QuantizationError, match=r"qat_minutes=1e-07 is enough for 0 steps of .* 20 are the fewest"):
        quantize(tiny, tmp_path / "qat", runtime="openvino", search=False, method="qat", qat_minutes=1e-7)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_better_than_static_is_not_written(tiny, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed (the ipex extra)")
    from intel_quantized_embeddings.quantization import qat

    monkeypatch.setattr(qat, "LEARNING_RATE", 0.1)
    with pytest.raises(QuantizationError, match=r"no more faithful: mean cosine 0\.\d+ .* 0\.9\d+ without"):
        quantize(tiny, tmp_path / "qat", runtime="openvino", search=False, method="qat")
    assert list(tmp_path.iterdir()) == []


def test_torch_is_asked_for_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"Quantization-aware training needs 'torch'.*\[ipex\]"):
        quantize(tmp_path / "no-such-model", tmp_path / "out", method="qat")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "qat", "qat_minutes": 0}, r"qat_minutes=0 is not allowed; it is a number of minutes above 0"),
        ({"qat_minutes": 5}, r"qat_minutes is of method 'qat', and none is given"),
    ],
)
def test_a_mistake_is_told_before_any_work(tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        quantize(tmp_path / "no-such-model", tmp_path / "out", **options)


def test_settings_of_training_come_from_a_file_too():
    config = QuantizationConfig.from_mapping({"method": "qat", "qat_minutes": 20}, where="settings.yaml")
    assert json.loads(json.dumps(config.to_mapping())) == {"method": "qat", "qat_minutes": 20.0}
