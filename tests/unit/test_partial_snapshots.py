"""Folders that a hub's client filled with a part of a model, and files that are there by name only."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.models.partial_snapshots import SETTINGS, never_fetched, undecided
from intel_quantized_embeddings.models.weight_files import find_weight_files

COMMIT = "0123456789abcdef0123456789abcdef01234567"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 133466304\n"

# What each library asks for when it loads a model of which there are only the tokenizer, the weights and config.json
# (watched: sentence-transformers 6.2.0, transformers 5.5.4).
BARE = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]


def snapshot(tiny: Path, at: Path, *, kept: list[str] | None = None, absent: tuple[str, ...] = ()) -> Path:
    """A snapshot with links into blobs, of some of a model's files; `absent` was asked for and is not on the hub."""
    repository = at / "models--someone--model"
    folder = repository / "snapshots" / COMMIT
    (repository / "blobs").mkdir(parents=True)
    for number, file in enumerate(sorted(path for path in tiny.rglob("*") if path.is_file())):
        name = file.relative_to(tiny).as_posix()
        if kept is None or name in kept:
            blob = repository / "blobs" / f"{number:040x}"
            shutil.copyfile(file, blob)
            link = folder / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(*[".."] * (2 + name.count("/")), "blobs", blob.name))
    for name in absent:
        note = repository / ".no_exist" / COMMIT / name
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return folder


def listing(folder: Path, names: list[str]) -> None:
    """The client's own list of a repository, as its version 2 writes it."""
    files = {name: {"size": 1, "blob_id": "0"} for name in names}
    (folder.parent.parent / "trees").mkdir()
    (folder.parent.parent / "trees" / f"{COMMIT}.json").write_text(json.dumps({"format_version": 1, "files": files}))


def missing(folder: Path) -> list[str]:
    return never_fetched(folder, scores_pairs=False)


def by_id(at: Path, **options: object):
    return find_model("someone/model", cache_folder=at, local_files_only=True, **options)


class TestAPartOfAModel:
    def test_files_that_nobody_asked_for_are_named(self, tiny, tmp_path):
        snapshot(tiny, tmp_path, kept=BARE)
        with pytest.raises(ModelFilesError, match=r"modules\.json, config_sentence_transformers\.json") as caught:
            by_id(tmp_path)
        assert "hf download someone/model" in str(caught.value)

    def test_what_the_caller_says_need_not_be_there(self, tiny, tmp_path):
        snapshot(tiny, tmp_path, kept=BARE)
        assert by_id(tmp_path, given=SETTINGS).path.name == COMMIT
        with pytest.raises(ModelFilesError):
            by_id(tmp_path, given=[name for name in SETTINGS if name != "normalize"])

    def test_the_way_texts_are_cut_into_tokens_can_not_be_said(self, tiny, tmp_path):
        snapshot(tiny, tmp_path, kept=["config.json", "tokenizer.json", "model.safetensors"])
        with pytest.raises(ModelFilesError, match=r"tokenizer_config\.json"):
            by_id(tmp_path, given=SETTINGS)

    def test_the_folder_itself_is_opened_with_a_warning(self, tiny, tmp_path, caplog):
        """Whoever passes a path chose it; it may be all there is."""
        folder = snapshot(tiny, tmp_path, kept=BARE)
        with caplog.at_level(logging.WARNING):
            assert find_model(folder).path == folder
        assert "modules.json" in caplog.text

    def test_what_the_repository_has_and_the_folder_does_not_is_missing(self, tiny, tmp_path):
        """Though another name of the kind would do."""
        folder = snapshot(tiny, tmp_path, absent=("config_sentence_transformers.json",))
        listing(folder, [*BARE, "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"])
        assert missing(folder) == ["sentence_bert_config.json"]

    def test_a_download_to_a_folder_of_some_files_is_a_part_too(self, tiny, tmp_path):
        """`hf download --local-dir`, which leaves its notes in the folder."""
        for name in BARE:
            shutil.copyfile(tiny / name, tmp_path / name)
        assert missing(tmp_path) == []
        (tmp_path / ".cache" / "huggingface" / "download").mkdir(parents=True)
        assert missing(tmp_path) == ["modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"]


class TestAllOfAModel:
    def test_what_sentence_transformers_fetched_is_all(self, tiny, tmp_path):
        """It asks for every file of the kind, and the client notes which there are not."""
        names = ("config_sentence_transformers.json", "sentence_bert_config.json", "sentence_roberta_config.json")
        assert missing(snapshot(tiny, tmp_path, absent=names)) == []
        assert by_id(tmp_path).revision == COMMIT

    def test_a_model_without_modules_has_nothing_that_they_would_name(self, tiny, tmp_path):
        """sentence-transformers asks for no more where there is no modules.json."""
        assert missing(snapshot(tiny, tmp_path, kept=BARE, absent=("modules.json",))) == []

    def test_a_whole_repository_is_all(self, tiny, tmp_path):
        """`.gitattributes` is asked for by nobody, and comes only with everything."""
        folder = snapshot(tiny, tmp_path)
        assert missing(folder)
        (folder / ".gitattributes").touch()
        assert missing(folder) == []

    def test_the_clients_own_list_is_believed(self, tiny, tmp_path):
        folder = snapshot(tiny, tmp_path, kept=BARE)
        listing(folder, BARE)
        assert missing(folder) == []

    @pytest.mark.parametrize("content", ["", "[]", '{"files": 3}', "{"])
    def test_a_list_that_can_not_be_read_says_nothing(self, tiny, tmp_path, content):
        folder = snapshot(tiny, tmp_path, kept=BARE)
        listing(folder, BARE)
        next((folder.parent.parent / "trees").iterdir()).write_text(content)
        assert missing(folder)

    def test_a_copy_is_what_it_is(self, tiny, tmp_path):
        """A folder that no client wrote, such as a clone or a copy, is taken at its word."""
        for name in BARE:
            shutil.copyfile(tiny / name, tmp_path / name)
        assert missing(tmp_path) == []

    def test_a_cross_encoder_has_no_such_files(self, tiny, tmp_path):
        """Its scores don't depend on pooling and instructions; sentence-transformers before 6 did not ask for them."""
        assert never_fetched(snapshot(tiny, tmp_path, kept=BARE), scores_pairs=True) == []

    def test_a_link_to_a_snapshot_is_one(self, tiny, tmp_path):
        (tmp_path / "link").symlink_to(snapshot(tiny, tmp_path, kept=BARE))
        assert missing(tmp_path / "link")


def test_each_setting_decides_one_file():
    assert undecided(["sentence_bert_config.json"], given=["max_length"]) == []
    assert undecided(["modules.json"], given=["pooling"]) == ["modules.json"]


class TestByNameOnly:
    @pytest.mark.parametrize("name", ["modules.json", "tokenizer.json", "1_Pooling/config.json"])
    def test_a_link_to_a_blob_that_is_gone_is_named(self, tiny, tmp_path, name):
        """It would pass for a file that the model does not have."""
        folder = snapshot(tiny, tmp_path, absent=("config_sentence_transformers.json", "sentence_bert_config.json"))
        (folder / name).resolve().unlink()
        with pytest.raises(ModelFilesError, match=r"is a link to \.\./.*nothing is there"):
            by_id(tmp_path)

    def test_weights_whose_blob_is_gone_are_named(self, tiny, tmp_path):
        """Though there is an export beside, which would be taken instead."""
        folder = snapshot(tiny, tmp_path)
        (folder / "model.safetensors").resolve().unlink()
        (folder / "onnx").mkdir()
        (folder / "onnx" / "model.onnx").write_bytes(b"x")
        with pytest.raises(ModelFilesError, match=r"model\.safetensors is a link to"):
            find_weight_files(folder, read_json(folder / "config.json"))

    @pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "modules.json", "1_Pooling/config.json"])
    @pytest.mark.parametrize(("content", "said"), [(POINTER, "git lfs pull"), ("", "is empty")])
    def test_a_pointer_or_nothing_in_place_of_a_description_is_named(self, tiny, tmp_path, name, content, said):
        shutil.copytree(tiny, tmp_path / "clone")
        (tmp_path / "clone" / name).write_text(content)
        with pytest.raises(DamagedFilesError, match=said):
            find_model(tmp_path / "clone")

    @pytest.mark.parametrize(
        "name", ["model.safetensors", "openvino/openvino_model.xml", "openvino/openvino_model.bin", "onnx/model.onnx"]
    )
    def test_a_pointer_in_place_of_weights_is_named(self, tiny, tmp_path, name):
        shutil.copytree(tiny, tmp_path / "clone")
        (tmp_path / "clone" / "model.safetensors").unlink()
        (tmp_path / "clone" / name).parent.mkdir(exist_ok=True)
        if name.endswith(".bin"):
            (tmp_path / "clone" / name).with_suffix(".xml").write_text("<net>")
        (tmp_path / "clone" / name).write_text(POINTER)
        with pytest.raises(DamagedFilesError, match="git lfs pull"):
            find_weight_files(tmp_path / "clone", read_json(tiny / "config.json"))

    def test_pointers_of_weights_that_are_not_used_do_not_matter(self, tiny, tmp_path):
        """As where only model.safetensors was pulled."""
        shutil.copytree(tiny, tmp_path / "clone")
        (tmp_path / "clone" / "onnx").mkdir()
        (tmp_path / "clone" / "onnx" / "model.onnx").write_text(POINTER)
        found = find_weight_files(tmp_path / "clone", read_json(tiny / "config.json"))
        assert [file.name for file in found.files] == ["model.safetensors"]

    def test_every_missing_shard_is_named(self, tiny, tmp_path):
        shutil.copytree(tiny, tmp_path / "clone")
        (tmp_path / "clone" / "model.safetensors").unlink()
        index = {"weight_map": {f"tensor{number}": f"part-{number}.safetensors" for number in range(3)}}
        (tmp_path / "clone" / "model.safetensors.index.json").write_text(json.dumps(index))
        (tmp_path / "clone" / "part-1.safetensors").write_bytes(b"x")
        with pytest.raises(ModelFilesError, match=r"'part-0\.safetensors', 'part-2\.safetensors'.*2 of 3"):
            find_weight_files(tmp_path / "clone", read_json(tiny / "config.json"))

    def test_an_openvino_graph_without_its_constants_says_which_file(self, tiny, tmp_path):
        shutil.copytree(tiny, tmp_path / "clone")
        (tmp_path / "clone" / "model.safetensors").unlink()
        (tmp_path / "clone" / "openvino_model.xml").write_text('<net><layer type="Const"/></net>')
        with pytest.raises(ModelFilesError, match=r"keeps its weights in openvino_model\.bin"):
            find_weight_files(tmp_path / "clone", read_json(tiny / "config.json"))
