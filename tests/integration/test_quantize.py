"""Quantizing: what is written, what is refused, and that nothing is left half done."""

from __future__ import annotations

import base64
import json
import multiprocessing
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub import metadata_load

from intel_quantized_embeddings import Encoder, quantize, quantize_cross_encoder
from intel_quantized_embeddings.errors import (
    DamagedFilesError,
    ModelFilesError,
    OptionError,
    QuantizationError,
    UnsupportedModelError,
)
from intel_quantized_embeddings.files.json_files import file_sha256
from intel_quantized_embeddings.int8_folder.config import QuantizationConfig
from intel_quantized_embeddings.int8_folder.manifest import Manifest, read_manifest
from intel_quantized_embeddings.int8_folder.model_card import write_embedder_card
from intel_quantized_embeddings.models.hub import find_asked
from intel_quantized_embeddings.options import LoadOptions, RuntimeName
from intel_quantized_embeddings.quantization import cache as cache_module
from intel_quantized_embeddings.quantization.cache import quantized_before
from intel_quantized_embeddings.quantization.calibration import Texts, built_in_texts, split
from intel_quantized_embeddings.quantization.kinds import EMBEDDER
from intel_quantized_embeddings.quantization.settling import settle_recipe
from intel_quantized_embeddings.quantization.table import quantizer_module
from support.cpu_kinds import fails_where_onednn_is_limited
from support.exported_models import write_openvino_export
from support.few_texts import FEW, TEN_TEXTS
from support.logged import messages
from support.tiny_models import write_tiny_model

LINEAR_LAYERS = ("query", "key", "value", "attention_output", "intermediate", "output")


MADE_BY = {
    "native": ("per-token", {"encoder.json", "encoder.safetensors"}, {"tokenizers"}),
    "openvino": ("static", {"encoder.bin", "encoder.xml"}, {"openvino", "nncf", "tokenizers"}),
}


@pytest.mark.parametrize("runtime", MADE_BY)
def test_the_folder_has_everything_and_the_manifest_tells_it(tiny, tiny_int8_of, runtime):
    method, encoder_files, libraries = MADE_BY[runtime]
    manifest = Manifest.read(tiny_int8_of(runtime))
    assert manifest.files.keys() == encoder_files | {
        "1_Pooling/config.json",
        "README.md",
        "config.json",
        "config_sentence_transformers.json",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert manifest.source.id == tiny.name
    assert manifest.source.weights_sha256 == {"model.safetensors": file_sha256(tiny / "model.safetensors")}
    assert (manifest.runtime, manifest.precision, manifest.method.name) == (runtime, "int8", method)
    assert manifest.settings.query_instruction == "query: "
    texts = built_in_texts() if runtime == "native" else Texts(documents=tuple(TEN_TEXTS), queries=tuple(TEN_TEXTS))
    assert manifest.calibration.digest == split(texts).calibrated.digest
    assert manifest.fidelity.documents.count + manifest.fidelity.queries.count == len(split(texts).held_out)
    assert libraries <= set(manifest.library_versions)


def test_the_graph_is_really_int8(tiny_int8_of):
    import openvino as ov

    graph = ov.Core().read_model(str(tiny_int8_of("openvino") / "encoder.xml"))
    kinds = [node.get_type_name() for node in graph.get_ops()]
    assert kinds.count("FakeQuantize") >= 12  # at least the inputs of six linear layers in each of two layers
    eight_bit = [n for n in graph.get_ops() if n.get_type_name() == "Constant" and n.get_element_type() == ov.Type.i8]
    assert len(eight_bit) >= 12


def test_what_was_not_calibrated_is_not_said_to_be(tiny, tmp_path):
    lines: list[str] = []
    folder = quantize(tiny, tmp_path / "out", progress=lines.append, **FEW).folder
    card = (folder / "README.md").read_text("utf-8")
    assert "nothing was calibrated" in card
    assert not [line for line in [card, *lines] if "SmoothQuant" in line or "calibrated on\n" in line]


def test_the_model_card_shows_the_fidelity_of_the_manifest(tiny_int8):
    card = (tiny_int8 / "README.md").read_text("utf-8")
    fidelity = Manifest.read(tiny_int8).fidelity
    assert f"| documents | {fidelity.documents.mean:.4f} |" in card
    assert f"| queries | {fidelity.queries.mean:.4f} |" in card


def test_the_reported_fidelity_is_what_the_loaded_model_has(tiny, tiny_int8):
    held_out = split(built_in_texts()).held_out
    fp32 = Encoder.load(tiny, precision="fp32").encode_queries(held_out.queries)
    int8 = Encoder.load(tiny_int8).encode_queries(held_out.queries)
    cosines = (fp32 * int8).sum(axis=1)
    assert Manifest.read(tiny_int8).fidelity.queries.mean == pytest.approx(float(cosines.mean()), abs=2e-6)
    assert cosines.mean() > 0.99


def test_the_same_model_quantized_again_is_the_same_folder(tiny, tiny_cross_encoder, tmp_path):
    """To the byte and to the fingerprint, whatever the process did in between: a collection goes on knowing it."""
    for job, model in ((quantize, tiny), (quantize_cross_encoder, tiny_cross_encoder)):
        folders = [job(model, tmp_path / f"{job.__name__}-{n}", search=False, **FEW).folder for n in range(2)]
        first, second = (read_manifest(folder).files for folder in folders)
        assert first == second


@pytest.fixture(scope="module")
def for_openvino(tiny_int8_of):
    """Ten texts, no search, and nothing else asked for."""
    return tiny_int8_of("openvino")


def test_the_same_model_quantized_again_for_openvino_is_the_same_folder(tiny, for_openvino, tmp_path):
    again = quantize(tiny, tmp_path / "again", runtime="openvino", search=False, **FEW).folder
    assert read_manifest(again).files == read_manifest(for_openvino).files


def test_four_strengths_are_compared_unless_told_otherwise():
    openvino = quantizer_module(RuntimeName.OPENVINO)
    assert settle_recipe(QuantizationConfig(), openvino, one_row=False)[1] == (0.85, 0.75, 0.5, None)


def test_the_most_faithful_strength_and_layers_in_floating_point_by_a_file_of_settings(tiny, tmp_path):
    import openvino as ov

    lines: list[str] = []

    (tmp_path / "settings.yaml").write_text(
        "smooth_quant: [0.5, off]\nfloating_point_layers: [layer.1, layer.0.query]\n"
    )
    options = {"runtime": "openvino", "config": tmp_path / "settings.yaml", **FEW}
    report = quantize(tiny, tmp_path / "out", progress=lines.append, **options)
    kept = ("layer.0.query", *(f"layer.1.{name}" for name in LINEAR_LAYERS))
    assert report.floating_point_layers == kept
    manifest = Manifest.read(tmp_path / "out")
    tried = manifest.method.alphas_tried
    assert (manifest.method.floating_point_layers, set(tried)) == (kept, {"0.5", "off"})
    best = max(tried, key=tried.__getitem__)
    assert best == ("off" if report.smooth_quant_alpha is None else str(report.smooth_quant_alpha))
    assert sum("SmoothQuant" in line for line in lines) == 3
    assert manifest.config == QuantizationConfig(
        smooth_quant=(0.5, None), floating_point_layers=("layer.1", "layer.0.query")
    )
    assert "Layers in floating point: layer.0.query, layer.1.query, " in (tmp_path / "out/README.md").read_text()
    graph = ov.Core().read_model(str(tmp_path / "out" / "encoder.xml"))
    linear = {node.get_friendly_name(): node for node in graph.get_ops() if node.get_type_name() == "MatMul"}
    weights = {name: node.input_value(1).get_node().get_type_name() for name, node in linear.items()}
    assert {name.replace("/", ".") for name, kind in weights.items() if kind == "Constant"} == set(kept)
    assert len(linear) == 2 * len(LINEAR_LAYERS)


def test_ranges_are_set_as_asked(tiny, for_openvino, tmp_path):
    """The widest differ from the mean, which is the usual where a model does not pool its first token."""
    assert Manifest.read(for_openvino).method.activation_ranges == "mean"
    config = QuantizationConfig(activation_ranges="widest")
    widest = quantize(tiny, tmp_path / "widest", runtime="openvino", search=False, config=config, **FEW).folder
    assert Manifest.read(widest).method.activation_ranges == "widest"
    assert (widest / "encoder.bin").read_bytes() != (for_openvino / "encoder.bin").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"config": QuantizationConfig(floating_point_layers=("layer.2",))},
            r"no linear layer 'layer\.2'.*layer\.0\.query",
        ),
        ({"config": QuantizationConfig(smooth_quant=(0.5,)), "search": False}, r"smooth_quant=\[0\.5\]"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tiny, tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        quantize(tiny, tmp_path / "out", runtime="openvino", **options)
    assert list(tmp_path.iterdir()) == []


@fails_where_onednn_is_limited
def test_dynamic_int8_says_so_wherever_it_matters(tiny, tmp_path):
    import openvino as ov

    report = quantize(tiny, tmp_path / "out", runtime="openvino", method="dynamic")
    assert report.fidelity.score > 0.99
    manifest = Manifest.read(tmp_path / "out")
    assert (manifest.method.name, manifest.method.activation_ranges) == ("dynamic", None)
    assert "a text's vector depends a little on its company" in (tmp_path / "out" / "README.md").read_text()
    kinds = [node.get_type_name() for node in ov.Core().read_model(str(tmp_path / "out" / "encoder.xml")).get_ops()]
    assert "FakeQuantize" not in kinds
    encoder = Encoder.load(tmp_path / "out")
    assert encoder.fingerprint.startswith("openvino-int8-dynamic-mean-")
    # What loading asks OpenVINO for follows from the manifest.
    assert int(encoder._runtime._one_batch._compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")) == 32
    held_out = split(built_in_texts()).held_out
    fp32 = Encoder.load(tiny, precision="fp32").encode_queries(held_out.queries)
    cosines = (fp32 * encoder.encode_queries(held_out.queries)).sum(axis=1)
    assert manifest.fidelity.queries.mean == pytest.approx(float(cosines.mean()), abs=1e-4)


def test_the_callers_own_texts_calibrate(tiny, tmp_path):
    own = [f"the cat number {i} sat on the mat" for i in range(40)]
    options = {"calibration_texts": own, "calibration_queries": TEN_TEXTS}
    quantize(tiny, tmp_path / "out", runtime="openvino", search=False, **options)
    calibration = Manifest.read(tmp_path / "out").calibration
    assert calibration.documents == 20
    assert calibration.digest != split(built_in_texts()).calibrated.digest


def test_an_existing_folder_is_not_replaced_unless_asked(tiny, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("keep me")
    with pytest.raises(OptionError, match="overwrite"):
        quantize(tiny, tmp_path / "out", search=False)
    assert (tmp_path / "out" / "precious").read_text() == "keep me"
    with pytest.raises(OptionError, match="not a model folder that was written here"):
        quantize(tiny, tmp_path / "out", search=False, overwrite=True)
    assert (tmp_path / "out" / "precious").read_text() == "keep me"


@pytest.mark.parametrize("manifest", ['{"name": "an extension", "manifest_version": 3}', "[]", "half of a f"])
def test_a_manifest_of_something_else_does_not_make_a_folder_ours(tiny, tmp_path, manifest):
    """Extensions of browsers and web pages have a manifest.json; all that lay beside it was deleted."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text(manifest)
    with pytest.raises(OptionError, match="not a model folder that was written here"):
        quantize(tiny, tmp_path / "out", search=False, overwrite=True)
    assert (tmp_path / "out" / "manifest.json").read_text() == manifest


def test_a_folder_written_here_is_replaced_when_asked(tiny, tiny_int8, tmp_path):
    shutil.copytree(tiny_int8, tmp_path / "out")
    (tmp_path / "out" / "stale").write_text("from before")
    quantize(tiny, tmp_path / "out", search=False, overwrite=True)
    Manifest.read(tmp_path / "out").verify(tmp_path / "out")
    assert not (tmp_path / "out" / "stale").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_source_is_never_replaced(tiny, tmp_path):
    """Not even one that looks like a folder written here: an export may be the source."""
    model = tmp_path / "models" / "m"
    shutil.copytree(tiny, model)
    (model / "model.safetensors").unlink()
    export = write_openvino_export(tiny, model / "openvino" / "openvino_model.xml")
    for output in (model, model.parent):
        with pytest.raises(OptionError):
            quantize(model, output, search=False, overwrite=True)
    with pytest.raises(OptionError, match="is or holds the source model"):
        quantize(model, model, search=False, overwrite=True)
    assert export.is_file()


@pytest.mark.usefixtures("quick_quantizing")
def test_an_empty_folder_is_filled(tiny, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    quantize(tiny, ".", search=False)
    assert Encoder.load(tmp_path / "out").dimension == 32


@pytest.mark.usefixtures("quick_quantizing")
def test_a_folder_that_appears_meanwhile_is_kept(tiny, tmp_path):
    def somebody_else(line):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "precious").write_text("keep me")

    with pytest.raises(OptionError, match="exists"):
        quantize(tiny, tmp_path / "out", search=False, progress=somebody_else)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["precious"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("source", "on_the_hub"),
    [
        ({"id": "someone/embedder", "revision": "0" * 40}, True),
        ({"id": "someone/embedder", "revision": None}, True),  # from a wheel
        ({"id": "embedder", "revision": "0" * 40}, True),  # an old id without an owner
        ({"id": "embedder", "revision": None}, False),  # a folder's name
    ],
)
def test_the_model_card_says_what_the_hub_asks_and_names_only_sources_that_it_has(
    tiny_int8, tmp_path, source, on_the_hub
):
    manifest = Manifest.read(tiny_int8)
    write_embedder_card(tmp_path, replace(manifest, source=replace(manifest.source, **source)))
    header = metadata_load(tmp_path / "README.md")
    base = {"base_model": source["id"], "base_model_relation": "quantized"} if on_the_hub else {}
    assert header == {
        **base,
        "library_name": "intel-quantized-embeddings",
        "pipeline_tag": "sentence-similarity",
        "tags": ["int8", "native", "embeddings", "cpu"],
    }


def test_an_edited_model_card_is_no_damage(tiny_int8, tmp_path, caplog):
    shutil.copytree(tiny_int8, tmp_path / "m")
    with (tmp_path / "m" / "README.md").open("a") as card:
        card.write("mine\n")
    with caplog.at_level("WARNING"):
        Encoder.load(tmp_path / "m")
    assert [r.getMessage() for r in caplog.records if "was edited" in r.getMessage()]


def test_a_failure_leaves_no_folder_behind(tiny, tmp_path, monkeypatch):
    import nncf

    def fails(*args, **kwargs):
        raise RuntimeError("no")

    monkeypatch.setattr(nncf, "quantize", fails)
    with pytest.raises(QuantizationError, match="RuntimeError: no"):
        quantize(tiny, tmp_path / "out", runtime="openvino", search=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick_quantizing")
def test_a_failure_while_writing_leaves_what_was_there(tiny, tiny_int8, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(tiny_int8, out)
    monkeypatch.setattr(Manifest, "write", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        quantize(tiny, out, search=False, overwrite=True)
    Manifest.read(out).verify(out)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_int8_folder_is_not_quantized_again(tiny_int8, tmp_path):
    with pytest.raises(UnsupportedModelError, match="int8 already"):
        quantize(tiny_int8, tmp_path / "out")


@pytest.mark.parametrize("name", ["encoder.bin", "encoder.xml"])
def test_a_changed_openvino_graph_is_named_when_loading(tiny_int8_of, tmp_path, name):
    _assert_a_change_is_named(shutil.copytree(tiny_int8_of("openvino"), tmp_path / "copy"), name)


@pytest.mark.parametrize("name", ["encoder.safetensors", "encoder.json", "tokenizer.json", "1_Pooling/config.json"])
def test_a_changed_file_is_named_when_loading(tiny_int8, tmp_path, name):
    _assert_a_change_is_named(shutil.copytree(tiny_int8, tmp_path / "copy"), name)


def _assert_a_change_is_named(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(DamagedFilesError, match=name):
        Encoder.load(folder)


def test_a_whole_graph_that_can_not_be_read_is_not_called_damaged(tiny_int8_of, tmp_path):
    """As where another library in the process breaks OpenVINO's reader: making the folder again would not help."""
    folder = shutil.copytree(tiny_int8_of("openvino"), tmp_path / "int8")
    (folder / "encoder.xml").write_text("<net/>")
    manifest = Manifest.read(folder)
    replace(manifest, files={**manifest.files, "encoder.xml": file_sha256(folder / "encoder.xml")}).write(folder)
    with pytest.raises(UnsupportedModelError, match=r"(?s)encoder\.xml.*whole.*openvino 20.*import openvino"):
        Encoder.load(folder)


def test_a_missing_file_is_named_when_loading(tiny_int8, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_int8, folder)
    (folder / "encoder.safetensors").unlink()
    with pytest.raises(ModelFilesError, match=r"encoder\.safetensors is missing"):
        Encoder.load(folder)


ROW = base64.b64encode(np.ones(32, "<f4").tobytes()).decode()
PROBED = {"fp32": ROW, "int8": ROW}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"format_version": 2}, UnsupportedModelError, "format version 2"),
        ({"format_version": 4}, UnsupportedModelError, "format version 4"),
        ({"runtime": "native2"}, UnsupportedModelError, "the runtime 'native2', which this version does not have"),
        ({"runtime": ["ipex"]}, UnsupportedModelError, "the runtime"),
        ({"settings": None}, DamagedFilesError, "not a manifest"),
        ({"surprise": 1}, DamagedFilesError, "surprise"),
        ({"files": {}}, DamagedFilesError, "files does not list 'encoder.safetensors'"),
        ({"probes": []}, DamagedFilesError, "no probes"),
        ({"probes": [{"token_ids": [2, 3], "fp32": "AAAAAA==", "int8": "AAAAAA=="}]}, DamagedFilesError, "32 numbers"),
        ({"probes": [{"token_ids": [2, 3], "fp32": "AAAAAA=="}]}, DamagedFilesError, "int8"),
        (
            {"probes": [{"token_ids": [2, 99_999], **PROBED}]},
            DamagedFilesError,
            "the token id 99999, and the model knows",
        ),
        ({"probes": [{"token_ids": [2] * 999, **PROBED}]}, DamagedFilesError, "999 token ids and the model"),
    ],
)
def test_a_wrong_manifest_is_refused(tiny_int8, tmp_path, change, error, message):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_int8, folder)
    content = json.loads((folder / "manifest.json").read_text("utf-8"))
    (folder / "manifest.json").write_text(json.dumps({**content, **change}), "utf-8")
    with pytest.raises(error, match=message):
        Encoder.load(folder)


@pytest.mark.parametrize("name", ["encoder.safetensors", "encoder.json", "tokenizer.json"])
def test_a_manifest_must_list_what_vectors_depend_on(tiny_int8, tmp_path, name):
    """Else the file would be read unverified, and the fingerprint would not cover it."""
    folder = shutil.copytree(tiny_int8, tmp_path / "copy")
    manifest = Manifest.read(folder)
    replace(manifest, files={file: digest for file, digest in manifest.files.items() if file != name}).write(folder)
    with pytest.raises(DamagedFilesError, match=name):
        Encoder.load(folder)


@pytest.mark.parametrize("outside", ["../outside", "/etc/hostname"])
def test_a_manifest_that_names_a_file_outside_its_folder_is_refused(tiny_int8, tmp_path, outside):
    folder = shutil.copytree(tiny_int8, tmp_path / "copy")
    manifest = Manifest.read(folder)
    replace(manifest, files={**manifest.files, outside: "0"}).write(folder)
    with pytest.raises(DamagedFilesError, match="outside the folder"):
        Encoder.load(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp32"}, "precision='fp32' was asked"),
        ({"pooling": "cls"}, "pooling='cls' was asked"),
        ({"normalize": False}, "normalize=False was asked"),
    ],
)
def test_what_is_fixed_in_an_int8_folder_can_not_be_overridden(tiny_int8, options, message):
    with pytest.raises(OptionError, match=message):
        Encoder.load(tiny_int8, **options)


def test_what_is_not_fixed_can_be(tiny_int8):
    encoder = Encoder.load(tiny_int8, max_length=20, query_instruction="ask: ", pooling="mean")
    assert (encoder.max_length, encoder.settings.query_instruction) == (20, "ask: ")


def test_an_fp32_model_asked_for_in_int8_is_quantized_as_it_is_read_and_nothing_is_kept(tiny, tmp_path, caplog):
    with caplog.at_level("WARNING"):
        first = Encoder.load(tiny, cache_folder=tmp_path)
        again = Encoder.load(tiny, cache_folder=tmp_path)
    assert messages(caplog) == []
    assert list(tmp_path.iterdir()) == []
    assert first.fingerprint == again.fingerprint


@pytest.mark.usefixtures("quick_quantizing")
def test_an_fp32_model_asked_for_in_int8_is_quantized_once_for_openvino_and_says_so(tiny, tmp_path, caplog):
    with caplog.at_level("WARNING"):
        first = Encoder.load(tiny, runtime="openvino", cache_folder=tmp_path)
    assert [line.split()[0] for line in messages(caplog)] == ["quantizing", "quantized"]
    caplog.clear()
    second = Encoder.load(tiny, runtime="openvino", cache_folder=tmp_path)
    assert messages(caplog) == []
    assert first.fingerprint == second.fingerprint
    (folder,) = (p for p in (tmp_path / "int8").iterdir() if p.is_dir())
    assert _in_cache(tiny, tmp_path) == folder
    assert _in_cache(tiny, tmp_path, pooling="cls") is None, "it would be made too"
    # Damaged, it says what to delete.
    (folder / "encoder.bin").write_bytes(b"")
    with pytest.raises(DamagedFilesError, match=f"delete {folder}"):
        Encoder.load(tiny, runtime="openvino", cache_folder=tmp_path)


def test_a_cache_folder_that_can_not_be_written_is_an_error_that_says_so(tiny, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OptionError, match="cache_folder="):
        Encoder.load(tiny, runtime="openvino", cache_folder=tmp_path / "file")


def _in_cache(model, cache, **options):
    """The model's int8 folder in the cache; None where it would be made."""
    options = LoadOptions(model=model, runtime="openvino", cache_folder=cache, **options)
    source = find_asked(options)
    settings = EMBEDDER.settings(source, options)
    return quantized_before(source, settings, kind=EMBEDDER, runtime=RuntimeName.OPENVINO, cache_folder=cache)


@pytest.mark.usefixtures("quick_quantizing")
def test_a_model_or_settings_that_changed_are_quantized_again(tmp_path):
    """Instructions and length are part of the int8 folder, so the cache knows them."""
    model, cache = write_tiny_model(tmp_path / "m"), tmp_path / "cache"
    options = {"runtime": "openvino", "cache_folder": cache}
    one = Encoder.load(model, **options)
    assert _in_cache(model, cache) is not None
    assert _in_cache(write_tiny_model(model, seed=2), cache) is None
    assert _in_cache(write_tiny_model(model, max_length=20), cache) is None
    assert _in_cache(write_tiny_model(model, prompts={"query": "query: "}), cache) is None
    two = Encoder.load(model, **options)
    assert one.fingerprint != two.fingerprint
    assert two.settings.query_instruction == "query: "


def test_the_fingerprint_depends_on_the_configuration(tmp_path):
    model = write_tiny_model(tmp_path / "m")
    before = Encoder.load(model, precision="fp32").fingerprint
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    assert Encoder.load(model, precision="fp32").fingerprint != before


def test_weights_that_changed_are_another_model(tmp_path):
    one, two = (Encoder.load(write_tiny_model(tmp_path / "m", seed=seed)).fingerprint for seed in (1, 2))
    assert one != two


def _load_in_a_process(folder, cache, made, results):
    """Where the int8 model is made by copying one, and slowly."""

    def make(source, output, **_):
        results.put("made")
        time.sleep(1)
        shutil.copytree(made, output)
        return SimpleNamespace(fidelity=Manifest.read(output).fidelity)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module, "quantize_folder", make)
        patch.setattr(quantizer_module(RuntimeName.OPENVINO), "require_quantizer", lambda: None)
        encoder = Encoder.load(folder, runtime="openvino", cache_folder=cache, warm_shapes=False)
        results.put(encoder.fingerprint)


def test_two_processes_that_ask_at_once_get_the_same_model(tiny, for_openvino, tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    asked = (tiny, tmp_path, for_openvino, results)
    processes = [context.Process(target=_load_in_a_process, args=asked) for _ in range(2)]
    for process in processes:
        process.start()
    first, one, two = (results.get(timeout=120) for _ in range(3))
    for process in processes:
        process.join(timeout=60)
    assert first == "made"
    assert one == two != "made"
    assert len([p for p in (tmp_path / "int8").iterdir() if p.is_dir()]) == 1
