"""What docs/serving.md shows, copied and run against a service; what it lists is what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import fields

import pytest

pytest.importorskip("starlette", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
pytest.importorskip("prometheus_client", reason="the serve extra is not installed")

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.serving.limits import Limits
from support.documents import ROOT, blocks
from support.services import service_in_thread

PAGE = ROOT / "docs" / "serving.md"
TEXT = PAGE.read_text("utf-8")
SNIPPETS = [block.text for block in blocks(PAGE, "python")]  # of "serving.md"


@pytest.fixture(scope="module")
def service(minilm_int8):
    with service_in_thread(Encoder.load(minilm_int8), name="minilm") as running:
        yield running


@pytest.mark.parametrize(("package", "snippet"), zip(["openai", "langchain_openai"], SNIPPETS, strict=True))
def test_the_python_prints_what_it_says(service, capsys, package, snippet):
    pytest.importorskip(package, reason=f"{package} is not installed")
    exec(compile(snippet.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}"), PAGE.name, "exec"), {})
    shown = re.findall(r"^print\(.*\)  # (.*)$", snippet, flags=re.MULTILINE)
    assert shown
    assert capsys.readouterr().out.splitlines() == shown


def test_the_request_with_curl_is_answered(service):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (command,) = (line for block in blocks(PAGE, "sh") for line in block.text.splitlines() if line.startswith("curl"))
    there = command.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}")
    answer = json.loads(subprocess.run(there, shell=True, check=True, capture_output=True).stdout)
    assert [len(row["embedding"]) for row in answer["data"]] == [2]


def test_every_metric_is_listed(service):
    listed = {name for row in re.findall(r"^\| (`iqe_.*?) \|", TEXT, flags=re.MULTILINE)
              for name in re.findall(r"`(\w+)", row)}  # fmt: skip
    given = re.findall(r"^# TYPE (iqe_\w+) ", service.get("/metrics")[1], flags=re.MULTILINE)
    assert listed == {name for name in given if not name.endswith("_created")}


def test_limits_are_those_in_force(capsys):
    """In the page and in the command's help."""
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    help_text = " ".join(capsys.readouterr().out.split())
    for field in fields(Limits):
        default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
        assert f"({default})" in help_text, field.name
        if field.name != "round_tokens":
            option = field.name.replace("_", "-")
            assert re.search(rf"^\| `--(max-)?{option}`.* \| {default}\b", TEXT, flags=re.MULTILINE), option
    assert f"rounds of at most {Limits().round_tokens:,} tokens" in TEXT
