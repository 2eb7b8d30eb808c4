"""Weight-only int8 on OpenVINO: chosen where static int8 is too far from fp32, and taken where it is asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from safetensors.numpy import load_file, save_file

from intel_quantized_embeddings import CrossEncoder, Encoder, quantize, quantize_cross_encoder
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.int8_folder.config import QuantizationConfig
from intel_quantized_embeddings.int8_folder.manifest import CrossEncoderManifest, Manifest, read_manifest
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.quantization.cache import quantized_on_first_use
from intel_quantized_embeddings.quantization.calibration import Texts
from intel_quantized_embeddings.quantization.choosing import LEAST_SCORE
from intel_quantized_embeddings.quantization.kinds import EMBEDDER
from support.each_runtime import TEXTS
from support.exported_models import write_openvino_export
from support.few_texts import FEW, TEN_TEXTS
from support.logged import messages
from support.tiny_models import HIDDEN, LAYERS, write_tiny_cross_encoder, write_tiny_model, write_tiny_router

OPENVINO = {"runtime": "openvino", "search": False, **FEW}
PAIRS = [("what is red?", "the red mat"), ("what is cold?", "cold water"), ("a cat", "stone " * 30)]


def with_outliers(folder: Path) -> Path:
    """Make channels of queries 100 to 1,000 times as large, of values 10 to 100 times, and scale them back behind.

    Static int8 has one range for all of a query's channels; and of what reads the values, the weights differ as much.
    """
    weights = {name: array.copy() for name, array in load_file(folder / "model.safetensors").items()}
    random = np.random.default_rng(0)
    for layer in range(LAYERS):
        channels = random.choice(HIDDEN, HIDDEN // 4, replace=False)
        times = random.uniform(100, 1000, len(channels)).astype(np.float32)
        for name, tensor in weights.items():
            if f"layer.{layer}.attention.self.query" in name:
                tensor[channels] *= times.reshape(-1, *[1] * (tensor.ndim - 1))
            elif f"layer.{layer}.attention.self.value" in name:
                tensor[channels] *= times.reshape(-1, *[1] * (tensor.ndim - 1)) / 10
            elif f"layer.{layer}.attention.self.key" in name:
                tensor[channels] /= times.reshape(-1, *[1] * (tensor.ndim - 1))
            elif f"layer.{layer}.attention.output.dense.weight" in name:
                tensor[:, channels] /= times / 10
    save_file(weights, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def outliers(tmp_path_factory) -> Path:
    return with_outliers(write_tiny_model(tmp_path_factory.mktemp("outliers") / "model"))


@pytest.fixture(scope="module")
def scoring_outliers(tmp_path_factory) -> Path:
    return with_outliers(write_tiny_cross_encoder(tmp_path_factory.mktemp("outliers") / "cross-encoder"))


@pytest.fixture(scope="module")
def chosen(outliers, tmp_path_factory):
    """The report of what became of it, and the lines said meanwhile."""
    lines: list[str] = []
    folder = tmp_path_factory.mktemp("chosen") / "int8"
    return quantize(outliers, folder, progress=lines.append, **OPENVINO), lines


def kinds_of(file: Path) -> list[str]:
    return [node.get_type_name() for node in ov.Core().read_model(str(file)).get_ops()]


def test_a_model_that_static_int8_spoils_keeps_its_vectors(outliers, chosen):
    report, _ = chosen
    assert report.method == "weight-only"
    assert report.fidelity.score >= 0.999
    fp32 = Encoder.load(outliers, precision="fp32").encode_documents(TEXTS)
    int8 = Encoder.load(report.folder).encode_documents(TEXTS)
    assert (fp32 * int8).sum(axis=1).min() >= 0.995
    assert (report.folder / "encoder.bin").stat().st_size < report.bytes_before / 2
    assert "FakeQuantize" not in kinds_of(report.folder / "encoder.xml")


def test_the_choice_is_said_with_both_figures_wherever_a_folder_is_told_of(outliers, chosen, tmp_path, capsys):
    report, lines = chosen
    choice = Manifest.read(report.folder).method.choice
    assert choice.scores["static"] < LEAST_SCORE < choice.scores["weight-only"] == pytest.approx(report.fidelity.score)
    assert (choice.measure, choice.bound) == ("mean cosine", LEAST_SCORE)
    static, other = (f"{choice.scores[name]:.4f}" for name in ("static", "weight-only"))
    said = f"static {static}, below 0.99, and weight-only {other}"
    card = (report.folder / "README.md").read_text("utf-8")
    assert "Weight-only int8 of model" in card
    for text in (report.choice, card, "\n".join(lines)):
        assert said in text
    assert main(["info", str(report.folder)]) == 0
    shown = capsys.readouterr().out
    assert "weight-only int8" in shown
    assert said in shown
    (tmp_path / "ten.txt").write_text("\n".join(TEN_TEXTS))
    texts = ["--calibration", str(tmp_path / "ten.txt"), "--calibration-queries", str(tmp_path / "ten.txt")]
    options = ["--runtime", "openvino", "--no-search", *texts]
    assert main(["quantize", str(outliers), str(tmp_path / "int8"), *options]) == 0
    assert f"weight-only int8, the better of two by {report.choice}" in capsys.readouterr().out


def test_a_model_that_static_int8_suits_stays_static(tiny_int8_of):
    manifest = Manifest.read(tiny_int8_of("openvino"))
    assert (manifest.method.name, manifest.method.choice) == ("static", None)
    assert manifest.fidelity.score >= LEAST_SCORE
    assert "of two methods" not in (tiny_int8_of("openvino") / "README.md").read_text("utf-8").lower()


def test_a_cross_encoder_is_chosen_for_by_the_ranks_of_its_scores(scoring_outliers, tmp_path):
    report = quantize_cross_encoder(scoring_outliers, tmp_path / "int8", **OPENVINO)
    choice = CrossEncoderManifest.read(report.folder).method.choice
    assert (report.method, choice.measure) == ("weight-only", "rank correlation")
    assert choice.scores["static"] < LEAST_SCORE < choice.scores["weight-only"] == report.fidelity.rank_correlation
    fp32 = CrossEncoder.load(scoring_outliers, precision="fp32").score(PAIRS)
    assert np.abs(CrossEncoder.load(report.folder).score(PAIRS) - fp32).max() < 0.02


def test_of_a_router_each_model_has_its_own_method(tmp_path):
    router = write_tiny_router(tmp_path / "router")
    with_outliers(router / "query_0_Transformer")
    report = quantize(router, tmp_path / "int8", **OPENVINO)
    assert report.method == "weight-only, static"
    assert report.choice.startswith("query: mean cosine to fp32 on held-out inputs: static ")
    assert "document" not in report.choice


def test_a_method_asked_for_by_name_is_taken_whatever_it_loses(outliers, tmp_path):
    report = quantize(outliers, tmp_path / "int8", method="static", **OPENVINO)
    assert (report.method, report.choice) == ("static", None)
    assert report.fidelity.score < LEAST_SCORE


def test_weight_only_is_had_for_the_asking(tiny, tiny_int8_of, tmp_path):
    (tmp_path / "settings.yaml").write_text("method: weight-only\nfloating_point_layers: [layer.1.output]\n")
    options = {"runtime": "openvino", "config": tmp_path / "settings.yaml", **FEW}
    report = quantize(tiny, tmp_path / "int8", **options)
    manifest = Manifest.read(report.folder)
    assert (report.method, report.choice, manifest.method.choice) == ("weight-only", None, None)
    assert manifest.config == QuantizationConfig(method="weight-only", floating_point_layers=("layer.1.output",))
    assert (manifest.method.weight_bits, manifest.method.activation_ranges) == (None, None)
    assert "activations stay in floating point" in (report.folder / "README.md").read_text("utf-8")
    assert report.fidelity.score > Manifest.read(tiny_int8_of("openvino")).fidelity.score


def test_its_fingerprint_says_so_and_it_computes_in_floats(chosen, tiny_int8_of, caplog):
    encoder = Encoder.load(chosen[0].folder)
    assert encoder.fingerprint.startswith("openvino-int8-weight-only-mean-")
    assert Encoder.load(tiny_int8_of("openvino")).fingerprint.startswith("openvino-int8-mean-")
    # Left alone, OpenVINO quantizes what is multiplied with int8 weights.
    assert int(encoder._runtime._one_batch._compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")) == 0
    assert not [line for line in messages(caplog) if str(chosen[0].folder) in line]


def test_the_same_model_again_is_the_same_folder(outliers, chosen, tmp_path):
    again = quantize(outliers, tmp_path / "again", **OPENVINO)
    assert read_manifest(again.folder).files == read_manifest(chosen[0].folder).files


def test_without_a_measurement_static_is_kept_and_that_is_said(outliers, tmp_path):
    lines: list[str] = []
    report = quantize(outliers, tmp_path / "int8", measure=False, progress=lines.append, **OPENVINO)
    assert (report.method, report.choice) == ("static", None)
    assert any("nothing measured, so static int8 is kept" in line for line in lines)


def test_it_is_chosen_on_first_use_too(outliers, tmp_path, monkeypatch):
    from intel_quantized_embeddings.quantization import cache, settling

    monkeypatch.setattr(settling, "ALPHAS", (0.75,))
    monkeypatch.setattr(cache, "built_in_texts", lambda: Texts(documents=tuple(TEN_TEXTS), queries=tuple(TEN_TEXTS)))
    source = find_model(outliers)
    folder = quantized_on_first_use(
        source, source.settings(), kind=EMBEDDER, runtime=RuntimeName.OPENVINO, cache_folder=tmp_path
    )
    assert Manifest.read(folder).method.name == "weight-only"


def test_a_limit_is_held_by_the_method_that_was_chosen(outliers, tmp_path):
    report = quantize(outliers, tmp_path / "int8", max_drop=0.005, **OPENVINO)
    assert report.method == "weight-only"
    assert report.drop.kept <= 0.005
    assert report.drop.put_back == ()


def test_layers_can_be_put_back_one_by_one(outliers, chosen, tmp_path):
    limit = 0.9 * (1 - chosen[0].fidelity.score)
    report = quantize(outliers, tmp_path / "int8", max_drop=limit, method="weight-only", runtime="openvino", **FEW)
    assert report.drop.kept <= limit < report.drop.before
    assert set(report.floating_point_layers) == set(report.drop.put_back) != set()


@pytest.mark.parametrize("turned", [False, True], ids=["as written here", "inputs by outputs"])
def test_weights_of_exports_are_made_even_too(outliers, tmp_path, turned):
    """In half precision, and of either shape."""
    from openvino import opset15 as ops

    export = tmp_path / "export"
    shutil.copytree(outliers, export)
    file = write_openvino_export(outliers, tmp_path / "plain.xml")
    graph = ov.Core().read_model(str(file))
    for node in graph.get_ordered_ops():
        if turned and node.get_type_name() == "MatMul" and node.input_value(1).get_node().get_type_name() == "Constant":
            weights = ops.constant(np.ascontiguousarray(node.input_value(1).get_node().data.T))
            product = ops.matmul(node.input_value(0), weights, False, False)
            product.set_friendly_name(node.get_friendly_name())
            node.output(0).replace(product.output(0))
    (export / "openvino").mkdir()
    ov.save_model(graph, str(export / "openvino" / "openvino_model.xml"), compress_to_fp16=True)
    (export / "model.safetensors").unlink()
    report = quantize(export, tmp_path / "int8", method="weight-only", runtime="openvino", **FEW)
    assert report.fidelity.score >= 0.999


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "native"}, "method='weight-only' is not available.*'per-token'.*runtime='openvino'"),
        ({"runtime": "openvino", "weight_bits": 7}, "weight_bits is of methods 'static' and 'qat'; 'weight-only'"),
    ],
)
def test_what_has_no_meaning_is_refused(tiny, tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        quantize(tiny, tmp_path / "int8", method="weight-only", **options)


def test_a_manifest_without_the_choice_is_read(tiny_int8_of, tmp_path):
    """Folders that were written before there was one."""
    content = json.loads((tiny_int8_of("openvino") / "manifest.json").read_text("utf-8"))
    assert content["method"].pop("choice", None) is None
    (tmp_path / "manifest.json").write_text(json.dumps(content), "utf-8")
    assert Manifest.read(tmp_path).method.choice is None
