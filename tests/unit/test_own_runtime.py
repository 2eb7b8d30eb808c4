"""Where no runtime is named, a model runs on its own; and the native one needs no library of another."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.models.weight_files import WeightKind, runtime_of_weights
from support.cpu_kinds import fails_where_onednn_is_limited


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


@fails_where_onednn_is_limited
def test_an_export_takes_openvino(export):
    encoder = Encoder.load(export, precision="fp32", warm_shapes=False)
    assert encoder.fingerprint.startswith("openvino-fp32-")


@pytest.mark.ipex
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


# Makes OpenVINO and NNCF as if not installed, and lists what of them was asked for.
WITHOUT_OPENVINO = """
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
"""

ALL_THAT_IS_OPENVINOS = (
    WITHOUT_OPENVINO
    + """
from intel_quantized_embeddings.errors import MissingExtraError

tiny, scorer, int8, export, out = sys.argv[1:]
for_openvino = {"runtime": "openvino", "cache_folder": out}
for name, call in {
    "int8 of an fp32 model": lambda: Encoder.load(tiny, **for_openvino),
    "fp32": lambda: Encoder.load(tiny, precision="fp32", **for_openvino),
    "an int8 folder": lambda: Encoder.load(int8),
    "an export in int8": lambda: Encoder.load(export, cache_folder=out),
    "an export in fp32": lambda: Encoder.load(export, precision="fp32"),
    "a cross-encoder in int8": lambda: CrossEncoder.load(scorer, **for_openvino),
    "a cross-encoder in fp32": lambda: CrossEncoder.load(scorer, precision="fp32", **for_openvino),
    "quantizing": lambda: quantize(tiny, f"{out}/int8", **for_openvino),
    "quantizing an export": lambda: quantize(export, f"{out}/int8"),
    "quantizing a cross-encoder": lambda: quantize_cross_encoder(scorer, f"{out}/int8", **for_openvino),
}.items():
    try:
        call()
        print(name, "worked")
    except MissingExtraError as error:
        if "pip install 'intel-quantized-embeddings[openvino]'" not in str(error):
            print(name, error)
    except Exception as error:
        print(name, type(error).__name__, error)
"""
)


def test_whatever_needs_openvino_says_what_to_install(tiny, tiny_cross_encoder, tiny_int8_of, export, tmp_path):
    folders = [tiny, tiny_cross_encoder, tiny_int8_of("openvino"), export, tmp_path]
    assert _run(ALL_THAT_IS_OPENVINOS, *folders) == []


ALL_THAT_IS_NATIVE = (
    WITHOUT_OPENVINO
    + """
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
)
FRAMEWORKS = {"langchain", "langchain_core", "llama_index", "nncf", "pydantic", "torch", "transformers"}


def test_the_native_one_imports_no_other_library_and_no_framework(tiny, tiny_cross_encoder, tmp_path):
    """Loading, quantizing and encoding, where OpenVINO and NNCF are not there, and without looking for them."""
    asked, loaded = _run(ALL_THAT_IS_NATIVE, tiny, tiny_cross_encoder, tmp_path)
    assert asked == "asked for:"
    assert {"openvino", *FRAMEWORKS} & set(loaded.split()) == set()


ONE_OF_OPENVINO = """
import sys
from intel_quantized_embeddings import Encoder

Encoder.load(sys.argv[1], warm_shapes=False).encode_queries(["text"])
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_an_int8_folder_for_openvino_imports_neither_its_quantizer_nor_a_framework(tiny_int8_of):
    (loaded,) = _run(ONE_OF_OPENVINO, tiny_int8_of("openvino"))
    assert "openvino" in loaded.split()
    assert FRAMEWORKS & set(loaded.split()) == set()


def _run(script, *arguments):
    """What a process says, line by line."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
