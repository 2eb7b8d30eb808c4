"""Where int8 models made on first use are kept, and what else may lie there. Nothing is quantized here."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
import threading

import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.files.atomic import atomic_folder
from intel_quantized_embeddings.int8_folder.manifest import Manifest
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.models.settings import read_settings
from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.quantization import cache
from intel_quantized_embeddings.quantization.cache import made_once, quantized_before
from intel_quantized_embeddings.quantization.kinds import EMBEDDER
from intel_quantized_embeddings.runtimes import openvino as openvino_runtime
from support.exported_models import write_openvino_export

pytest.importorskip("nncf", reason="int8 models for OpenVINO need the `openvino` extra")

import openvino as ov
from openvino import opset15 as opset


@pytest.fixture
def source(tiny):
    return find_model(tiny)


@pytest.fixture
def settings(tiny):
    return read_settings(tiny, name="tiny")


def make(folder):
    """Write the least that is taken for an int8 folder, as `quantize_folder` does: never over what is there."""
    with atomic_folder(folder, overwrite=False) as made:
        (made / "manifest.json").write_text("{}")
    return "as faithful as ever"


def ask(source, settings, cache_folder, make=make):
    return made_once(
        source, settings, make, runtime=RuntimeName.OPENVINO, format_version=Manifest.FORMAT, cache_folder=cache_folder
    )


def before(source, settings, cache_folder):
    return quantized_before(source, settings, kind=EMBEDDER, runtime=RuntimeName.OPENVINO, cache_folder=cache_folder)


def half_a_copy(folder):
    folder.mkdir(parents=True)
    (folder / "encoder.xml").write_text("<net>")


def a_file(folder):
    folder.parent.mkdir(parents=True)
    folder.write_text("")


def a_link_to_nothing(folder):
    folder.parent.mkdir(parents=True)
    folder.symlink_to(folder.parent / "nowhere")


@pytest.mark.parametrize("leave", [half_a_copy, a_file, a_link_to_nothing], ids=lambda leave: leave.__name__)
def test_what_is_no_whole_model_is_made_again(source, settings, tmp_path, caplog, leave):
    """A manifest deleted by hand, half a copy: nobody has to pass an option that there is not."""
    folder = cache._cached(
        source, settings, runtime=RuntimeName.OPENVINO, format_version=Manifest.FORMAT, cache_folder=tmp_path
    )
    leave(folder)
    with caplog.at_level(logging.WARNING):
        assert ask(source, settings, tmp_path) == folder
    assert [file.name for file in folder.iterdir()] == ["manifest.json"]
    assert "is made again" in caplog.text


def test_a_link_to_another_folder_is_replaced_and_the_folder_left_alone(source, settings, tmp_path):
    """Somebody's data may be there."""
    theirs = tmp_path / "theirs"
    half_a_copy(theirs)
    folder = cache._cached(
        source, settings, runtime=RuntimeName.OPENVINO, format_version=Manifest.FORMAT, cache_folder=tmp_path
    )
    folder.parent.mkdir()
    folder.symlink_to(theirs)
    ask(source, settings, tmp_path)
    assert (theirs / "encoder.xml").is_file()


def test_what_can_not_be_removed_is_said(source, settings, tmp_path, monkeypatch):
    folder = cache._cached(
        source, settings, runtime=RuntimeName.OPENVINO, format_version=Manifest.FORMAT, cache_folder=tmp_path
    )
    half_a_copy(folder)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(OptionError, match=r"can't be removed .*Delete it"):
        ask(source, settings, tmp_path)


def test_a_disk_that_fills_up_is_said(source, settings, tmp_path):
    def fills_up(folder):
        with atomic_folder(folder, overwrite=False):
            raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    with pytest.raises(OptionError, match=r"can't be kept in .*No space left .*cache_folder="):
        ask(source, settings, tmp_path, fills_up)
    assert ask(source, settings, tmp_path).is_dir()


def test_openvinos_failure_to_write_is_an_error_of_the_disk(tmp_path):
    """OpenVINO says "iostream error" where the disk is full."""
    (tmp_path / "encoder.xml").mkdir()
    given = opset.parameter([1])
    graph = ov.Model([opset.result(given)], [given])
    with pytest.raises(OSError, match=r"OpenVINO can't write .*encoder\.xml, whose disk has [\d,]+ bytes left"):
        openvino_runtime.save_graph(graph, tmp_path / "encoder.xml")


def test_a_whole_one_is_not_made_again(source, settings, tmp_path):
    def never(folder):
        raise AssertionError("made twice")

    assert before(source, settings, tmp_path) is None
    folder = ask(source, settings, tmp_path)
    assert ask(source, settings, tmp_path, never) == folder
    assert before(source, settings, tmp_path) == folder


def test_two_threads_make_one(source, settings, tmp_path):
    begun, enough, made = threading.Event(), threading.Event(), []

    def slowly(folder):
        begun.set()
        assert enough.wait(60)
        made.append(folder)
        return make(folder)

    threads = [threading.Thread(target=ask, args=(source, settings, tmp_path, slowly)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    enough.set()
    for thread in threads:
        thread.join(60)
    assert len(made) == 1


def test_an_export_whose_int8_form_is_there_is_not_opened(tiny, tiny_int8_of, tmp_path, monkeypatch):
    """Reading, compiling and running a large one takes longer than loading the int8 model."""
    bare = tmp_path / "exported"
    shutil.copytree(tiny, bare, ignore=shutil.ignore_patterns("model.safetensors"))
    write_openvino_export(tiny, bare / "openvino_model.xml")
    found = find_model(bare)
    settings = read_settings(bare, name=found.name)
    folder = cache._cached(
        found, settings, runtime=RuntimeName.OPENVINO, format_version=Manifest.FORMAT, cache_folder=tmp_path
    )
    int8 = tiny_int8_of("openvino")
    shutil.copytree(int8, folder)

    def opened(*arguments, **options):
        raise AssertionError("the export was opened")

    monkeypatch.setattr(openvino_runtime, "read_exported", opened)
    encoder = Encoder.load(bare, cache_folder=tmp_path, warm_shapes=False)
    assert encoder.fingerprint == Encoder.load(int8, warm_shapes=False).fingerprint


def test_a_folder_gets_the_rights_that_the_process_gives_without_changing_them(tmp_path, monkeypatch):
    """Setting the umask to read it would give another thread's files other rights."""
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the process's umask was set"))
        with atomic_folder(tmp_path / "out", overwrite=False) as folder:
            (folder / "manifest.json").write_text("{}")
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750
    finally:
        monkeypatch.undo()
        os.umask(before)
