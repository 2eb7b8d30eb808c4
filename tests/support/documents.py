"""The blocks of code in a Markdown page, which of them are marked as not run, and running the others.

A block is run by a test unless the line before it says `<!-- not run: why -->`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code.

    Attributes:
        page: Name of the page it is on.
        not_run: Why no test runs it; empty where one must.
    """

    page: str
    language: str
    text: str
    not_run: str

    def run(
        self,
        capsys: pytest.CaptureFixture[str],
        *,
        known: dict[str, Any],
        prints: str | None = None,
        replaced: Mapping[str, str] | None = None,
    ) -> str:
        """Run a block of Python, check what it prints, and return that.

        Args:
            known: The names it finds and leaves.
            prints: A regular expression of all it prints. None is what the comments behind its calls of `print` say.
            replaced: What of its text stands for something that a test has in its own place.
        """
        text = self.text
        for shown, here in (replaced or {}).items():
            text = text.replace(shown, here)
        exec(compile(text, self.page, "exec"), known)
        printed = capsys.readouterr().out
        if prints is None:
            said = re.findall(r"^ *print\(.*\)  # (.*)$", self.text, flags=re.MULTILINE)
            assert printed.splitlines() == said
        else:
            assert re.fullmatch(prints, printed), printed
        return printed


def page_at(name: str) -> Path:
    """The README or a page under docs/."""
    return ROOT / name if name == "README.md" else ROOT / "docs" / name


def blocks(page: Path, language: str) -> list[Block]:
    """A page's blocks in one language, in order."""
    found = _BLOCK.finditer(page.read_text("utf-8"))
    return [Block(page.name, m["language"], m["text"], m["why"] or "") for m in found if m["language"] == language]


def to_run(page: str) -> list[Block]:
    """A page's blocks of Python that a test runs, in order."""
    return [block for block in blocks(page_at(page), "python") if not block.not_run]


def block_with(page: str, containing: str) -> Block:
    """The one block of Python to run that contains a text."""
    (found,) = (block for block in to_run(page) if containing in block.text)
    return found


def pages() -> list[Path]:
    """The README and everything under docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
