"""A folder that was quantized with measure=False: nothing is said of how near it is to fp32, and all else works."""

from __future__ import annotations

import json

import numpy as np
import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder, quantize, quantize_cross_encoder
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.errors import DamagedFilesError, OptionError
from intel_quantized_embeddings.int8_folder.manifest import CrossEncoderManifest, Manifest
from intel_quantized_embeddings.int8_folder.probes import COUNT_OF_SCORES, COUNT_OF_VECTORS
from support.few_texts import FEW
from support.logged import messages

TEXTS = ["the cat sat on the red mat", "stone " * 40, ""]
PAIRS = [("what is red?", "the red mat"), ("what is cold?", "cold water")]


@pytest.mark.parametrize("runtime", ["native", "openvino"])
def test_a_folder_without_a_measurement_holds_the_same_model(tiny, tiny_int8_of, tmp_path, runtime, caplog):
    texts = {} if runtime == "native" else FEW  # as the folder that it is compared with
    report = quantize(tiny, tmp_path / "int8", runtime=runtime, search=False, measure=False, **texts)
    manifest = Manifest.read(report.folder)
    assert report.fidelity is manifest.fidelity is None
    assert manifest.method.alphas_tried == {}
    assert len(manifest.probes) == COUNT_OF_VECTORS
    assert "not measured" in (report.folder / "README.md").read_text("utf-8")
    measured = Encoder.load(tiny_int8_of(runtime), runtime=runtime)
    caplog.clear()
    unmeasured = Encoder.load(report.folder, runtime=runtime)
    assert not [line for line in messages(caplog) if "faithful" in line]
    assert unmeasured.fingerprint == measured.fingerprint
    assert np.array_equal(unmeasured.encode_documents(TEXTS), measured.encode_documents(TEXTS))


def test_a_cross_encoder_without_a_measurement_holds_the_same_model(tiny_cross_encoder, tmp_path, caplog):
    folders = [
        quantize_cross_encoder(tiny_cross_encoder, tmp_path / name, runtime="native", measure=name == "measured").folder
        for name in ("measured", "unmeasured")
    ]
    manifest = CrossEncoderManifest.read(folders[1])
    assert manifest.fidelity is manifest.spread is None
    assert len(manifest.probes) == COUNT_OF_SCORES
    assert "not measured" in (folders[1] / "README.md").read_text("utf-8")
    measured, unmeasured = (CrossEncoder.load(folder, runtime="native") for folder in folders)
    assert messages(caplog) == []
    assert unmeasured.fingerprint == measured.fingerprint
    assert np.array_equal(unmeasured.score(PAIRS), measured.score(PAIRS))


@pytest.mark.parametrize("model", ["tiny", "tiny_cross_encoder"])
def test_the_commands_say_that_nothing_was_measured(model, request, tmp_path, capsys):
    source, folder = request.getfixturevalue(model), str(tmp_path / "int8")
    assert main(["quantize", str(source), folder, "--runtime", "native", "--no-measure"]) == 0
    assert "fp32: not measured" in capsys.readouterr().out
    assert main(["info", folder]) == 0
    assert "not measured" in capsys.readouterr().out
    assert main(["info", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["fidelity"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": 0.01}, r"measure=False.*max_drop=0\.01"),
        ({"method": "qat"}, "measure=False.*'qat'"),
        ({"runtime": "openvino"}, "measure=False.*search=False.*'native'"),
        ({"measure": "no"}, "measure='no'"),
    ],
)
def test_what_needs_measuring_is_refused_with_it(tiny, tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        quantize(tiny, tmp_path / "int8", **{"runtime": "native", "measure": False, **options})
    assert not (tmp_path / "int8").exists()


@pytest.mark.parametrize("value", [{}, 0, "none", {"documents": None, "queries": None}])
def test_a_measurement_that_is_none_of_either_kind_is_damage(tiny, tmp_path, value):
    folder = quantize(tiny, tmp_path / "int8", runtime="native", measure=False).folder
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    (folder / "manifest.json").write_text(json.dumps(manifest | {"fidelity": value}), "utf-8")
    with pytest.raises(DamagedFilesError, match="not a manifest"):
        Manifest.read(folder)
