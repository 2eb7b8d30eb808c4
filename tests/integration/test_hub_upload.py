"""`push_to_hub` and `iqe push`: huggingface_hub in a process of its own, against a hub on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder, SparseEncoder, push_to_hub, quantize, quantize_sparse
from intel_quantized_embeddings.errors import ModelFilesError, OptionError
from support.few_texts import FEW
from support.hub_machine import TEXTS, Machine
from support.hub_server import error
from support.hub_uploads import UploadHubServer
from support.tiny_models import write_tiny_router, write_tiny_sparse_router

REPO = "me/tiny-int8"


@pytest.fixture
def hub() -> Iterator[UploadHubServer]:
    with UploadHubServer() as server:
        yield server


@pytest.fixture
def machine(hub, tmp_path) -> Machine:
    return Machine(hub, tmp_path / "home")


@pytest.fixture
def folder(tiny_int8, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_int8, tmp_path / "int8"))


def push(machine: Machine, folder: Path, repo_id: str = REPO, *, token: str = UploadHubServer.WRITER, **options):
    return machine.push(folder, repo_id, env={"HF_TOKEN": token}, **options)


def assert_refused(result: dict[str, str], error: str, *parts: str) -> None:
    assert result.get("error") == error, result
    assert "\n" not in result["message"]
    for part in parts:
        assert part in result["message"]
    assert "Traceback" not in result["log"]


def test_what_was_pushed_loads_by_its_id_with_the_same_vectors(hub, machine, folder, tiny_int8):
    done = push(machine, folder)
    assert done.get("commit", "").startswith(f"{hub.url}/{REPO}/commit/"), done
    loaded = machine.encode(model=REPO, precision="int8")
    expected = Encoder.load(tiny_int8)
    assert np.array_equal(np.array(loaded["vectors"], dtype=np.float32), expected.encode_documents(TEXTS))
    assert loaded["fingerprint"] == expected.fingerprint


def test_what_arrives_is_what_the_manifest_lists_and_nothing_else(hub, machine, folder):
    (folder / "notes.txt").write_text("not for others", "utf-8")
    (folder / "1_Pooling" / "manifest.json").write_text("{}", "utf-8")
    push(machine, folder)
    listed = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    arrived = hub.files(REPO)
    del arrived[".gitattributes"]
    assert arrived == {name: (folder / name).read_bytes() for name in [*listed, "manifest.json"]}
    assert hub.blobs.keys() == {listed["encoder.safetensors"]} == set(hub.verified)
    assert hub.messages == ["Upload tiny-fp32 in int8 for native"]
    assert not hub.repositories[REPO].private


def test_a_cross_encoders_folder_goes_too(hub, machine, tiny_cross_encoder_int8):
    done = push(machine, tiny_cross_encoder_int8)
    assert "commit" in done, done
    assert hub.messages == ["Upload tiny-cross-encoder in int8 for native"]
    assert {"encoder.safetensors", "manifest.json", "tokenizer.json"} < set(hub.files(REPO))


class TestRouter:
    @pytest.fixture
    def router(self, tmp_path) -> Path:
        source = write_tiny_router(tmp_path / "router", prompts={"query": "the "})
        quantize(source, tmp_path / "int8", runtime="native", **FEW)
        return tmp_path / "int8"

    def test_both_models_go_and_load_as_one(self, hub, machine, router):
        (router / "notes.txt").write_text("not for others", "utf-8")
        (router / "query" / "notes.txt").write_text("not for others", "utf-8")
        done = push(machine, router)
        assert "commit" in done, done
        assert hub.messages == [
            "Upload router/query_0_Transformer and router/document_0_Transformer in int8 for native"
        ]
        assert "README.md" not in hub.files(REPO)
        assert not [name for name in hub.files(REPO) if "notes" in name]
        loaded, expected = machine.encode(model=REPO, precision="int8"), Encoder.load(router)
        assert loaded.get("fingerprint") == expected.fingerprint, loaded
        assert np.array_equal(np.array(loaded["vectors"], dtype=np.float32), expected.encode_documents(TEXTS))

    def test_a_model_card_beside_them_goes_too(self, hub, machine, router):
        (router / "README.md").write_text("# Two models", "utf-8")
        push(machine, router)
        assert hub.files(REPO)["README.md"] == b"# Two models"

    def test_an_edited_file_of_either_is_refused_before_anything_is_sent(self, hub, machine, router):
        with (router / "document" / "encoder.safetensors").open("ab") as opened:
            opened.write(b"x")
        assert_refused(push(machine, router), "DamagedFilesError", "document/encoder.safetensors", "has changed")
        assert hub.requests == []

    def test_a_table_of_weights_goes_with_the_model_of_documents(self, hub, machine, tmp_path):
        source = write_tiny_sparse_router(tmp_path / "router", as_published=True)
        quantize_sparse(source, tmp_path / "int8", measure=False, **FEW)
        (tmp_path / "int8" / "query" / "notes.txt").write_text("not for others", "utf-8")
        push(machine, tmp_path / "int8")
        assert "query/model.safetensors" in hub.files(REPO)
        assert not [name for name in hub.files(REPO) if "notes" in name]
        found = SparseEncoder.load(machine.find(model=REPO)["path"])
        assert found.fingerprint == SparseEncoder.load(tmp_path / "int8").fingerprint

    def test_a_link_does_not_lead_out_of_the_folder(self, hub, machine, router, tmp_path):
        (tmp_path / "secret").write_text("a token")
        (router / "README.md").symlink_to(tmp_path / "secret")
        assert_refused(push(machine, router), "DamagedFilesError", "README.md is a link to", "outside the folder")
        assert hub.requests == []

    def test_models_that_are_not_quantized_are_named(self, hub, machine, tmp_path):
        source = write_tiny_router(tmp_path / "router")
        assert_refused(push(machine, source), "ModelFilesError", "query_0_Transformer has no manifest.json")
        assert hub.requests == []


def test_a_folder_goes_to_a_private_repository_and_to_another_branch(hub, machine, folder, tiny_int8):
    done = push(machine, folder, private=True, revision="v2", commit_message="As measured")
    assert "commit" in done, done
    assert hub.repositories[REPO].private
    assert hub.messages == ["As measured"]
    assert set(hub.files(REPO)) == {".gitattributes"}
    assert "encoder.safetensors" in hub.files(REPO, branch="v2")
    assert machine.encode(model=REPO, precision="int8", revision="v2").get("error") == "ModelFilesError"
    opened = machine.encode(model=REPO, precision="int8", revision="v2", env={"HF_TOKEN": hub.WRITER})
    assert opened["fingerprint"] == Encoder.load(tiny_int8).fingerprint


def test_pushing_again_sends_no_large_file_twice_and_keeps_what_else_is_there(hub, machine, folder):
    push(machine, folder)
    hub.commit(REPO, hub.files(REPO) | {"LICENSE": b"MIT"}, branch="main")
    card = folder / "README.md"
    card.write_text(card.read_text("utf-8") + "\nMade for our wiki.\n", "utf-8")
    hub.requests.clear()
    done = push(machine, folder)
    assert "commit" in done, done["message"]
    assert hub.files(REPO)["README.md"] == card.read_bytes()
    assert hub.files(REPO)["LICENSE"] == b"MIT"
    assert not [path for method, path in hub.requests if method == "PUT"]


def test_an_edited_file_is_refused_before_anything_is_sent(hub, machine, folder):
    with (folder / "encoder.safetensors").open("ab") as opened:
        opened.write(b"x")
    assert_refused(push(machine, folder), "DamagedFilesError", "encoder.safetensors", "has changed")
    assert hub.requests == []


def test_no_token_is_told_before_anything_is_sent(hub, machine, folder):
    result = machine.push(folder, REPO)
    assert_refused(result, "HubUploadError", str(folder), REPO, "there is no token", "HF_TOKEN", "hf auth login")
    assert hub.requests == []


def test_an_unknown_token_is_told(hub, machine, folder):
    assert_refused(push(machine, folder, token="hf_old"), "HubUploadError", "does not know the token", "HF_TOKEN")
    assert hub.repositories == {}


@pytest.mark.parametrize("exists", [False, True])
def test_a_token_that_may_not_write_is_told(hub, machine, folder, exists):
    if exists:
        hub.add(REPO, {"README.md": b"somebody's"})
    result = push(machine, folder, token=hub.READER)
    assert_refused(result, "HubUploadError", "may not write", "'me'", hub.url)
    assert [*hub.repositories] == ([REPO] if exists else [])
    assert hub.blobs == {}
    assert hub.messages == []


def test_a_token_given_by_hand_goes_before_that_of_the_environment(hub, machine, folder):
    assert "commit" in machine.push(folder, REPO, token=hub.WRITER, env={"HF_TOKEN": hub.READER})


def test_an_answer_of_another_kind_is_told(hub, machine, folder):
    """Here a blob that the hub finds to be another than announced, from one of the upload's threads."""
    hub.blob_answer = error(HTTPStatus.BAD_REQUEST, "BadDigest", "The content is not what its name says")
    assert_refused(
        push(machine, folder),
        "HubUploadError",
        f"{hub.url} did not take it",
        "encoder.safetensors",
        "what its name says",
    )
    assert hub.messages == []


def test_offline_mode_is_told(hub, machine, folder):
    result = machine.push(folder, REPO, env={"HF_TOKEN": hub.WRITER, "HF_HUB_OFFLINE": "1"})
    assert_refused(result, "HubUploadError", "HF_HUB_OFFLINE is set")
    assert hub.requests == []


def test_an_unreachable_hub_is_told(hub, machine, folder):
    hub.stop()
    assert_refused(push(machine, folder), "HubUploadError", f"{hub.url} could not be reached", "HF_ENDPOINT")


def test_a_folder_that_quantize_did_not_write_is_refused(tiny, tmp_path):
    with pytest.raises(ModelFilesError, match=r"no manifest\.json"):
        push_to_hub(tiny, REPO)
    with pytest.raises(ModelFilesError, match=r"no manifest\.json"):
        push_to_hub(tmp_path / "nowhere", REPO)


@pytest.mark.parametrize("repo_id", ["tiny-int8", "a/b/c", "https://host/me/tiny", "", None])
def test_what_is_no_repository_id_is_refused(tiny_int8, repo_id):
    with pytest.raises(OptionError, match="'owner/name'"):
        push_to_hub(tiny_int8, repo_id)


def test_the_command_prints_the_commit(hub, machine, folder):
    env = {"HF_TOKEN": hub.WRITER, "HF_HUB_DISABLE_XET": "1"}
    done = machine.iqe("push", folder, REPO, "--private", "--revision", "v1", "--message", "From the shell", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{hub.url}/{REPO}/commit/")
    assert hub.messages == ["From the shell"]
    assert hub.repositories[REPO].private
    assert "encoder.safetensors" in hub.files(REPO, branch="v1")
