"""Encoders that others exported to OpenVINO, in the forms that exporters write."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.architectures.roberta import ROBERTA
from intel_quantized_embeddings.cli.inspection import inspect_folder
from intel_quantized_embeddings.errors import DamagedFilesError, OptionError, UnsupportedModelError
from support.cpu_kinds import fails_where_onednn_is_limited
from support.exported_models import write_openvino_export
from support.few_texts import FEW
from support.tiny_models import write_tiny_model

pytestmark = fails_where_onednn_is_limited  # a graph with the softmax of its exporter does not compile then

TEXTS = ["the cat sat on the mat", "", "a", "stone " * 40, "green water and cold wind"]


@pytest.fixture
def bare(tiny, tmp_path):
    """The tiny model without its weights."""
    folder = tmp_path / "exported"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture
def expected(tiny):
    return Encoder.load(tiny, precision="fp32").encode_documents(TEXTS)


@pytest.mark.parametrize("name", ["openvino/openvino_model.xml", "openvino_model.xml", "openvino_model_fp32.xml"])
def test_an_export_gives_the_vectors_of_its_source(tiny, bare, expected, name):
    """In the folder of either exporter; a variant is taken when it is alone."""
    write_openvino_export(tiny, bare / name)
    assert np.abs(Encoder.load(bare, precision="fp32").encode_documents(TEXTS) - expected).max() <= 1e-5


@pytest.mark.parametrize("inputs", [np.int32, np.int64])
@pytest.mark.parametrize(("outputs", "tolerance"), [(np.float32, 1e-5), (np.float16, 2e-3)])
def test_inputs_and_outputs_of_other_types_are_converted(tiny, bare, expected, inputs, outputs, tolerance):
    write_openvino_export(tiny, bare / "openvino_model.xml", inputs=inputs, outputs=outputs)
    found = Encoder.load(bare, precision="fp32").encode_documents(TEXTS)
    assert np.abs(found - expected).max() <= tolerance


def test_positions_are_counted_where_a_graph_asks_for_them(tiny, bare, expected):
    write_openvino_export(tiny, bare / "openvino_model.xml", positions=True)
    assert np.abs(Encoder.load(bare, precision="fp32").encode_documents(TEXTS) - expected).max() <= 1e-5


@pytest.mark.parametrize("pooled", ["only", "first"])
def test_rows_that_are_pooled_already_are_taken_as_they_are(tiny, bare, expected, pooled):
    """Scaled to length 1, as the folder says; the last hidden state is taken first wherever it stands."""
    write_openvino_export(tiny, bare / "openvino_model.xml", pooled=pooled)
    found = Encoder.load(bare, precision="fp32")
    assert found.dimension == 32
    assert np.abs(found.encode_documents(TEXTS) - expected).max() <= 1e-5


def test_pooled_rows_may_have_gone_through_what_stands_behind_pooling(tmp_path):
    """Or not: nothing says so."""
    folder = write_tiny_model(tmp_path / "model", behind=[("Dense", {})])
    write_openvino_export(folder, folder / "openvino_model.xml", pooled="only")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModelError, match=r"pooled already.*other modules"):
        Encoder.load(folder, precision="fp32")


def test_an_export_is_quantized_like_any_other(tiny, bare, tmp_path):
    write_openvino_export(tiny, bare / "openvino" / "openvino_model.xml")
    report = quantize(bare, tmp_path / "int8", runtime="openvino", search=False, **FEW)
    assert report.fidelity.documents.mean > 0.99
    assert report.bytes_before > 0


def test_an_export_of_fixed_shape_is_refused_when_loading(tiny, bare):
    write_openvino_export(tiny, bare / "openvino_model.xml", shape=(1, 16))
    with pytest.raises(UnsupportedModelError, match=r"openvino_model\.xml.*dynamic shapes"):
        Encoder.load(bare, precision="fp32")


def test_an_export_beside_safetensors_that_can_not_be_built_is_used(tiny, bare, expected):
    """As hub repositories of newer architectures have it."""
    write_openvino_export(tiny, bare / "openvino" / "openvino_model.xml")
    shutil.copyfile(tiny / "model.safetensors", bare / "model.safetensors")
    config = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps({**config, "model_type": "somethingnew"}))
    assert np.abs(Encoder.load(bare, precision="fp32").encode_documents(TEXTS) - expected).max() <= 1e-5


@pytest.mark.parametrize("variant", [{"auto_map": {"AutoModel": "own.Model"}}, {"pruned_heads": {"0": [1]}}])
def test_an_export_of_a_variant_that_is_not_built_in_has_the_limits_of_its_architecture(tmp_path, variant):
    """RoBERTa's first two positions are not for tokens; the graph computes the variant, whatever it is."""
    folder = write_tiny_model(tmp_path / "roberta", family=ROBERTA)
    write_openvino_export(folder, folder / "openvino_model.xml")
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **variant}))
    positions = config["max_position_embeddings"] - config["pad_token_id"] - 1
    with pytest.raises(OptionError, match=f"{positions} positions"):
        Encoder.load(folder, precision="fp32", max_length=positions + 1)
    assert Encoder.load(folder, precision="fp32", max_length=positions).max_length == positions
    assert inspect_folder(folder).problem is None


def test_several_variants_and_no_plain_one_is_an_error_that_names_them(tiny, bare):
    for name in ("openvino_model_a.xml", "openvino_model_b.xml"):
        write_openvino_export(tiny, bare / name)
    with pytest.raises(OptionError, match=r"openvino_model_a\.xml, openvino_model_b\.xml"):
        Encoder.load(bare, precision="fp32")


def test_a_damaged_export_is_named(bare):
    (bare / "openvino_model.xml").write_text("<net")
    with pytest.raises(DamagedFilesError, match=r"openvino_model\.xml"):
        Encoder.load(bare, precision="fp32")


def test_a_graph_that_is_no_encoder_is_refused(bare):
    """The first output must be (batch, length, hidden)."""
    import openvino as ov
    from openvino import opset15 as ops

    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    ids.output(0).tensor.set_names({"input_ids"})
    ov.save_model(ov.Model([ops.result(ops.convert(ids, "f32"))], [ids]), str(bare / "openvino_model.xml"))
    with pytest.raises(UnsupportedModelError, match="last hidden state"):
        Encoder.load(bare, precision="fp32")


@pytest.mark.ipex
def test_an_optimum_intel_torchscript_folder_says_what_to_load_instead(bare):
    config = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps({**config, "torchscript": True}))
    (bare / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(UnsupportedModelError, match=r"TorchScript.*load the fp32 model"):
        Encoder.load(bare, runtime="openvino", precision="fp32")
