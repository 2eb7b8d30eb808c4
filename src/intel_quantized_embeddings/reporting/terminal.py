"""Facts laid out for a terminal, as wide as it is."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping

_NARROWEST, _WIDEST = 60, 120


def terminal_width() -> int:
    """Columns to fill: the terminal's, or COLUMNS where it is set, within reason; 80 where there is none."""
    return min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)


def wrapped(text: str, *, indent: str = "") -> list[str]:
    """A text as lines; what can't be broken, such as a path, stays whole."""
    return textwrap.wrap(
        text,
        terminal_width(),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def labelled(facts: Mapping[str, list[str]]) -> list[str]:
    """Facts under each other, their labels in a column; each may have several lines, and an empty one is left out."""
    shown = {label: lines for label, lines in facts.items() if lines}
    margin = " " * (max(map(len, shown)) + 3)
    laid_out = []
    for label, lines in shown.items():
        found = [one for line in lines for one in wrapped(line, indent=margin) or [""]]
        laid_out += [f"{label:<{len(margin)}}{found[0].lstrip()}", *found[1:]]
    return laid_out


def counted(number: int, noun: str) -> str:
    """A number of things: "1 core", "1,024 texts"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def megabytes(size: int) -> str:
    """Bytes as a person reads them."""
    return f"{size / 1e6:.1f} MB"
