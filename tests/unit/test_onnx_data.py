"""Files that an ONNX file keeps tensors in: found, opened through links, and never outside the model's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError
from intel_quantized_embeddings.models.onnx_data import external_files, readable
from support import onnx_files
from support.onnx_files import message, tensor, write_onnx_export
from support.tiny_models import HIDDEN, VOCABULARY

NUMBERS = np.random.default_rng(0)
TABLE = NUMBERS.normal(size=(len(VOCABULARY), HIDDEN)).astype(np.float32)
BIAS = NUMBERS.normal(size=HIDDEN).astype(np.float32)
TEXTS = ["the cat sat on the mat", "a river of stars"]


@pytest.fixture
def folder(tiny, tmp_path):
    """A model's folder that has no weights yet."""
    for file in tiny.rglob("*.json"):
        copy = tmp_path / "model" / file.relative_to(tiny)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return tmp_path / "model"


def encode(folder: Path) -> np.ndarray:
    return Encoder.load(folder, precision="fp32", warm_shapes=False).encode_documents(TEXTS)


def as_the_hubs_cache(folder: Path, at: Path) -> Path:
    """Lay out a folder as links into a folder of blobs."""
    snapshot = at / "models--someone--model" / "snapshots" / ("0" * 40)
    blobs = at / "models--someone--model" / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        (blobs / f"blob{number}").write_bytes(file.read_bytes())
        link = snapshot / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blobs / f"blob{number}")
    return snapshot


@pytest.mark.parametrize(
    ("table_in", "bias_in"),
    [
        ("model.onnx_data", "model.onnx_data"),
        ("model.onnx_data", "Constant_7_attr__value"),
        ("weights/embeddings.word", "weights/ä [1] * .bin"),
        (None, "model.onnx.data"),
    ],
)
def test_data_in_any_files_give_what_they_give_in_one(folder, tmp_path, monkeypatch, table_in, bias_in):
    """In the folder itself and behind the links of the hub's cache, wherever the process stands."""
    write_onnx_export(folder / "onnx" / "model.onnx", TABLE, BIAS, table_in=None, bias_in=None)
    expected = encode(folder)
    write_onnx_export(folder / "onnx" / "model.onnx", TABLE, BIAS, table_in=table_in, bias_in=bias_in)
    np.testing.assert_array_equal(encode(folder), expected)
    monkeypatch.chdir("/usr")
    np.testing.assert_array_equal(encode(as_the_hubs_cache(folder, tmp_path / "hub")), expected)


def test_every_file_with_tensors_enters_the_fingerprint(folder):
    """Two exports that differ in a second file's bytes only are two models."""
    prints = set()
    for bias in (BIAS, BIAS + 1):
        write_onnx_export(folder / "onnx" / "model.onnx", TABLE, bias, table_in="data", bias_in="more/data")
        prints.add(Encoder.load(folder, precision="fp32", warm_shapes=False).fingerprint)
    assert len(prints) == 2


def test_a_file_with_tensors_that_is_missing_is_named(folder):
    write_onnx_export(folder / "onnx" / "model.onnx", TABLE, BIAS, table_in="data", bias_in="more")
    (folder / "onnx" / "more").unlink()
    with pytest.raises(ModelFilesError, match=r"keeps its weights in onnx/more, 1 of 2 not there"):
        encode(folder)


def test_a_file_with_fewer_bytes_than_its_tensors_is_named(folder):
    """Reading beyond the end of a mapped file would end the process."""
    write_onnx_export(folder / "onnx" / "model.onnx", TABLE, BIAS, table_in="data", bias_in="more")
    (folder / "onnx" / "data").write_bytes(b"1234")
    with pytest.raises(DamagedFilesError, match=r"of 'data', which has 4: it is a broken download"):
        encode(folder)


def test_a_pointer_in_place_of_the_data_says_so(folder):
    write_onnx_export(folder / "onnx" / "model.onnx", TABLE, BIAS, table_in="data", bias_in=None)
    (folder / "onnx" / "data").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DamagedFilesError, match="git lfs pull"):
        encode(folder)


def with_tensor_in(folder: Path, location: str, **more: str | int) -> Path:
    file = folder / "onnx" / "model.onnx"
    kept = tensor("table", TABLE, location=location, **({"offset": 0, "length": TABLE.nbytes} | more))
    nodes = [*onnx_files.ROWS, onnx_files.node("Identity", ["x"], ["last_hidden_state"])]
    onnx_files.write_files(file.parent, {file.name: onnx_files.model(nodes, [kept, onnx_files.ZERO], hidden=HIDDEN)})
    return file


@pytest.mark.parametrize("location", ["/etc/passwd", "../../secret", "a/../../../secret", "C:\\secret", "\\\\host\\x"])
def test_a_file_outside_the_folder_is_refused(folder, location):
    with_tensor_in(folder, location)
    with pytest.raises(DamagedFilesError, match="outside the folder"):
        encode(folder)


def test_an_address_in_memory_is_refused_though_a_file_has_that_name(folder):
    """Such a place is for callers that hold the tensor; a file has none to name."""
    file = with_tensor_in(folder, "*/_ORT_MEM_ADDR_/*", offset=4096)
    onnx_files.write_files(file.parent, {"*/_ORT_MEM_ADDR_/*": bytes(TABLE.nbytes + 4096)})
    with pytest.raises(DamagedFilesError, match="an address in memory"):
        encode(folder)


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    file = with_tensor_in(folder, "data")
    (tmp_path / "elsewhere").write_bytes(TABLE.tobytes())
    (file.parent / "data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedFilesError, match="outside the folder"):
        encode(folder)


@pytest.mark.parametrize(("key", "value"), [("offset", "-4"), ("offset", "4e3"), ("length", "9" * 30)])
def test_places_that_are_no_numbers_are_refused(folder, key, value):
    file = with_tensor_in(folder, "data", **{key: value})
    (file.parent / "data").write_bytes(TABLE.tobytes())
    with pytest.raises(DamagedFilesError, match=f"the {key} '{value}'"):
        encode(folder)


def test_without_a_place_a_tensor_is_the_whole_file(folder, tmp_path):
    """The specification's defaults."""
    file = folder / "onnx" / "model.onnx"
    kept = tensor("table", TABLE, location="data")
    nodes = [*onnx_files.ROWS, onnx_files.node("Identity", ["x"], ["last_hidden_state"])]
    content = {file.name: onnx_files.model(nodes, [kept, onnx_files.ZERO], hidden=HIDDEN), "data": TABLE.tobytes()}
    onnx_files.write_files(file.parent, content)
    expected = encode(folder)
    np.testing.assert_array_equal(encode(as_the_hubs_cache(folder, tmp_path / "hub")), expected)


def nested(inner: bytes, *numbers: int) -> bytes:
    for number in reversed(numbers):
        inner = message((number, inner))
    return inner


@pytest.mark.parametrize(
    "numbers",
    [
        (7, 5),
        (7, 1, 5, 5),
        (7, 1, 5, 10),
        (7, 15, 1),
        (7, 15, 2),
        (7, 1, 5, 6, 5),
        (7, 1, 5, 11, 1, 5, 5),
        (25, 7, 5, 5),
    ],
    ids=["initializer", "attribute", "list", "sparse values", "indices", "subgraph", "deeper", "function"],
)
def test_tensors_are_found_wherever_the_format_has_them(tmp_path, numbers):
    file = tmp_path / "model.onnx"
    file.write_bytes(nested(tensor("t", BIAS, location="data"), *numbers))
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "blob").write_bytes(BIAS.tobytes())
    assert external_files(file, folder=tmp_path) == [tmp_path / "data"]


def test_a_file_without_such_tensors_is_read_by_its_path(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(nested(tensor("location", BIAS), 7, 5))
    with readable(file, folder=tmp_path) as given:
        assert given == str(file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"location",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01location",
        b"\x3a\x7flocation",
        b"\x0blocation",
    ],
)
def test_a_file_that_is_no_onnx_is_named(tmp_path, content):
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(DamagedFilesError, match=r"model\.onnx is not an ONNX file"):
        external_files(file, folder=tmp_path)


def test_messages_in_messages_have_an_end(tmp_path):
    """A few bytes a level must not use up the interpreter's stack."""
    file = tmp_path / "model.onnx"
    file.write_bytes(nested(tensor("t", BIAS, location="data"), 7, *(1, 5, 6) * 400, 5))
    with pytest.raises(DamagedFilesError, match="deep"):
        external_files(file, folder=tmp_path)
