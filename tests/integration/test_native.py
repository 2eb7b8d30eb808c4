"""The native runtime as a citizen: what it refuses, how it ends, and what it leaves to others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder, Reranker, quantize, quantize_cross_encoder
from intel_quantized_embeddings.architectures.embedding_gemma2 import EMBEDDING_GEMMA2
from intel_quantized_embeddings.architectures.modernbert import MODERNBERT
from intel_quantized_embeddings.errors import DamagedFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.int8_folder.manifest import Manifest
from intel_quantized_embeddings.options import Precision
from intel_quantized_embeddings.quantization.native import words_in_int8
from intel_quantized_embeddings.runtimes import native_library
from intel_quantized_embeddings.runtimes.native import NativeRuntime, compile_graph
from intel_quantized_embeddings.runtimes.native_folder import read_native, write_native
from intel_quantized_embeddings.runtimes.native_graph import NativeGraph
from intel_quantized_embeddings.runtimes.native_library import instruction_sets
from intel_quantized_embeddings.runtimes.native_library import quantize as quantize_weights
from support.tiny_models import write_tiny_model

TEXTS = ["the cat sat on the red mat", "stone " * 40, "water", ""]


@pytest.fixture(scope="module")
def folder(tiny_int8_of) -> Path:
    return tiny_int8_of("native")


class TestQuantizedAtOnce:
    def test_an_fp32_model_asked_for_in_int8_leaves_nothing_in_the_cache(self, tiny, tmp_path):
        encoder = Encoder.load(tiny, runtime="native", cache_folder=tmp_path / "cache")
        assert encoder.fingerprint.startswith("native-int8-mean-")
        assert not (tmp_path / "cache").exists()

    def test_it_gives_the_bits_of_the_folder_that_quantize_writes(self, tiny, folder):
        at_once, written = (Encoder.load(model, runtime="native") for model in (tiny, folder))
        assert np.array_equal(at_once.encode_documents(TEXTS), written.encode_documents(TEXTS))

    def test_the_texts_to_calibrate_on_change_nothing(self, tiny, folder, tmp_path):
        texts = [f"stone number {number}" for number in range(12)]
        other = quantize(tiny, tmp_path / "other", runtime="native", calibration_texts=texts).folder
        assert (other / "encoder.safetensors").read_bytes() == (folder / "encoder.safetensors").read_bytes()


def test_a_folder_says_what_it_is(folder):
    manifest = Manifest.read(folder)
    assert (manifest.runtime, manifest.precision, manifest.method.name) == ("native", "int8", "per-token")
    assert {"encoder.safetensors", "encoder.json"} <= set(manifest.files)
    assert "int8 by token" in (folder / "README.md").read_text()


def test_a_layer_can_stay_in_floating_point(tiny, folder, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("floating_point_layers: [layer.0, layer.1.output]\n")
    quantize(tiny, tmp_path / "out", runtime="native", config=config)
    arrays = read_native(tmp_path / "out" / "encoder.safetensors").arrays
    assert {name for name in arrays if name.endswith(".codes")} == {
        "words.codes",
        *(f"layers.1.{part}.codes" for part in ("qkv", "attention_output", "intermediate")),
    }
    fp32, whole, part = (
        Encoder.load(model, runtime="native", precision=precision).encode_documents(TEXTS)
        for model, precision in ((tiny, "fp32"), (folder, "int8"), (tmp_path / "out", "int8"))
    )
    assert (part * fp32).sum(axis=1).mean() > (whole * fp32).sum(axis=1).mean()


@pytest.mark.parametrize("setting", ["weight_bits: 7", "activation_ranges: mean", "smooth_quant: [0.5, off]"])
def test_settings_of_calibration_are_refused(tiny, tmp_path, setting):
    config = tmp_path / "config.yaml"
    config.write_text(setting + "\n")
    with pytest.raises(OptionError, match=setting.partition(":")[0]):
        quantize(tiny, tmp_path / "out", runtime="native", config=config)


def test_bfloat16_is_refused_with_what_there_is(tiny):
    with pytest.raises(OptionError, match="'int8' and 'fp32'"):
        Encoder.load(tiny, runtime="native", precision="bf16")


def test_a_graph_is_not_compiled_to_a_precision_that_the_engine_lacks(folder):
    graph = read_native(folder / "encoder.safetensors")
    with pytest.raises(OptionError, match="'int8' and 'fp32'"):
        compile_graph(graph, precision=Precision.BF16)


class TestWords:
    def test_an_int8_model_holds_one_byte_a_number_of_its_words(self, minilm, tmp_path):
        file = quantize(minilm, tmp_path / "int8", runtime="native", measure=False).folder / "encoder.safetensors"
        arrays = read_native(file).arrays
        assert "words" not in arrays
        assert (arrays["words.codes"].dtype, arrays["words.codes"].shape) == (np.int8, (30522, 384))
        assert file.stat().st_size < 24e6  # 58 MB with words in floats

    def test_they_are_nearest_codes_and_their_scale(self):
        words = np.random.default_rng(3).standard_normal((1100, 48), dtype=np.float32)
        words[700, :4] = (127, 2.5, -3.5, 0.5)
        words[700, 4:] = 0
        codes, scales = words_in_int8(words)
        assert np.array_equal(scales, np.abs(words).max(axis=1) / np.float32(127))
        assert (np.abs(codes * scales[:, None] - words) <= 0.50001 * scales[:, None]).all()
        assert codes[700, :4].tolist() == [127, 2, -4, 0]

    @pytest.mark.parametrize("size", [0, 1e-45, 1e-38, 3e38])
    def test_rows_of_any_size_have_codes(self, size):
        words = np.full((2, 16), size, dtype=np.float32)
        codes, scales = words_in_int8(words)
        np.testing.assert_allclose(codes * scales[:, None], words, rtol=1e-6, atol=2e-36)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_row_with_a_number_that_is_none_spoils_the_texts_it_is_in(self, folder, value):
        native = read_native(folder / "encoder.safetensors")
        words = np.random.default_rng(3).standard_normal(native.arrays["words.codes"].shape, dtype=np.float32)
        words[5, 7] = value
        codes, scales = words_in_int8(words)
        arrays = {**native.arrays, "words.codes": codes, "words.scales": scales}
        rows = NativeRuntime(NativeGraph(shape=native.shape, arrays=arrays)).run_ragged([[1, 2, 3], [1, 5, 3], [5]])
        assert np.isfinite(rows[0]).all()
        assert np.isnan(rows[1:]).all()


def test_arrays_of_a_folder_lie_at_cache_lines_whatever_sizes_others_have(folder, tmp_path):
    native = read_native(folder / "encoder.safetensors")
    arrays = {**native.arrays, "a": np.zeros(3, dtype=np.float32)}
    write_native(NativeGraph(shape=native.shape, arrays=arrays), tmp_path / "encoder.safetensors")
    again = read_native(tmp_path / "encoder.safetensors").arrays
    assert all(np.array_equal(again[name], array) for name, array in arrays.items())
    assert [name for name, array in again.items() if array.nbytes % 64 == 0 and array.ctypes.data % 64] == []


class TestCrossEncoders:
    DOCUMENTS = ("the red mat", "cold water", "music and light " * 8)
    PAIRS = tuple(zip(("what is red?",) * 3, DOCUMENTS, strict=True))

    def test_scores_in_fp32_are_openvinos(self, tiny_cross_encoder):
        ours, theirs = (
            CrossEncoder.load(tiny_cross_encoder, runtime=runtime, precision="fp32").score(list(self.PAIRS))
            for runtime in ("native", "openvino")
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-5)

    def test_an_int8_folder_scores_like_fp32(self, tiny_cross_encoder, tmp_path):
        fp32 = CrossEncoder.load(tiny_cross_encoder, runtime="native", precision="fp32").score(list(self.PAIRS))
        quantize_cross_encoder(tiny_cross_encoder, tmp_path / "int8", runtime="native")
        int8 = CrossEncoder.load(tmp_path / "int8", runtime="native").score(list(self.PAIRS))
        at_once = CrossEncoder.load(tiny_cross_encoder, runtime="native").score(list(self.PAIRS))
        assert np.array_equal(int8, at_once)
        assert np.abs(int8 - fp32).max() < 0.1

    def test_a_reranker_takes_it(self, tiny_cross_encoder):
        reranker = Reranker.load(tiny_cross_encoder, runtime="native")
        assert len(reranker.rank("what is red?", self.DOCUMENTS)) == 3


class TestDamage:
    """A folder whose hashes agree, as one that somebody wrote with intent has: the engine looks for itself."""

    @pytest.fixture
    def graph(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path / "copy")
        return tmp_path / "copy" / "encoder.safetensors"

    def _runs(self, file: Path) -> np.ndarray:
        return NativeRuntime(read_native(file)).run_ragged([[1, 2, 3], [4]])

    def _changed(self, graph: Path, **arrays) -> Path:
        """Another folder, some of whose arrays are others; None leaves one out. The first stays mapped."""
        native = read_native(graph)
        changed = {name: array for name, array in {**native.arrays, **arrays}.items() if array is not None}
        other = graph.parent.with_name("other") / graph.name
        other.parent.mkdir()
        write_native(NativeGraph(shape=native.shape, arrays=changed), other)
        return other

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("hidden", 2**31 - 1), ("hidden", 0), ("hidden", 31), ("heads", 3), ("layers", 0), ("layers", 5)),
            *(("layers", 2**31 - 1), ("inner", 63), ("inner", 2**30), ("vocabulary", 10**9), ("vocabulary", 4)),
            *(("positions", 0), ("positions", 10**6), ("pooling", 7), ("activation", -1), ("precision", 1)),
            *(("relative", 1), ("second_text", 1), ("padding", 3), ("head", 2), ("qkv_levels", 0)),
            *(("qkv_levels", 255), ("qkv_levels", 10**6), ("key_heads", 3), ("norms_aside", 2), ("branch_norms", 1)),
            *(("first_norm", 1), ("centred", -1), ("head_norms", 1), ("rotary", 1), ("gated", 1), ("positions", 2**30)),
            *(("steps", 10**6), ("outputs", 31)),
            *(("epsilon", 0.0), ("epsilon", "small"), ("hidden", "32"), ("hidden", 2**40), ("format_version", 0)),
        ],
    )
    def test_a_description_that_does_not_fit_the_arrays_is_an_error(self, graph, name, value):
        description = graph.with_name("encoder.json")
        content = json.loads(description.read_text())
        description.write_text(json.dumps(content | {name: value}))
        with pytest.raises(DamagedFilesError):
            self._runs(graph)

    def test_a_later_format_is_said_to_be_one(self, graph):
        description = graph.with_name("encoder.json")
        description.write_text(json.dumps(json.loads(description.read_text()) | {"format_version": 99}))
        with pytest.raises(UnsupportedModelError, match="format 99"):
            self._runs(graph)

    def test_a_file_cut_off_is_an_error(self, graph):
        graph.write_bytes(graph.read_bytes()[:-100])
        with pytest.raises(DamagedFilesError):
            self._runs(graph)

    def test_codes_that_sums_have_no_room_for_are_an_error(self, graph):
        codes = np.full(3 * 32 * 32, 127, dtype=np.int8)
        sums = np.full(3 * 32, 127 * 32, dtype=np.int32)
        other = self._changed(graph, **{"layers.0.qkv.codes": codes, "layers.0.qkv.sums": sums})
        with pytest.raises(DamagedFilesError, match="not exact"):
            self._runs(other)

    @pytest.mark.parametrize("name", ["layers.1.output.scales", "words.codes", "words.scales"])
    def test_an_array_that_is_not_there_is_named(self, graph, name):
        other = self._changed(graph, **{name: None})
        with pytest.raises(DamagedFilesError, match=re.escape(f"no tensor '{name}'")):
            self._runs(other)

    def _is_refused(self, model, folder, name, array, said):
        quantize(model, folder, runtime="native", measure=False)
        changed = None if array is None else np.array(array, dtype=np.int32)
        other = self._changed(folder / "encoder.safetensors", **{name: changed})
        with pytest.raises(DamagedFilesError, match=re.escape(said)):
            self._runs(other)

    @pytest.mark.parametrize(
        ("name", "array", "said"),
        [
            ("layers.reaches", [[-1, 8], [8, 8]], "a reach of 'layers.reaches' is below 0"),
            ("layers.reaches", [[8, 8]], "'layers.reaches' has 8 bytes; the model needs 16"),
            ("layers.rotary", [0, 7], "no tensor 'rotary.7'"),
            ("layers.rotary", [0, -1], "no tensor 'rotary.-1'"),
            ("rotary.0.frequencies", None, "no tensor 'rotary.0'"),
        ],
    )
    def test_windows_and_positions_are_checked(self, tmp_path, name, array, said):
        modern = write_tiny_model(tmp_path / "modern", family=MODERNBERT)
        self._is_refused(modern, tmp_path / "folder", name, array, said)

    @pytest.mark.parametrize(
        ("name", "array", "said"),
        [
            ("layers.heads", [[16, 2]], "'layers.heads' has 8 bytes; the model needs 16"),
            ("layers.heads", [[16, 2], [32, 3]], "a size or number of 'layers.heads' is not one that"),
            ("layers.heads", [[15, 2], [32, 1]], "a size or number of 'layers.heads' is not one that"),
            ("layers.heads", [[16, 2], [0, 1]], "a size or number of 'layers.heads' is not one that"),
            ("layers.heads", [[16, 2], [16, 2]], "'layers.1.qkv.bias' has 768 bytes; the model needs 512"),
            ("layers.heads", None, "'layers.1.qkv.bias' has 768 bytes; the model needs 512"),
            ("recall.inputs", [0], "'recall.inputs' is not one that the engine takes"),
            ("recall.inputs", [40], "'layers.0.recall_inputs.bias' has 128 bytes; the model needs 192"),
            ("layers.1.recall_factor", None, "no tensor 'layers.1.recall_factor'"),
        ],
    )
    def test_heads_and_third_halves_are_checked(self, tmp_path, name, array, said):
        model = write_tiny_model(tmp_path / "model", family=EMBEDDING_GEMMA2)
        self._is_refused(model, tmp_path / "folder", name, array, said)

    def test_words_of_another_size_are_an_error(self, graph):
        codes = read_native(graph).arrays["words.codes"]
        other = self._changed(graph, **{"words.codes": codes.astype(np.float32)})
        with pytest.raises(DamagedFilesError, match=rf"'words\.codes' has {4 * codes.size} bytes"):
            self._runs(other)

    def test_one_row_for_all_places_is_an_error_where_places_differ(self, graph):
        native = read_native(graph)
        row = native.arrays["positions"].reshape(-1)[: native.shape.hidden]
        with pytest.raises(DamagedFilesError, match="'positions' has 128 bytes"):
            self._runs(self._changed(graph, positions=row))

    @pytest.mark.parametrize(
        "name", ["words.scales", "layers.0.qkv.scales", "layers.0.intermediate.factors", "layers.1.output_norm.bias"]
    )
    def test_numbers_that_are_none_spoil_the_vectors_visibly(self, graph, name):
        """No row of bytes hides them: the encoder then says that the weights are damaged."""
        array = np.full_like(read_native(graph).arrays[name], np.nan)
        assert not np.isfinite(self._runs(self._changed(graph, **{name: array}))).any()


@pytest.mark.parametrize("ids", [[-1], [10**6], [2**31 - 1], [2**31], [2**32 + 4], [-(2**40)], [2**70], [], [1] * 131])
def test_token_ids_and_lengths_are_checked(folder, ids):
    runtime = Encoder.load(folder, runtime="native")._runtime
    with pytest.raises(DamagedFilesError, match="token"):
        runtime.run_ragged([[1, 2], ids])


def test_an_instruction_set_can_be_forced(folder, monkeypatch):
    monkeypatch.delenv("IQE_ISA", raising=False)
    encoder = Encoder.load(folder, runtime="native")
    monkeypatch.setenv("IQE_ISA", "scalar")
    scalar = Encoder.load(folder, runtime="native")
    assert scalar._runtime.instruction_set == "scalar"
    assert encoder._runtime.instruction_set == instruction_sets()[0]
    assert scalar.fingerprint == encoder.fingerprint
    assert np.array_equal(scalar.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
    monkeypatch.setenv("IQE_ISA", "mmx")
    with pytest.raises(OptionError, match=r"IQE_ISA='mmx'.*scalar"):
        Encoder.load(folder, runtime="native")


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_an_instruction_set_is_an_option_that_goes_before_the_variable(tiny, monkeypatch, precision):
    fastest = Encoder.load(tiny, runtime="native", precision=precision)
    monkeypatch.setenv("IQE_ISA", instruction_sets()[0])
    scalar = Encoder.load(tiny, runtime="native", precision=precision, instruction_set="scalar")
    assert scalar._runtime.instruction_set == "scalar"
    assert scalar.fingerprint == fastest.fingerprint
    assert np.array_equal(scalar.encode_documents(TEXTS), fastest.encode_documents(TEXTS))
    with pytest.raises(OptionError, match=r"instruction_set='mmx'.*'scalar'"):
        Encoder.load(tiny, runtime="native", precision=precision, instruction_set="mmx")


def test_a_cross_encoder_takes_an_instruction_set(tiny_cross_encoder):
    model = CrossEncoder.load(tiny_cross_encoder, runtime="native", instruction_set="scalar")
    assert model._runtime.instruction_set == "scalar"


@pytest.mark.parametrize("runtime", ["openvino", "ipex"])
def test_other_runtimes_let_no_instruction_set_be_chosen(tiny, runtime):
    with pytest.raises(OptionError, match=f"instruction_set='avx2'.*runtime='{runtime}'.*'native'"):
        Encoder.load(tiny, runtime=runtime, instruction_set="avx2")


def test_an_installation_without_the_engine_says_so(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(native_library, "LIBRARY", tmp_path / "none.so")
    native_library.library.cache_clear()
    with pytest.raises(UnsupportedModelError, match="runtime='openvino'"):
        Encoder.load(folder, runtime="native")


INTERRUPTED = """
import os, signal, sys, threading, time
from intel_quantized_embeddings import Encoder

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it starts in the background ignore it
encoder = Encoder.load(sys.argv[1], runtime="native")
texts = [[number % 50 + 4] * 60 for number in range(200_000)]
try:
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    encoder.encode_token_ids(texts)
except KeyboardInterrupt:
    # What was interrupted is over, and the engine is as before.
    assert encoder.encode_queries(["water"]).shape == (1, encoder.dimension)
    print("interrupted")
"""


def test_control_c_ends_one_long_call(folder):
    """Of some minutes, most of which pass in the engine."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, str(folder)], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


FIRST_VECTOR = """
import sys
from intel_quantized_embeddings import Encoder

Encoder.load(sys.argv[1], runtime="native").encode_queries(["water"])
print(*sorted(sys.modules))
"""


def test_a_folder_gives_its_first_vector_without_importing_what_takes_long(folder):
    done = subprocess.run([sys.executable, "-c", FIRST_VECTOR, str(folder)], capture_output=True, text=True, check=True)
    others = {"importlib.metadata", "importlib.resources", "huggingface_hub", "openvino", "torch", "filelock", "yaml"}
    assert others & set(done.stdout.split()) == set()


IDLE = """
import resource, sys, time
from intel_quantized_embeddings import Encoder

encoder = Encoder.load(sys.argv[1], runtime="native", num_threads=4)
encoder.encode_documents([f"stone {number}" for number in range(300)])
time.sleep(0.2)
before = time.process_time()
time.sleep(1)
print(time.process_time() - before)
"""


def test_an_encoder_that_waits_uses_no_core(folder):
    done = subprocess.run([sys.executable, "-c", IDLE, str(folder)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.1


def test_weights_that_are_all_zeros_or_huge_are_quantized():
    weights = np.zeros((16, 16), dtype=np.float32)
    weights[1] = 1e30
    weights[2, :3] = (1e-30, -1e30, 1)
    codes, scales, sums = quantize_weights(weights, None, levels=255)
    assert np.isfinite(scales).all()
    rows = codes.reshape(1, 4, 16, 4).transpose(0, 2, 1, 3).reshape(16, 16)
    assert np.array_equal(rows.sum(axis=1), sums)
    assert not rows[0].any()
    np.testing.assert_allclose(rows * scales[:, None], weights, rtol=0.01, atol=1e28)
