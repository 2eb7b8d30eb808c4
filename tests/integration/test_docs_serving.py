"""What docs/serving.md asks for with curl, run against a service; what it lists is what there is."""

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

from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.serving.limits import Limits
from support.documents import ROOT, blocks

PAGE = ROOT / "docs" / "serving.md"
TEXT = PAGE.read_text("utf-8")


def test_the_requests_with_curl_are_answered(minilm_service):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    lines = [line for block in blocks(PAGE, "sh") for line in block.text.splitlines() if line.startswith("curl")]
    there = [line.replace("127.0.0.1:8000", f"127.0.0.1:{minilm_service.port}") for line in lines]
    embeddings, ranked = (
        json.loads(subprocess.run(line, shell=True, check=True, capture_output=True).stdout) for line in there
    )
    assert [len(row["embedding"]) for row in embeddings["data"]] == [2]
    assert [set(result) for result in ranked["results"]] == [{"index", "relevance_score"}]


def test_every_metric_is_listed(minilm_service):
    listed = {name for row in re.findall(r"^\| (`iqe_.*?) \|", TEXT, flags=re.MULTILINE)
              for name in re.findall(r"`(\w+)", row)}  # fmt: skip
    given = re.findall(r"^# TYPE (iqe_\w+) ", minilm_service.get("/metrics")[1], flags=re.MULTILINE)
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
