"""evaluation.png: the change of every score, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from intel_quantized_embeddings.evaluation.results import OnDataset
from intel_quantized_embeddings.reporting.plotting import INK, figure

# Okabe and Ito's colours, told apart by the colour-blind.
_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "D"), ("#CC79A7", "^"), ("#E69F00", "v"))


def draw(datasets: Sequence[OnDataset], file: Path, *, title: str, subtitle: str) -> None:
    """Draw every score's change to the reference and its 95 % interval, a row for each score."""
    rows = [
        (f"{one.dataset.split(':')[0]}  {metric}", place, metric)
        for place, one in enumerate(datasets)
        for metric in one.reference
    ]
    labels = list(datasets[0].comparisons)
    subtitle = f"{subtitle}; dots: change on the whole dataset, lines: 95 % interval (paired bootstrap)"
    size = (9.5, 1.2 + 0.34 * len(rows) * max(1, 0.7 * len(labels)))
    with figure(file, title=title, subtitle=subtitle, size=size) as axes:
        axes.axvline(0, color=INK, linewidth=1.2)
        for number, label in enumerate(labels):
            colour, marker = _STYLES[number % len(_STYLES)]
            changes = [
                next(d for d in datasets[place].comparisons[label].differences if d.metric == metric)
                for _, place, metric in rows
            ]
            offset = (number - (len(labels) - 1) / 2) * 0.8 / len(labels)
            low, middle, high = 100 * np.array([(one.low, one.change, one.high) for one in changes]).T
            places = np.arange(len(rows)) + offset
            errors = np.maximum(0, [middle - low, high - middle])
            look = {"fmt": marker, "color": colour, "markersize": 6.5, "elinewidth": 2, "capsize": 3}
            axes.errorbar(middle, places, xerr=errors, label=label, **look)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("change in % of the score (right of the line: better)")
        if len(labels) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
