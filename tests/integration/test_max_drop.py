"""Quantizing within a limit: what is put back in floating point, what is recorded, and what can't be kept."""

from __future__ import annotations

import json
import re

import openvino as ov
import pytest

from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.int8_folder.config import MethodName, QuantizationConfig
from intel_quantized_embeddings.int8_folder.manifest import Manifest
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.quantization.calibration import Texts, split
from intel_quantized_embeddings.quantization.kinds import EMBEDDER
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.quantization.subject import Subject
from intel_quantized_embeddings.runtimes.building import build_embedder
from support.cpu_kinds import fails_where_onednn_is_limited
from support.few_texts import FEW, TEN_TEXTS
from support.tiny_models import write_tiny_model

OPENVINO = ("--runtime", "openvino")


@pytest.fixture(scope="module")
def one_layer(tmp_path_factory):
    """A model of six linear layers, of which two may be put back."""
    folder = write_tiny_model(tmp_path_factory.mktemp("models") / "one-layer")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    return folder


@pytest.fixture(scope="module")
def whole(one_layer, tmp_path_factory):
    """What it is with nothing put back."""
    return quantize(
        one_layer, tmp_path_factory.mktemp("whole") / "int8", runtime="openvino", search=False, max_drop=0.5, **FEW
    )


def test_a_limit_that_holds_changes_nothing(one_layer, whole, tmp_path):
    plain = quantize(one_layer, tmp_path / "plain", runtime="openvino", search=False, **FEW)
    assert plain.drop is None
    assert whole.drop.kept == pytest.approx(1 - whole.fidelity.score)
    assert (whole.drop.put_back, whole.drop.speed, whole.floating_point_layers) == ((), None, ())
    assert (plain.folder / "encoder.bin").read_bytes() == (whole.folder / "encoder.bin").read_bytes()


def test_layers_are_put_back_until_the_limit_holds(one_layer, whole, tmp_path, capsys):
    limit = 0.97 * whole.drop.kept
    lines: list[str] = []
    options = {"runtime": "openvino", "search": False, "max_drop": limit, **FEW}
    report = quantize(one_layer, tmp_path / "int8", progress=lines.append, **options)
    drop = report.drop
    assert drop.kept == pytest.approx(1 - report.fidelity.score)
    assert drop.kept <= limit < drop.before == whole.drop.kept
    assert set(drop.put_back) == set(report.floating_point_layers) != set()
    assert drop.speed.kept_by_fp32 > 0
    manifest = Manifest.read(report.folder)
    assert (manifest.drop, manifest.config.max_drop) == (drop, limit)
    card = (report.folder / "README.md").read_text("utf-8")
    assert f"Limited: {drop}." in card
    assert any(f"1. {drop.put_back[0]} in floating point" in line for line in lines)
    graph = ov.Core().read_model(str(report.folder / "encoder.xml"))
    in_float = {
        node.get_friendly_name().replace("/", ".")
        for node in graph.get_ops()
        if node.get_type_name() == "MatMul" and node.input_value(1).get_node().get_type_name() == "Constant"
    }
    assert in_float == set(drop.put_back)
    assert Encoder.load(report.folder).dimension == 32


@pytest.mark.parametrize(
    "method", [MethodName.STATIC, pytest.param(MethodName.DYNAMIC, marks=fails_where_onednn_is_limited)]
)
def test_layers_are_ranked_by_what_quantizing_without_them_gives(one_layer, method):
    source = find_model(one_layer)
    runtime = RuntimeName.OPENVINO  # on IPEX they are quantized without them
    subject = Subject(
        source,
        kind=EMBEDDER,
        runtime=runtime,
        model=build_embedder(source, source.settings(), runtime=runtime),
        settings=source.settings(),
        texts=split(Texts(documents=tuple(TEN_TEXTS), queries=tuple(TEN_TEXTS))),
    )
    whole = subject.attempt(Recipe(method=method, alpha=0.85 if method is MethodName.STATIC else None))
    gains = []
    for layer in subject.quantizer.linear_layers(subject.model)[::2]:
        quick = subject.put_back(whole, layer)
        anew = subject.attempt(quick.recipe)
        assert quick.recipe.floating_point_layers == (layer,)
        assert quick.fidelity.score == pytest.approx(anew.fidelity.score, abs=1.1e-6)  # rounded to as much
        gains.append(quick.fidelity.score - whole.fidelity.score)
    assert max(gains) > 5e-6


@pytest.mark.usefixtures("quick_quantizing")
def test_a_limit_that_can_not_be_kept_is_an_error_that_leaves_no_folder(one_layer, tmp_path, capsys):
    arguments = ["quantize", str(one_layer), str(tmp_path / "int8"), *OPENVINO, "--no-search", "--max-drop", "0"]
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert re.search(r"int8 of one-layer loses 0\.\d+ % \(mean cosine on held-out texts\), over max_drop=0\.0", told)
    assert "still 0." in told
    assert "2 of its 6 linear layers in floating point (layer.0." in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick_quantizing")
def test_the_limit_is_of_a_datasets_score_where_there_is_one(one_layer, tmp_path, capsys):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (the eval extra)")
    data = tmp_path / "intents"
    data.mkdir()
    for name in ("train", "test"):
        rows = [f"the {word} is {mood},{mood}" for word in ("cat", "dog", "river", "city") for mood in ("red", "cold")]
        (data / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n", "utf-8")
    arguments = ["quantize", str(one_layer), str(tmp_path / "int8"), *OPENVINO, "--no-search", "--max-drop", "0.1"]
    assert main([*arguments, "--dataset", str(data)]) == 0
    drop = Manifest.read(tmp_path / "int8").drop
    assert drop.measure == "accuracy on intents"
    assert drop.kept <= 0.1
    assert capsys.readouterr().out.splitlines()[-1] == str(drop)


def test_a_dataset_on_which_fp32_scores_nothing_is_refused_before_anything_is_quantized(one_layer, tmp_path):
    pytest.importorskip("scipy", reason="SciPy is not installed (the eval extra)")
    data = tmp_path / "alike"
    data.mkdir()
    rows = [f"the {word},a {word},1" for word in ("cat", "dog", "river", "city")]
    (data / "test.csv").write_text("\n".join(["sentence1,sentence2,score", *rows]) + "\n", "utf-8")
    lines = []
    with pytest.raises(OptionError, match="fp32 scores 0 in Spearman on this dataset"):
        quantize(one_layer, tmp_path / "int8", runtime="openvino", max_drop=0.1, dataset=data, progress=lines.append)
    assert lines[-1].strip() == "measuring fp32 on alike"
    assert not (tmp_path / "int8").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": 1.5}, r"max_drop=1\.5 is not allowed"),
        ({"dataset": "somewhere"}, "give both or neither"),
        ({"dataset": ".", "config": QuantizationConfig(max_drop=0.1)}, "a dataset is a folder"),
    ],
)
def test_a_mistake_is_told_before_any_work(one_layer, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=message):
        quantize(one_layer, tmp_path / "int8", runtime="openvino", **options)
    assert list(tmp_path.iterdir()) == []
