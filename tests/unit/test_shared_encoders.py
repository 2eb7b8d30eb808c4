"""Objects of one process share an encoder when they ask for the same."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from intel_quantized_embeddings import Encoder, IntelQuantizedEmbeddings
from intel_quantized_embeddings.encoders.shared import shared_encoder
from intel_quantized_embeddings.errors import ModelFilesError
from intel_quantized_embeddings.options import LoadOptions
from support.tiny_models import write_tiny_model


def fp32(model, **options) -> LoadOptions:
    return LoadOptions(model=model, precision="fp32", **options)


def test_the_same_options_give_the_same_encoder_and_others_another(tiny):
    encoder = shared_encoder(fp32(tiny))
    assert shared_encoder(fp32(tiny)) is encoder
    assert shared_encoder(fp32(tiny, query_instruction="")) is not encoder


def test_an_encoder_that_nobody_holds_is_let_go(tiny):
    dropped = weakref.ref(shared_encoder(fp32(tiny, max_length=16)))
    gc.collect()
    assert dropped() is None


def test_a_folder_written_anew_is_loaded_anew(tmp_path):
    folder = write_tiny_model(tmp_path / "model")
    before = shared_encoder(fp32(folder))
    write_tiny_model(folder, seed=1)
    assert shared_encoder(fp32(folder)).fingerprint != before.fingerprint


@pytest.mark.parametrize("linked", [False, True])
def test_a_module_written_anew_is_loaded_anew(tmp_path, linked):
    """Below the folder, and behind a link, which stays what it was."""
    folder = write_tiny_model(tmp_path / "model", pooling="cls")
    file = folder / "1_Pooling" / "config.json"
    if linked:
        file = file.rename(tmp_path / "blob")
        (folder / "1_Pooling" / "config.json").symlink_to(file)
    before = shared_encoder(fp32(folder))
    file.write_text(file.read_text("utf-8").replace("cls", "mean"), "utf-8")
    assert shared_encoder(fp32(folder)).settings.pooling.value == "mean" != before.settings.pooling.value


def test_what_could_not_be_loaded_is_tried_again(tmp_path):
    with pytest.raises(ModelFilesError):
        shared_encoder(fp32(tmp_path / "model"))
    write_tiny_model(tmp_path / "model")
    assert shared_encoder(fp32(tmp_path / "model")).dimension == 32


@pytest.mark.parametrize("shape", ["shared", "LangChain"])
def test_a_model_loads_while_another_one_does(tiny, monkeypatch, shape):
    """A second's load does not wait for the minute in which another model is quantized."""
    begun, enough = threading.Event(), threading.Event()
    load = Encoder.from_options.__func__

    def slow(cls, options):
        if options.max_length == 32:
            begun.set()
            assert enough.wait(60)
        return load(cls, options)

    def ask(max_length):
        if shape == "shared":
            return shared_encoder(fp32(tiny, max_length=max_length))
        return IntelQuantizedEmbeddings(model=str(tiny), precision="fp32", max_length=max_length).encoder

    monkeypatch.setattr(Encoder, "from_options", classmethod(slow))
    other = threading.Thread(target=ask, args=(32,), daemon=True)
    other.start()
    assert begun.wait(60)
    try:
        done = threading.Thread(target=ask, args=(16,), daemon=True)
        done.start()
        done.join(60)
        assert not done.is_alive()
    finally:
        enough.set()
        other.join(60)
