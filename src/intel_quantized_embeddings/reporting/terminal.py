"""Lay out facts for a terminal of any width."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping

_NARROWEST, _WIDEST = 60, 120


def terminal_width() -> int:
    """Return the columns to fill: COLUMNS if it is set, else the terminal's, within limits; 80 without a terminal."""
    return min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)


def wrapped(text: str, *, indent: str = "") -> list[str]:
    """Wrap a text into lines; words such as paths are not broken."""
    return textwrap.wrap(
        text,
        terminal_width(),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def labelled(facts: Mapping[str, list[str]]) -> list[str]:
    """Lay out facts, which may have several lines, with their labels in a column; empty facts are left out."""
    shown = {label: lines for label, lines in facts.items() if lines}
    margin = " " * (max(map(len, shown)) + 3)
    laid_out = []
    for label, lines in shown.items():
        found = [one for line in lines for one in wrapped(line, indent=margin) or [""]]
        laid_out += [f"{label:<{len(margin)}}{found[0].lstrip()}", *found[1:]]
    return laid_out


def counted(number: int, noun: str) -> str:
    """Format a number of things: "1 core", "1,024 texts"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def megabytes(size: int) -> str:
    """Format bytes as megabytes."""
    return f"{size / 1e6:.1f} MB"
