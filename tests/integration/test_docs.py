"""Every page of the documentation: found from the index, its links lead somewhere, its code is run or says why not.

A page's Python is run by test_docs_snippets.py.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from intel_quantized_embeddings.cli import parser
from intel_quantized_embeddings.int8_folder.config import read_config
from support.documents import ROOT, blocks, pages

every_page = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


def anchors(page: Path) -> set[str]:
    """Return what GitHub makes of the headings; a comment in a block of code is none."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_has_every_page_and_is_linked_from_the_readme():
    index = ROOT / "docs" / "README.md"
    listed = re.findall(r"^- \[([\w-]+\.md)\]\(\1\): .", index.read_text("utf-8"), flags=re.MULTILINE)
    assert listed == [page.name for page in sorted(index.parent.glob("*.md")) if page != index]
    assert "](docs/README.md)" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("heading", "page"), [("What int8 costs", "accuracy.md"), ("Speed", "benchmarks.md")])
def test_the_figures_of_the_readme_are_those_of_the_page_it_links(heading, page):
    section = re.split(r"^## ", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(f"{heading}\n"))
    assert f"](docs/{page})" in text
    figures = re.findall(r"\d+\.\d+", text)
    assert len(figures) > 4
    there = set(re.findall(r"\d+\.\d+", (ROOT / "docs" / page).read_text("utf-8")))
    assert set(figures) <= there


@pytest.mark.parametrize(
    "page", [*pages(), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name
)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = page.parent / target if target else page
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link


@every_page
def test_iqe_commands_are_ones_that_the_command_takes(page, capsys):
    """In blocks and in running text: `iqe quantize MODEL OUT --method dynamic`."""
    text = page.read_text("utf-8")
    lines = [line for block in blocks(page, "sh") for line in block.text.splitlines() if line.startswith("iqe ")]
    lines += [command for command in re.findall(r"`(iqe [^`]+)`", text) if "..." not in command]
    for line in lines:
        arguments = [word for word in shlex.split(line, comments=True)[1:] if word]
        try:
            parser().parse_args(arguments)
        except SystemExit:
            told = capsys.readouterr().err
            # A command may be named by its first words alone: `iqe export`, `iqe quantize --config`.
            assert "the following arguments are required" in told or "expected" in told, f"{line}: {told}"


@every_page
def test_settings_are_ones_that_quantize_takes(page, tmp_path):
    for block in blocks(page, "yaml"):
        file = tmp_path / "settings.yaml"
        file.write_text(block.text, "utf-8")
        assert read_config(file).to_mapping()
