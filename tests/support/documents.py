"""The blocks of code in a Markdown page, and which of them are marked as not run.

A block is run by a test unless the line before it says `<!-- not run: why -->`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code.

    Attributes:
        not_run: Why no test runs it; empty where one must.
    """

    language: str
    text: str
    not_run: str


def blocks(page: Path, language: str) -> list[Block]:
    """A page's blocks in one language, in order."""
    found = _BLOCK.finditer(page.read_text("utf-8"))
    return [Block(m["language"], m["text"], m["why"] or "") for m in found if m["language"] == language]


def run_as_shown(page: str, *, containing: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the one Python block under docs/ that contains a text, and check that it prints what its comments say."""
    (code,) = (block.text for block in blocks(ROOT / "docs" / page, "python") if containing in block.text)
    exec(compile(code, page, "exec"), {})
    shown = re.findall(r"^print\(.*\)  # (.*)$", code, flags=re.MULTILINE)
    assert shown
    assert capsys.readouterr().out.splitlines() == shown


def pages() -> list[Path]:
    """The README and everything under docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
