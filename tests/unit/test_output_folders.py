"""A place that can't be written is told before any work, not after minutes of quantizing."""

from __future__ import annotations

import os
import sys

import pytest

from intel_quantized_embeddings import quantize, quantize_cross_encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.files.atomic import atomic_folder, output_folder
from intel_quantized_embeddings.models.export import export


@pytest.mark.parametrize("job", [quantize, quantize_cross_encoder, export])
@pytest.mark.parametrize("below", ["out", "deep/er/out"])
def test_a_file_is_no_place_for_a_folder(tmp_path, job, below):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OptionError, match="file is a file"):
        job("me/never-looked-up", tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("below", ["out", "deep/er/out"])
def test_a_folder_of_another_user_is_no_place_either(tmp_path, monkeypatch, below):
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append((str(path), mode)))
    with pytest.raises(OptionError, match="may not write"):
        output_folder(tmp_path / below, overwrite=False)
    assert asked == [(str(tmp_path), os.W_OK | os.X_OK)]


@pytest.mark.parametrize("place", ["a\0b", "x" * 300, "~nobody-of-this-name/out"], ids=["NUL", "long", "nobody's"])
def test_what_can_be_no_path_is_named(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=r"output_dir=.* (is not allowed|can't be looked at)"):
        output_folder(place, overwrite=False)


def test_the_root_is_no_folder_to_write():
    with pytest.raises(OptionError, match="/ is where another file system is mounted"):
        output_folder("/", overwrite=True)


def test_a_new_folder_may_be_anywhere_below_a_folder(tmp_path):
    assert output_folder(tmp_path / "deep" / "er", overwrite=False) == tmp_path / "deep" / "er"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_file_system_that_keeps_nothing_is_an_error_at_once():
    """Its answer to a new file is that there is none, at which a lock would wait for ever."""
    from pathlib import Path

    with pytest.raises(OSError, match="/proc"), atomic_folder(Path("/proc/out"), overwrite=False):
        pytest.fail("nothing can be written there")
