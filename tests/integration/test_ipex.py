"""What is particular to the IPEX runtime: its quantizer, its place in the process, and what is said where it is not."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.errors import (
    MissingExtraError,
    OptionError,
    QuantizedEmbeddingsError,
    UnsupportedModelError,
)
from intel_quantized_embeddings.int8_folder.config import QuantizationConfig
from intel_quantized_embeddings.int8_folder.manifest import Manifest
from intel_quantized_embeddings.runtimes import import_ipex as importing
from support.tiny_models import write_tiny_model

pytestmark = pytest.mark.ipex


class TestWhereItIsNotInstalled:
    @pytest.fixture(autouse=True)
    def _not_imported_yet(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "intel_extension_for_pytorch", raising=False)

    @pytest.mark.parametrize("absent", ["torch", "intel_extension_for_pytorch"])
    def test_the_error_names_the_extra(self, tiny, monkeypatch, absent):
        monkeypatch.setattr(importing.importlib.util, "find_spec", lambda name: None if name == absent else object())
        with pytest.raises(MissingExtraError, match=r"runtime='ipex' needs .*intel-quantized-embeddings\[ipex\]"):
            Encoder.load(tiny, runtime="ipex")

    def test_another_torch_than_its_own_is_said_before_it_ends_the_process(self, tiny, monkeypatch):
        """On another torch, importing IPEX calls sys.exit."""
        versions = {"torch": "2.13.0+cpu", "intel-extension-for-pytorch": "2.8.0"}
        monkeypatch.setattr(importing.importlib.util, "find_spec", lambda name: object())
        monkeypatch.setattr(importing, "version", versions.__getitem__)
        with pytest.raises(QuantizedEmbeddingsError, match=r"torch 2\.13\.0\+cpu is installed.*torch 2\.8 only"):
            Encoder.load(tiny, runtime="ipex")

    def test_the_default_runtime_does_not_ask_for_it(self, tiny, monkeypatch):
        monkeypatch.setattr(importing, "import_ipex", lambda: pytest.fail("it was asked for"))
        Encoder.load(tiny, precision="fp32")


DENSE = ("Dense", {"activation": "activation.Tanh"})


@pytest.mark.parametrize(
    ("pooling", "behind", "named"),
    [("mean", [DENSE], "mean, Dense"), ("max", [("Normalize", {})], "max, UnitLength"), ("cls+mean", [], "cls, mean")],
)
def test_what_it_does_not_have_behind_the_layers_is_refused_by_name(ipex_installed, tmp_path, pooling, behind, named):
    folder = write_tiny_model(tmp_path / "model", pooling=pooling, normalize=False, behind=behind or None)
    with pytest.raises(UnsupportedModelError, match=rf"this model has {named}\..*runtime='native' or 'openvino'"):
        Encoder.load(folder, runtime="ipex", precision="fp32")


@pytest.fixture(scope="module")
def int8(ipex_installed, tiny_int8_of):
    return tiny_int8_of("ipex")


def _run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
    )


def test_the_manifest_tells_how_it_was_made(int8):
    manifest = Manifest.read(int8)
    assert (manifest.runtime, manifest.precision, manifest.method.name) == ("ipex", "int8", "static")
    assert manifest.method.attention in ("bf16", "fp32")
    assert "encoder.pt" in manifest.files
    assert {"torch", "intel-extension-for-pytorch", "neural-compressor-pt"} <= set(manifest.library_versions)
    assert manifest.fidelity.documents.mean > 0.99


def test_the_graph_is_really_int8(int8):
    import torch

    Encoder.load(int8, runtime="ipex")
    graph = str(torch.jit.freeze(torch.jit.load(str(int8 / "encoder.pt")).eval()).inlined_graph)
    # Six linear layers in each of two layers with weights in 8 bits, and four inputs for them; attention is not.
    assert graph.count("aten::linear(") == 12
    assert graph.count("aten::dequantize(") >= 12 + 8
    assert graph.count("aten::quantize_per_tensor(") >= 8
    assert "flash_attention" in graph or "scaled_dot_product_attention" in graph


@pytest.mark.usefixtures("ipex_installed")
@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_every_pooling_is_quantized_faithfully(pooling, tmp_path):
    """With CLS pooling the last layer's rows are slices, which IPEX's int8 layers can misread as NaN."""
    folder = write_tiny_model(tmp_path / "tiny", pooling={"last": "lasttoken"}.get(pooling, pooling))
    report = quantize(folder, tmp_path / "int8", runtime="ipex", search=False)
    assert report.fidelity.documents.mean > 0.98
    assert report.fidelity.queries.mean > 0.98
    encoder = Encoder.load(tmp_path / "int8", runtime="ipex")
    assert np.isfinite(encoder.encode_documents(["the cat", "stone " * 30, ""])).all()


def test_a_folder_made_for_bfloat16_says_so_on_a_cpu_without(int8, monkeypatch, caplog):
    if Manifest.read(int8).method.attention != "bf16":
        pytest.skip("this CPU has no bfloat16 instructions, so its folders need none")
    Encoder.load(int8, runtime="ipex")
    assert caplog.messages == []
    monkeypatch.setattr("intel_quantized_embeddings.encoders.loading.has_bfloat16", lambda: False)
    Encoder.load(int8, runtime="ipex")
    assert ["emulates" in message for message in caplog.messages] == [True]


@pytest.mark.usefixtures("ipex_installed")
def test_layers_stay_in_floating_point_as_asked(tiny, tmp_path):
    import torch

    config = QuantizationConfig(floating_point_layers=("layer.1.output", "layer.0"))
    report = quantize(tiny, tmp_path / "int8", runtime="ipex", search=False, config=config)
    assert len(report.floating_point_layers) == 7
    graph = str(torch.jit.freeze(torch.jit.load(str(tmp_path / "int8" / "encoder.pt")).eval()).inlined_graph)
    # Of the twelve linear layers five have an input and weights in 8 bits; query, key and value share theirs.
    assert 3 <= graph.count("aten::quantize_per_tensor(") <= 5
    assert Encoder.load(tmp_path / "int8", runtime="ipex").encode_documents(["the cat"]).shape == (1, 32)


@pytest.mark.usefixtures("ipex_installed")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (QuantizationConfig(activation_ranges="mean"), "activation_ranges='mean' is not available with runtime='ipex'"),
        (QuantizationConfig(method="dynamic"), "method='dynamic' is not available"),
    ],
)
def test_what_its_quantizer_can_not_do_is_refused(tiny, tmp_path, config, message):
    with pytest.raises(OptionError, match=message):
        quantize(tiny, tmp_path / "int8", runtime="ipex", config=config)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("ipex_installed")
def test_a_cpu_without_bfloat16_gets_float32_attention(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("intel_quantized_embeddings.quantization.ipex.has_bfloat16", lambda: False)
    quantize(tiny, tmp_path / "int8", runtime="ipex", search=False)
    assert Manifest.read(tmp_path / "int8").method.attention == "fp32"
    graph = (tmp_path / "int8" / "encoder.pt").read_bytes()
    assert b"flash_attention" not in graph
    assert Encoder.load(tmp_path / "int8", runtime="ipex").encode_documents(["the cat"]).shape == (1, 32)


def test_the_command_writes_a_folder_for_it(tiny, tmp_path, ipex_installed, capsys):
    assert main(["quantize", str(tiny), str(tmp_path / "out"), "--runtime", "ipex", "--no-search"]) == 0
    assert "cosine to fp32, documents: mean 0.9" in capsys.readouterr().out
    assert Manifest.read(tmp_path / "out").runtime == "ipex"


def test_folders_of_one_runtime_are_not_for_the_other(int8, tiny_int8_of):
    with pytest.raises(OptionError, match="Pass runtime='ipex'"):
        Encoder.load(int8, runtime="openvino")
    with pytest.raises(OptionError, match="Pass runtime='openvino'"):
        Encoder.load(tiny_int8_of("openvino"), runtime="ipex")


@pytest.mark.usefixtures("ipex_installed", "quick_quantizing")
def test_the_cache_keeps_a_model_for_each_runtime(tiny, tmp_path):
    for runtime in ("openvino", "ipex"):
        Encoder.load(tiny, runtime=runtime, cache_folder=tmp_path)
    kept = sorted(path.name.rsplit("-", 2)[1] for path in (tmp_path / "int8").iterdir() if path.is_dir())
    assert kept == ["ipex", "openvino"]


def test_the_threads_of_the_process_are_left_as_they_were(int8):
    import torch

    before = torch.get_num_threads()
    seen = []
    encoder = Encoder.load(int8, runtime="ipex", num_threads=1)
    encoder.encode_documents(["the cat"])

    def elsewhere():
        encoder.encode_documents(["the dog"])
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *seen] == [before, before]


def test_num_threads_is_obeyed_while_a_batch_runs(int8, monkeypatch):
    import torch

    encoder = Encoder.load(int8, runtime="ipex", num_threads=1)
    used = []
    module = encoder._runtime._module
    monkeypatch.setattr(
        encoder._runtime, "_module", lambda *batch: (used.append(torch.get_num_threads()), module(*batch))[1]
    )
    encoder.encode_documents(["the cat"])
    assert used == [1]


@pytest.mark.usefixtures("ipex_installed")
def test_loading_and_quantizing_are_quiet_and_leave_the_process_alone(tiny, tmp_path):
    """Nothing on the terminal, no folder where the caller stands, logging as it was."""
    done = _run(
        """
import json, logging, os, sys
os.chdir(sys.argv[2])
before = logging.getLogger().handlers[:], logging.getLoggerClass(), dict(os.environ)
from intel_quantized_embeddings import Encoder, quantize
quantize(sys.argv[1], "out", runtime="ipex", search=False)
Encoder.load("out", runtime="ipex").encode_documents(["the cat"])
after = logging.getLogger().handlers[:], logging.getLoggerClass(), dict(os.environ)
children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
print(json.dumps([os.listdir("."), [a == b for a, b in zip(before, after)], len(children)]))
""",
        tiny,
        tmp_path,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == [["out"], [True, True, True], 0]


FORKED = """
import os, sys
from intel_quantized_embeddings import Encoder

encoder = Encoder.load(sys.argv[1], runtime="ipex", num_threads=2)
texts = [f"stone {number}" for number in range(200)]
before = encoder.encode_queries(texts[:1]), encoder.encode_queries(texts)
child = os.fork()
if not child:
    same = all((encoder.encode_queries(texts[: len(rows)]) == rows).all() for rows in before)
    os._exit(0 if same else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_it_goes_on_in_a_forked_process(int8):
    """The thread that runs batches with all threads does not come along; another takes its place."""
    done = subprocess.run([sys.executable, "-c", FORKED, str(int8)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_several_callers_at_once_compile_one_by_one(int8, monkeypatch):
    """IPEX compiles each shape for each thread, without a lock: beside other runs, that ended or hung the process."""
    texts = [f"stone number {number} " * (number % 20 + 1) for number in range(400)]
    encoder = Encoder.load(int8, runtime="ipex", num_threads=2)
    expected = encoder.encode_documents(texts)
    known, inside, beside = set(), [], []

    def watched(ids, mask):
        run = (threading.current_thread(), tuple(ids.shape))
        inside.append(run)
        now = list(inside)
        time.sleep(0.002)  # let others in
        if len(now) > 1 and any(one not in known for one in now):
            beside.append(now)
        try:
            return module(ids, mask)
        finally:
            known.add(run)
            inside.remove(run)

    encoder = Encoder.load(int8, runtime="ipex", num_threads=2)
    module = encoder._runtime._module
    monkeypatch.setattr(encoder._runtime, "_module", watched)
    with ThreadPoolExecutor(3) as callers:
        found = list(callers.map(lambda _: encoder.encode_documents(texts), range(6)))
    assert not beside
    assert len(known) > 4
    assert all(np.array_equal(rows, expected) for rows in found)


def test_the_shared_thread_goes_with_any_encoder(int8):
    """What it compiled is found by addresses in the encoder's graph, which a later one's graph may get."""
    from intel_quantized_embeddings.runtimes import ipex

    encoder = Encoder.load(int8, runtime="ipex")
    before = ipex._all_threads.run(threading.current_thread)
    assert ipex._all_threads.run(threading.current_thread) is before
    del encoder
    gc.collect()
    assert ipex._all_threads.run(threading.current_thread) is not before
