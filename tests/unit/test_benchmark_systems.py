"""What is measured where, and what is said of the rest."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest
from bench.systems import SYSTEMS

from intel_quantized_embeddings.benchmarks import systems
from intel_quantized_embeddings.benchmarks.loaded import Request
from intel_quantized_embeddings.benchmarks.options import Options, Subject
from intel_quantized_embeddings.benchmarks.plots import _STYLES
from intel_quantized_embeddings.benchmarks.systems import PARTS, REFERENCE, Selection, select
from intel_quantized_embeddings.errors import OptionError
from support import tiny_models

NAMES = [system.name for system in SYSTEMS]


def everywhere(_):
    return True


def nowhere(_):
    return False


def test_names_are_unique_and_every_system_has_a_part_and_a_colour():
    assert len(set(NAMES)) == len(NAMES)
    assert REFERENCE in NAMES
    for system in SYSTEMS:
        assert set(system.parts) <= set(PARTS)
        assert system.parts
        assert system.name in _STYLES
        assert len(system.label) <= 40


def test_a_system_can_be_sent_to_another_process():
    sent = pickle.loads(pickle.dumps(SYSTEMS))
    assert [(system.name, system.label, system.parts) for system in sent] == [
        (system.name, system.label, system.parts) for system in SYSTEMS
    ]
    assert sent[0].load == SYSTEMS[0].load


def test_what_is_not_installed_is_left_out_with_the_way_to_have_it():
    selection = select(None, SYSTEMS, installed=nowhere, bf16=everywhere_bf16)
    assert [system.name for system in selection.systems] == ["native-int8", "native-fp32"]
    assert selection.not_measured["iqe openvino int8"] == "pip install 'intel-quantized-embeddings[openvino]'"
    assert selection.not_measured["fastembed ONNX fp32"] == "pip install fastembed torch transformers onnxscript"


def everywhere_bf16():
    return True


def test_all_are_measured_where_all_are_installed():
    selection = select(None, SYSTEMS, installed=everywhere, bf16=everywhere_bf16)
    assert [system.name for system in selection.systems] == NAMES
    assert selection.not_measured == {}


def test_bf16_is_left_out_where_the_cpu_has_none():
    selection = select(None, SYSTEMS, installed=everywhere, bf16=lambda: False)
    assert selection.not_measured["iqe openvino bf16"] == "this CPU has no bfloat16"


def test_what_is_asked_for_by_name_must_run():
    with pytest.raises(OptionError, match="'torch' is not known; there are native-int8, "):
        select(["torch"], SYSTEMS)
    with pytest.raises(OptionError, match=r"'fastembed-fp32' is not known; .* `python -m bench` in the repository"):
        select(["fastembed-fp32"])
    with pytest.raises(OptionError, match="fastembed-fp32 can't be measured here: pip install fastembed"):
        select(["native-int8", "fastembed-fp32"], SYSTEMS, installed=nowhere)
    chosen = select(["native-fp32", "native-int8", "native-fp32"]).systems
    assert [system.name for system in chosen] == ["native-fp32", "native-int8"]


def test_an_int8_folder_goes_to_systems_of_its_runtime(tmp_path, monkeypatch):
    request = Request(
        name="org/model",
        revision="v1",
        cache_folder="/kept",
        model=tmp_path,
        int8=tmp_path / "mine",
        kept=tmp_path,
        pooling="mean",
        normalize=True,
        dimension=2,
        max_length=64,
        own_length=64,
        num_threads=1,
    )
    monkeypatch.setattr(systems, "read_manifest", lambda _: SimpleNamespace(runtime="ipex"))
    loads = {system.name: system.load for system in SYSTEMS}
    assert loads["ipex-int8"]._options(request)["model"] == tmp_path / "mine"
    assert loads["openvino-int8"]._options(request)["model"] == "org/model"
    assert loads["ipex-fp32"]._options(request)["model"] == "org/model"
    for name, expected in (("openvino-int8", ("v1", "/kept")), ("ipex-int8", (None, None))):
        given = loads[name]._options(request)
        assert (given.get("revision"), given.get("cache_folder")) == expected


def test_systems_that_do_not_run_sparse_models_are_left_out_or_refused_by_name():
    selection = select(["native-int8", "native-fp32"]).for_sparse(named=True)
    assert [system.name for system in selection.systems] == ["native-int8", "native-fp32"]
    every = Selection(systems=SYSTEMS, not_measured={})
    able = every.for_sparse(named=False)
    assert {system.name.partition("-")[0] for system in able.systems} == {"native", "openvino"}
    assert able.not_measured["iqe int8, batches of 32 in input order"] == "does not run sparse models"
    with pytest.raises(OptionError, match="--systems ipex-int8 does not run sparse models"):
        every.for_sparse(named=True)


@pytest.mark.parametrize(("positions", "lengths"), [(12, (12,)), (16, (16,)), (100, (16, 32, 64))])
def test_a_model_of_few_tokens_is_measured_at_its_longest_input(tmp_path, monkeypatch, positions, lengths):
    monkeypatch.setattr(tiny_models, "POSITIONS", positions)
    folder = tiny_models.write_tiny_model(tmp_path / "short")
    subject = Subject.find(Options(model=str(folder)))
    assert subject.lengths == lengths
    assert subject.max_length == subject.throughput_tokens == positions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ("speed",)}, "--parts 'speed' is not known; there are latency"),
        ({"threads": 0}, "--threads 0 is not allowed"),
        ({"threads": 10_000}, "this process may use 1 to "),
        ({"repeats": 0}, "--repeats 0 is not allowed; it is 1 or more"),
        ({"corpus_size": 2}, "--corpus-size 2 is not allowed"),
        ({"lengths": (16, 2)}, "--lengths 2 is not allowed"),
        ({"batch_sizes": (0,)}, "--batch-sizes 0 is not allowed"),
    ],
)
def test_options_are_checked_before_anything_runs(options, message):
    with pytest.raises(OptionError, match=message):
        Options(**options)
