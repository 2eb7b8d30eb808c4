"""The common look of plots: one axes, few lines, a title."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import needs

INK, GREY, GRID = "#222222", "#666666", "#E3E3E3"
SIZE = (9.5, 5.6)


def require_matplotlib(*, extra: str) -> None:
    """Check that plots can be drawn, before anything is measured; `extra` brings what these plots need."""
    with needs("matplotlib", extra=extra, needed_for="Drawing the plots"):
        import matplotlib.figure  # noqa: F401


@contextmanager
def figure(file: Path, *, title: str, subtitle: str, size: tuple[float, float] = SIZE) -> Iterator[Any]:
    """Yield axes, and save the plot drawn on them. No global state of matplotlib is used or changed."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=size, dpi=160, facecolor="white")
    axes = drawn.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.grid(visible=True, color=GRID, linewidth=0.9)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=10)
    axes.set_title(title, loc="left", fontsize=12.5, fontweight="bold", color=INK, pad=24)
    yield axes
    axes.xaxis.label.set(color=INK, fontsize=11)
    axes.yaxis.label.set(color=INK, fontsize=11)
    axes.text(0, 1.025, subtitle, transform=axes.transAxes, fontsize=9.5, color=GREY, va="bottom")
    drawn.savefig(file, bbox_inches="tight", pad_inches=0.2)
