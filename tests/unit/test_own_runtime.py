"""Where no runtime is named, a model runs on its own; and the native one needs no library of another."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder
from intel_quantized_embeddings.errors import MissingExtraError, OptionError
from intel_quantized_embeddings.models.weight_files import WeightKind, runtime_of_weights


@pytest.fixture
def export(tiny, tmp_path):
    pytest.importorskip("openvino", reason="the openvino extra is not installed")
    from support.exported_models import write_openvino_export

    folder = shutil.copytree(tiny, tmp_path / "export", ignore=shutil.ignore_patterns("model.safetensors"))
    write_openvino_export(tiny, folder / "openvino_model.xml")
    return folder


@pytest.mark.parametrize("runtime", ["native", "openvino"])
def test_an_int8_folder_takes_the_one_it_was_made_for(tiny_int8_of, runtime):
    encoder = Encoder.load(tiny_int8_of(runtime), warm_shapes=False)
    assert encoder.fingerprint.startswith(f"{runtime}-int8-")
    assert encoder.fingerprint == Encoder.load(tiny_int8_of(runtime), runtime=runtime, warm_shapes=False).fingerprint


@pytest.mark.parametrize(("runtime", "other"), [("native", "openvino"), ("openvino", "native")])
def test_an_int8_folder_refuses_another(tiny_int8_of, runtime, other):
    with pytest.raises(OptionError, match=f"quantized with runtime='{runtime}'. Pass runtime='{runtime}'"):
        Encoder.load(tiny_int8_of(runtime), runtime=other)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_safetensors_take_the_native_one(tiny, precision, tmp_path):
    encoder = Encoder.load(tiny, precision=precision, cache_folder=tmp_path)
    assert encoder.fingerprint.startswith(f"native-{precision}-")
    assert list(tmp_path.iterdir()) == []  # quantized while it was read


def test_a_cross_encoder_takes_the_native_one(tiny_cross_encoder, tmp_path):
    model = CrossEncoder.load(tiny_cross_encoder, cache_folder=tmp_path)
    assert model.fingerprint.startswith("native-int8-")
    assert list(tmp_path.iterdir()) == []


def test_an_export_takes_openvino(export):
    encoder = Encoder.load(export, precision="fp32", warm_shapes=False)
    assert encoder.fingerprint.startswith("openvino-fp32-")


def test_torchscript_takes_ipex():
    assert {kind.name: runtime_of_weights(kind).value for kind in WeightKind} == {
        "SAFETENSORS": "native",
        "EXPORT": "openvino",
        "TORCHSCRIPT": "ipex",
    }


@pytest.mark.parametrize("load", [Encoder.load, CrossEncoder.load], ids=["Encoder", "CrossEncoder"])
def test_bf16_says_which_has_it(load, tiny, tiny_cross_encoder):
    with pytest.raises(OptionError, match=r"precision='bf16' .*runtime='native'.* It is with runtime='openvino'"):
        load(tiny if load == Encoder.load else tiny_cross_encoder, precision="bf16")


def test_openvino_that_is_not_installed_says_what_to_install(tiny_int8_of, export, monkeypatch):
    folder = tiny_int8_of("openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    for model in (folder, export):
        with pytest.raises(MissingExtraError, match=r"pip install 'intel-quantized-embeddings\[openvino\]'"):
            Encoder.load(model, precision="int8" if model == folder else "fp32")


ALL_THAT_IS_NATIVE = """
import sys
from pathlib import Path

asked = []


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("openvino", "nncf"):
            asked.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())

from intel_quantized_embeddings import CrossEncoder, Encoder, quantize, quantize_cross_encoder

tiny, scorer, out = sys.argv[1:]
folder = quantize(tiny, Path(out) / "int8").folder
for model, precision in ((tiny, "int8"), (tiny, "fp32"), (folder, "int8")):
    Encoder.load(model, precision=precision).encode_queries(["text"])
folder = quantize_cross_encoder(scorer, Path(out) / "int8-scorer").folder
for model, precision in ((scorer, "int8"), (scorer, "fp32"), (folder, "int8")):
    CrossEncoder.load(model, precision=precision).score([("one", "other")])
print("asked for:", *asked)
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_the_native_one_imports_no_other_library_and_no_framework(tiny, tiny_cross_encoder, tmp_path):
    """Loading, quantizing and encoding, where OpenVINO and NNCF are not there, and without looking for them."""
    arguments = [sys.executable, "-c", ALL_THAT_IS_NATIVE, str(tiny), str(tiny_cross_encoder), str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    asked, loaded = done.stdout.splitlines()
    assert asked == "asked for:"
    frameworks = {"langchain", "langchain_core", "llama_index", "pydantic", "torch", "transformers"}
    assert {"openvino", "nncf", *frameworks} & set(loaded.split()) == set()
