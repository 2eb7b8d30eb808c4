"""The `iqe` command as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.cli import main
from support.tiny_models import write_tiny_model


def iqe(*arguments: object, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "intel_quantized_embeddings.cli", *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_quantize_writes_a_folder_and_prints_its_fidelity(tiny, tmp_path):
    texts = tmp_path / "mine.txt"
    texts.write_text("\n".join(f"the cat number {i} sat on the mat" for i in range(30)), "utf-8")
    done = iqe("quantize", tiny, tmp_path / "out", "--calibration", texts, "--no-search")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # quiet when not a terminal
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'out'}: 0.1 MB -> ")
    assert lines[1].startswith("cosine to fp32, documents: mean 0.9")
    assert lines[1].endswith("over 15 texts")
    assert Encoder.load(tmp_path / "out").dimension == 32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quantize", "./absent", "out"], "no folder './absent'"),
        (["quantize", "not a model!", "out"], "neither a folder that exists nor a hub id"),
        (["quantize", "TINY", "out", "--calibration", "absent.txt"], "no file of texts absent.txt"),
        (["quantize", "TINY", "out", "--runtime", "onnx"], "runtime='onnx'"),
        (["quantize", "TINY", "TINY"], "exists. Choose another folder"),
    ],
)
def test_a_mistake_is_one_line_on_stderr(tiny, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main([str(tiny) if a == "TINY" else a for a in arguments]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("iqe: ")
    assert message in shown.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["quantize", "TINY", "out"], ["doctor", "--no-self-test"]])
def test_a_current_folder_that_is_gone_is_named(tiny, tmp_path, arguments):
    code = "import os, sys; os.rmdir(os.getcwd()); from intel_quantized_embeddings.cli import main; sys.exit(main())"
    given = [str(tiny) if a == "TINY" else a for a in arguments]
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, *given], cwd=tmp_path / "gone", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("iqe: the current folder was deleted, or moved away: change to one that is there")


def test_a_terminal_that_is_not_utf8_ends_no_command(tmp_path):
    """The list of models has Chinese in it; JSON is JSON there too, as Python's escapes of bytes are not."""
    done = iqe("models", encoding="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u4e3a" in done.stdout
    folder = write_tiny_model(tmp_path / "modèle 😀")
    done = iqe("info", folder, "--json", encoding="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["folder"] == str(folder)


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit) as exited:
        main(["--help"])
    assert exited.value.code == 0
    shown = capsys.readouterr().out
    assert "quantize" in shown
    assert "export" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "qatt"], "method='qatt' is not allowed; it is 'static' or 'dynamic' or 'weight-only' or 'qat'"),
        (["--qat-minutes", "5"], "qat_minutes is of method 'qat', and none is given"),
        (["--max-drop", "2"], "max_drop=2.0 is not allowed"),
        (["--runtime", "onnx"], "runtime='onnx'"),
    ],
)
def test_quantize_tells_a_mistake_before_it_looks_for_the_model(tmp_path, capsys, arguments, message):
    assert main(["quantize", "no-such-organization/model", str(tmp_path / "out"), *arguments]) == 1
    assert message in capsys.readouterr().err
