"""int8 on CPUs whose sums of 8-bit products saturate, and what is said there.

oneDNN, which OpenVINO computes with, can be told to leave instructions unused (`ONEDNN_MAX_CPU_ISA`): so a CPU with
VNNI computes as one without does, in a process of its own.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder, quantize, quantize_cross_encoder
from intel_quantized_embeddings.int8_folder.manifest import Manifest, read_manifest
from intel_quantized_embeddings.int8_folder.probes import LONGEST, Probe, rows_of
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.quantization.cache import made_once
from intel_quantized_embeddings.quantization.calibration import built_in_texts
from intel_quantized_embeddings.runtimes import int8_products
from intel_quantized_embeddings.runtimes.int8_products import sums_are_exact
from support.few_texts import FEW

# Loads each folder given and prints what was logged, and how its probes fare.
_LOAD = """
import json, logging, sys
from pathlib import Path
from intel_quantized_embeddings import CrossEncoder, Encoder
from intel_quantized_embeddings.int8_folder.manifest import CrossEncoderManifest, read_manifest
from intel_quantized_embeddings.encoding.probing import run_probes

found = []
handler = logging.Handler()
handler.emit = lambda record: found[-1]["logged"].append(record.getMessage())
logging.getLogger("intel_quantized_embeddings").addHandler(handler)
for folder in sys.argv[1:]:
    found.append({"logged": []})
    manifest = read_manifest(Path(folder))
    kind = CrossEncoder if isinstance(manifest, CrossEncoderManifest) else Encoder
    result = run_probes(kind.load(folder, warm_shapes=False)._runtime, manifest)
    found[-1] |= {"here": result.here, "made": result.made, "worse": result.worse}
print(json.dumps(found))
"""


TEXTS = [f"the cat number {number} sat on the mat by the river" for number in range(12)]


def _without_vnni(*folders: Path) -> list[dict]:
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, *map(str, folders)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def saturating(request) -> None:
    if not sums_are_exact():
        pytest.skip("this CPU has no VNNI itself: 8-bit weights saturate where the folder is made, too")


@pytest.fixture(scope="module")
def cross_encoders(tiny_cross_encoder, tmp_path_factory) -> dict[int, Path]:
    """The same cross-encoder with weights of 8 and of 7 bits."""
    return {
        bits: quantize_cross_encoder(
            tiny_cross_encoder,
            tmp_path_factory.mktemp("bits") / str(bits),
            runtime="openvino",
            method="static",
            weight_bits=bits,
            search=False,
            calibration_texts=TEXTS,
            calibration_queries=[text.split(" by ")[0] for text in TEXTS],
        ).folder
        for bits in (8, 7)
    }


def test_8_bits_saturate_without_vnni_and_7_do_not(saturating, cross_encoders):
    """The scores of a random cross-encoder are spoilt there, and loading says so, with both figures and what to do."""
    eight, seven = _without_vnni(cross_encoders[8], cross_encoders[7])
    assert eight["worse"]
    (line,) = eight["logged"]
    assert f"{eight['here']:.4f} here, {eight['made']:.4f} where it was made" in line
    assert "weight_bits=7" in line
    assert "precision='fp32'" in line
    assert seven["here"] == pytest.approx(seven["made"], abs=0.01)
    assert not seven["worse"]
    assert "slower than fp32" in " ".join(seven["logged"])


@pytest.mark.slow
def test_a_real_model_in_7_bits_is_as_faithful_on_both_kinds_of_cpu(minilm, tmp_path):
    texts = built_in_texts().documents[::4]
    folder = quantize(
        minilm, tmp_path / "7", runtime="openvino", weight_bits=7, search=False, calibration_texts=texts
    ).folder
    (found,) = _without_vnni(folder)
    assert found["here"] == pytest.approx(found["made"], abs=3e-4)
    assert found["here"] > 0.98


@pytest.fixture
def unlimited(monkeypatch) -> None:
    """Let the CPU's flags alone say what it has."""
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)


def test_a_cpu_without_vnni_quantizes_to_7_bits_and_others_to_8(unlimited, tiny, tmp_path, monkeypatch):
    for flags, bits in (("avx2 fma", 7), ("avx2 avx512bw avx512_vnni", 8)):
        monkeypatch.setattr(int8_products, "cpu_flags", lambda flags=flags: frozenset(flags.split()))
        folder = quantize(tiny, tmp_path / str(bits), runtime="openvino", search=False, **FEW).folder
        assert Manifest.read(folder).method.weight_bits == bits
        assert f"Weights in {bits} bits" in (folder / "README.md").read_text("utf-8")


def test_the_cache_keeps_a_model_for_each_kind_of_cpu(unlimited, tiny, tmp_path, monkeypatch):
    source = find_model(tiny)
    names = []

    def make(folder):
        names.append(folder.name)
        folder.mkdir(parents=True)
        (folder / "manifest.json").touch()
        return ""

    for flags in ("avx2 fma", "avx2 avx512bw avx512_vnni", "avx2 fma"):
        monkeypatch.setattr(int8_products, "cpu_flags", lambda flags=flags: frozenset(flags.split()))
        options = {"runtime": RuntimeName.OPENVINO, "format_version": 1, "cache_folder": tmp_path}
        made_once(source, source.settings(), make, **options)
    assert len(set(names)) == len(names) == 2


def _probed_elsewhere(folder: Path, copy: Path) -> Path:
    """Copy a folder whose manifest claims rows that no CPU gives, and that int8 gave them: it is worse everywhere."""
    shutil.copytree(folder, copy)
    manifest = read_manifest(copy)
    others = np.roll(rows_of(manifest.probes)[0], 1, axis=0)
    probes = [Probe.of(probe.token_ids, fp32=row, int8=row) for probe, row in zip(manifest.probes, others, strict=True)]
    replace(manifest, probes=tuple(probes)).write(copy)
    return copy


@pytest.mark.parametrize("kind", ["embedder", "cross-encoder"])
def test_a_folder_that_is_less_faithful_here_says_so_once(kind, tiny_int8, cross_encoders, tmp_path, caplog):
    load, folder = (Encoder.load, tiny_int8) if kind == "embedder" else (CrossEncoder.load, cross_encoders[7])
    fewer = _probed_elsewhere(folder, tmp_path / "copy")
    with caplog.at_level(logging.WARNING):
        load(fewer)
    lines = [record.getMessage() for record in caplog.records if "less faithful" in record.getMessage()]
    assert len(lines) == 1
    assert str(fewer) in lines[0]


def test_a_folder_that_is_as_faithful_as_it_was_says_nothing(tiny_int8, cross_encoders, caplog):
    with caplog.at_level(logging.WARNING):
        Encoder.load(tiny_int8)
        CrossEncoder.load(cross_encoders[7])
    assert not [record for record in caplog.records if "less faithful" in record.getMessage()]


def test_int8_that_is_slower_than_fp32_is_said_of_openvinos_int8_alone(
    tiny, tiny_int8, tiny_int8_of, caplog, monkeypatch
):
    for_openvino = tiny_int8_of("openvino")  # made before, for this CPU: other tests share it
    monkeypatch.setattr(int8_products, "cpu_flags", lambda: frozenset({"avx2", "fma"}))
    with caplog.at_level(logging.WARNING):
        Encoder.load(tiny, precision="fp32")
        Encoder.load(tiny, runtime="openvino", precision="fp32")
        Encoder.load(tiny_int8)
        assert not caplog.records
        Encoder.load(for_openvino)
    (record,) = caplog.records
    assert "int8 is slower than fp32 on this CPU" in record.getMessage()


def test_a_folder_that_is_less_faithful_and_slower_is_said_to_be_both(tiny_int8_of, tmp_path, caplog, monkeypatch):
    fewer = _probed_elsewhere(tiny_int8_of("openvino"), tmp_path / "copy")
    monkeypatch.setattr(int8_products, "cpu_flags", lambda: frozenset({"avx2", "fma"}))
    with caplog.at_level(logging.WARNING):
        Encoder.load(fewer)
    (record,) = caplog.records
    assert "less faithful on this CPU" in record.getMessage()
    assert "int8 is slower than fp32 on this CPU" in record.getMessage()


def test_where_one_calibration_text_alone_is_short_it_is_not_the_only_probe(tiny_cross_encoder, tmp_path):
    """The differences of one score have no spread to be seen beside."""
    texts = ["stone", *(f"{number} stones and " * 40 for number in range(30))]
    folder = quantize_cross_encoder(
        tiny_cross_encoder, tmp_path / "int8", search=False, calibration_texts=texts, calibration_queries=texts
    ).folder
    assert len(read_manifest(folder).probes) > 2


def test_probes_are_held_out_texts_with_the_rows_that_loading_gives(tiny, tiny_int8):
    probes = Manifest.read(tiny_int8).probes
    fp32, int8 = rows_of(probes)
    ids = [probe.token_ids for probe in probes]
    assert np.array_equal(int8, Encoder.load(tiny_int8).encode_token_ids(ids))
    assert np.abs(fp32 - Encoder.load(tiny, precision="fp32").encode_token_ids(ids)).max() < 1e-6


def test_where_all_calibration_texts_are_long_their_beginnings_are_the_probes(tiny, tmp_path):
    """Loading must not take as long as encoding them does."""
    texts = [f"{number} stones and " * 40 for number in range(12)]
    folder = quantize(
        tiny, tmp_path / "int8", search=False, calibration_texts=texts, calibration_queries=texts, max_length=128
    ).folder
    probes = Manifest.read(folder).probes
    ids = [probe.token_ids for probe in probes]
    assert {len(one) for one in ids} == {LONGEST}
    assert np.array_equal(rows_of(probes)[1], Encoder.load(folder).encode_token_ids(ids))


def test_iqe_info_runs_the_probes(tiny_int8, tmp_path, capsys):
    from intel_quantized_embeddings.cli import main

    assert main(["info", str(tiny_int8), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["probes"]
    assert (result["worse"], result["moved"], result["count"]) == (False, 0, 4)
    fewer = _probed_elsewhere(tiny_int8, tmp_path / "copy")
    assert main(["info", str(fewer)]) == 0
    assert "LESS FAITHFUL" in capsys.readouterr().out
