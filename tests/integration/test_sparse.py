"""Sparse models on the command line: quantized, and told of."""

from __future__ import annotations

import json

import pytest

from intel_quantized_embeddings.cli import main
from support.few_texts import TEN_TEXTS
from support.tiny_models import VOCABULARY, write_tiny_sparse

pytest.importorskip("scipy", reason="SciPy is not installed (the extra `sparse`)")


@pytest.fixture
def texts(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(TEN_TEXTS))
    return ["--calibration", str(file), "--calibration-queries", str(file)]


@pytest.mark.parametrize("pooling", ["max", None])
def test_the_command_sees_by_the_files_that_a_model_is_sparse(pooling, texts, tmp_path, capsys):
    """None is a checkpoint of transformers with a masked-LM head, which says no more."""
    folder = write_tiny_sparse(tmp_path / "model", pooling=pooling)
    main(["quantize", str(folder), str(tmp_path / "int8"), *texts])
    printed = capsys.readouterr().out
    assert "sparse vectors beside fp32, documents: cosine mean 0.9" in printed
    assert "of the 64 largest weights the same" in printed
    main(["info", str(tmp_path / "int8")])
    printed = capsys.readouterr().out
    assert "every file is as it was written" in printed
    assert f"{len(VOCABULARY)} tokens" in printed
    assert "max of relu over tokens, all kept" in printed
    assert "mean cosine to fp32 0.9" in printed


def test_options_of_embedders_are_refused(texts, tmp_path, capsys):
    folder = write_tiny_sparse(tmp_path / "model")
    assert main(["quantize", str(folder), str(tmp_path / "int8"), *texts, "--max-drop", "0.1"]) != 0
    assert "--max-drop is for models that make embeddings" in capsys.readouterr().err


def test_a_model_is_told_of_before_it_is_quantized(tmp_path, capsys):
    folder = write_tiny_sparse(tmp_path / "model", pooling="sum", activation="log1p_relu", own={"max_active_dims": 9})
    main(["info", str(folder), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["gives"] == "sparse vectors"
    assert told["dimension"] == len(VOCABULARY)
    assert (told["settings"]["pooling"], told["settings"]["max_active_dims"]) == ("sum", 9)
    assert told["problem"] is None


def test_pickled_weights_are_said_to_be_none(tmp_path, capsys):
    folder = write_tiny_sparse(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert main(["info", str(folder)]) != 0
    assert "no weights that can be read" in capsys.readouterr().err
