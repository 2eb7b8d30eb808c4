"""Model folders that are damaged, or made to do harm: an error that names the file, soon and in little memory."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from intel_quantized_embeddings import Encoder, push_to_hub
from intel_quantized_embeddings.errors import (
    DamagedFilesError,
    OptionError,
    QuantizedEmbeddingsError,
    UnsupportedModelError,
)
from intel_quantized_embeddings.int8_folder.manifest import Manifest
from support.exported_models import write_openvino_export

TEXTS = ["the red cat", "a model of light"]


@pytest.fixture
def fp32(tiny, tmp_path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "fp32"))


@pytest.fixture
def int8(tiny_int8, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_int8, tmp_path / "int8"))


def _change(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def _change_tokenizer(folder: Path, **values: object) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "model": {**tokenizer["model"], **values}}))


def _load(folder: Path, **options: object) -> Encoder:
    return Encoder.load(folder, precision="fp32", **options)


class TestConfig:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"pad_token_id": 10**30},
            {"pad_token_id": -1},
            {"max_position_embeddings": 10**9},
            {"num_hidden_layers": 10**9},
            {"hidden_size": 10**9, "num_attention_heads": 1},
            {"vocab_size": 10**12},
            {"model_type": ["bert"]},
        ],
        ids=str,
    )
    def test_sizes_that_are_not_those_of_the_weights(self, fp32, wrong):
        _change(fp32 / "config.json", **wrong)
        with pytest.raises(QuantizedEmbeddingsError, match=r"config\.json|architecture|no tensor"):
            _load(fp32)

    @pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "manifest.json"])
    def test_a_file_of_gigabytes_is_not_read(self, int8, fp32, name):
        """It has a hole in it, so that it takes no room on the disk."""
        folder = int8 if name == "manifest.json" else fp32
        with (folder / name).open("r+b") as opened:
            opened.truncate(50 * 10**9)
        with pytest.raises(DamagedFilesError, match=rf"{name} is not readable JSON: it has 50,000,000,000 bytes"):
            Encoder.load(folder, precision="int8" if folder is int8 else "fp32")

    def test_an_instruction_without_utf8(self, fp32):
        (fp32 / "config_sentence_transformers.json").write_text('{"prompts": {"query": "\\ud800"}}')
        with pytest.raises(OptionError, match=r"the instruction '\\ud800' has half of a surrogate pair"):
            _load(fp32).encode_queries(TEXTS)


class TestWeights:
    @pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
    def test_numbers_that_are_not_finite_are_named(self, fp32, number):
        tensors = load_file(fp32 / "model.safetensors")
        tensors["encoder.layer.1.output.dense.bias"][3] = number
        save_file(tensors, fp32 / "model.safetensors")
        with pytest.raises(
            DamagedFilesError, match=r"'encoder.layer.1.output.dense.bias' of .*model.safetensors holds"
        ):
            _load(fp32)

    def test_a_vector_that_is_not_finite_is_an_error(self, fp32):
        """An export's weights are OpenVINO's to read: NaN shows in what comes out."""
        tensors = load_file(fp32 / "model.safetensors")
        tensors["encoder.layer.0.output.dense.bias"][:] = 3e38
        save_file(tensors, fp32 / "model.safetensors")
        with pytest.raises(DamagedFilesError, match="not finite"):
            _load(fp32).encode_documents(TEXTS)

    def test_a_header_that_claims_gigabytes_takes_no_memory(self, fp32):
        """A tensor's shape is compared with the configuration before it is read."""
        name, rows = "embeddings.word_embeddings.weight", 10**9
        file = fp32 / "model.safetensors"
        content = file.read_bytes()
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + size])
        start = max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
        # In the place of a tensor at the end, so that the rest still has no holes.
        header["giant"] = {"dtype": "F32", "shape": [rows, 32], "data_offsets": [start, start + rows * 128]}
        header[name], header["giant"] = header["giant"], header[name]
        spoilt = json.dumps(header).encode()
        with file.open("wb") as opened:
            opened.write(struct.pack("<Q", len(spoilt)) + spoilt + content[8 + size :])
            opened.truncate(8 + len(spoilt) + start + rows * 128)
        tracemalloc.start()
        try:
            with pytest.raises(DamagedFilesError, match=r"has shape \(1000000000, 32\)"):
                _load(fp32)
            assert tracemalloc.get_traced_memory()[1] < 50_000_000
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("size", [10_000_000_000, 2**64 - 1])
    def test_a_header_that_claims_to_be_gigabytes_long(self, fp32, size):
        file = fp32 / "model.safetensors"
        file.write_bytes(struct.pack("<Q", size) + file.read_bytes()[8:])
        with pytest.raises(DamagedFilesError, match=r"model.safetensors is not a readable safetensors file"):
            _load(fp32)

    def test_a_shard_that_is_a_link_out_of_the_folder(self, fp32, tiny):
        (fp32 / "model.safetensors").unlink()
        (fp32 / "part.safetensors").symlink_to(tiny / "model.safetensors")
        (fp32 / "model.safetensors.index.json").write_text('{"weight_map": {"x": "part.safetensors"}}')
        with pytest.raises(DamagedFilesError, match=r"is a link to .* outside the folder"):
            _load(fp32)

    @pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "\ud800"])
    def test_a_name_that_no_file_can_have(self, fp32, name):
        (fp32 / "model.safetensors").unlink()
        (fp32 / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
        with pytest.raises(QuantizedEmbeddingsError, match=r"model\.safetensors\.index\.json"):
            _load(fp32)


class TestTokenizer:
    def test_ids_that_the_model_does_not_know(self, fp32):
        """OpenVINO would give them a vector of zeros and say nothing."""
        vocabulary = json.loads((fp32 / "tokenizer.json").read_text())["model"]["vocab"]
        _change_tokenizer(fp32, vocab={**vocabulary, "cat": 5000})
        encoder = _load(fp32)
        assert encoder.encode_queries(["the red dog"]).shape == (1, 32)
        with pytest.raises(DamagedFilesError, match=r"tokenizer.json gives 'cat' the id 5000, .* vocab_size=\d+"):
            encoder.encode_queries(TEXTS)

    def test_rules_that_fail_on_a_text(self, fp32):
        _change_tokenizer(fp32, unk_token="[not there]")
        (fp32 / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
        encoder = _load(fp32)
        with pytest.raises(
            DamagedFilesError, match=r"tokenizer.json is not a tokenizer of the tokenizers library: .*UNK"
        ):
            encoder.encode_queries(["\u2603"])


class TestManifest:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"files": ["encoder.xml"]},
            {"pad_token_id": "0"},
            {"pad_token_id": -1},
            {"max_positions": 0},
            {"dimension": None},
            {"library_versions": None},
            {"source": {"id": 1, "revision": None, "weights_sha256": {}}},
        ],
        ids=str,
    )
    def test_fields_of_another_kind(self, int8, wrong):
        _change(int8 / "manifest.json", **wrong)
        with pytest.raises(DamagedFilesError, match=r"manifest\.json is not a manifest"):
            Encoder.load(int8)

    @pytest.mark.parametrize(
        "name",
        ["../outside", "a/../../outside", "/etc/hostname", "..\\outside", "C:\\outside", "C:outside", "x" * 5000],
    )
    def test_a_name_does_not_lead_out_of_the_folder(self, int8, name):
        (int8.parent / "outside").write_text("")
        listed = Manifest.read(int8).files
        _change(int8 / "manifest.json", files={**listed, name: hashlib.sha256(b"").hexdigest()})
        with pytest.raises(DamagedFilesError, match=r"outside the folder|can't be the name"):
            Encoder.load(int8)

    @pytest.mark.parametrize("name", ["special_tokens_map.json", "added_tokens.json"])
    def test_what_would_tokenize_otherwise_and_is_not_listed_is_refused(self, int8, name):
        """The fingerprint would be the same, and the vectors others."""
        assert not (int8 / name).exists()
        (int8 / name).write_text("{}")
        with pytest.raises(DamagedFilesError, match=f"{name} is not listed"):
            Encoder.load(int8)

    def test_a_link_does_not_lead_out_of_the_folder(self, int8, tmp_path):
        """Not even the model card, which may differ from what was written and would be uploaded with the rest."""
        (tmp_path / "secret").write_text("a token")
        (int8 / "README.md").unlink()
        (int8 / "README.md").symlink_to(tmp_path / "secret")
        for use in (Encoder.load, lambda folder: push_to_hub(folder, "me/model")):
            with pytest.raises(DamagedFilesError, match=r"README.md is a link to .*secret, outside the folder"):
                use(int8)

    def test_a_folder_of_links_into_the_hubs_cache_opens(self, int8, tmp_path):
        """The hub's client keeps every file as a link to ../../blobs."""
        blobs, snapshot = tmp_path / "models--me--tiny" / "blobs", tmp_path / "models--me--tiny" / "snapshots" / "c0"
        blobs.mkdir(parents=True)
        for number, file in enumerate(sorted(file for file in int8.rglob("*") if file.is_file())):
            place = snapshot / file.relative_to(int8)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, blobs / str(number))
            place.symlink_to(blobs / str(number))
        assert Encoder.load(snapshot).encode_queries(TEXTS).shape == (2, 32)

    def test_a_graph_that_is_not_ours(self, tiny_int8_of, tiny, tmp_path):
        """Its hash is right: whoever can write the graph can write the manifest."""
        int8 = Path(shutil.copytree(tiny_int8_of("openvino"), tmp_path / "openvino"))
        write_openvino_export(tiny, int8 / "encoder.xml")
        files = Manifest.read(int8).files
        for name in ("encoder.xml", "encoder.bin"):
            files[name] = hashlib.sha256((int8 / name).read_bytes()).hexdigest()
        _change(int8 / "manifest.json", files=files)
        with pytest.raises(UnsupportedModelError, match=r"encoder.xml is not a graph that this package wrote"):
            Encoder.load(int8)


def test_an_exported_graph_with_names_that_are_no_text(tiny, tmp_path):
    """Found by fuzzing: OpenVINO reads such a graph, and fails when a name is asked for."""
    folder = shutil.copytree(tiny, tmp_path / "exported")
    (folder / "model.safetensors").unlink()
    file = folder / "openvino" / "openvino_model.xml"
    file.parent.mkdir()
    write_openvino_export(tiny, file)
    file.write_bytes(file.read_bytes().replace(b"attention_mask", b"attention_m\xd0sk"))
    with pytest.raises(DamagedFilesError, match=r"openvino_model\.xml: 'utf-8' codec can't decode"):
        Encoder.load(folder, precision="fp32")


def test_nothing_is_reported_while_quantizing():
    """NNCF sends its use to its makers unless told not to; the setting is put back."""
    script = """
import os
from intel_quantized_embeddings.quantization.openvino import require_quantizer
require_quantizer()
from nncf.telemetry.wrapper import telemetry
print(type(telemetry).__name__ == "NNCFTelemetry", os.environ.get("NNCF_CI"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["False", "None"]


def test_calibration_texts_with_half_a_surrogate_pair_are_named(fp32, tmp_path):
    from intel_quantized_embeddings import quantize

    with pytest.raises(OptionError, match=r"calibration_texts: text 1 has the lone surrogate"):
        quantize(fp32, tmp_path / "out", calibration_texts=["fine", "not\ud800"])
