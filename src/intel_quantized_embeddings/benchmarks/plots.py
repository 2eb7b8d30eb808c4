"""latency.png, throughput.png, corpus.png and queries.png."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intel_quantized_embeddings.benchmarks.results import Results
from intel_quantized_embeddings.benchmarks.summaries import Summary
from intel_quantized_embeddings.benchmarks.systems import OURS
from intel_quantized_embeddings.reporting.plotting import GREY, INK, figure
from intel_quantized_embeddings.reporting.terminal import counted

# Okabe and Ito's colours, which colour-blind people can tell apart. A system has the same one in every plot.
_STYLES = {
    "openvino-int8": ("#0072B2", "o"),
    "openvino-bf16": ("#56B4E9", "s"),
    "openvino-fp32": ("#7F7F7F", "^"),
    "native-int8": ("#117733", "o"),
    "native-fp32": ("#999933", "^"),
    "ipex-int8": ("#882255", "o"),
    "ipex-bf16": ("#AA4499", "s"),
    "ipex-fp32": ("#DDA0C8", "^"),
    "input-order-int8": ("#004A75", "v"),
    "sentence-transformers-fp32": ("#D55E00", "D"),
    "sentence-transformers-int8": ("#E69F00", "P"),
    "sentence-transformers-int8-f32": ("#B8860B", "P"),
    "openvino-genai-int8": ("#009E73", "X"),
    "openvino-genai-int8-sorted": ("#66C2A5", "X"),
    "fastembed-fp32": ("#CC79A7", "h"),
    "llama-cpp-q8_0": ("#332288", "p"),
    "langchain-huggingface-fp32": ("#8C510A", "d"),
}


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw the results; return the files in the order of the parts."""
    settings, facts = results.settings, results.corpus_facts
    latency_title = "Latency of one text by its length"
    throughput_title = f"Throughput on texts of {settings['throughput_tokens']} tokens by texts in a call"
    corpus_title = (
        f"Mixed corpus end to end: {facts['texts']} texts, {facts['tokens_mean']:.0f} tokens on average, "
        f"{settings['max_length']} at most"
    )
    queries_title = (
        f"Queries one at a time, right after loading in a fresh process: "
        f"{max((one.queries for one in results.queries), default=0)} of 3 to {settings['longest_query']} tokens"
    )
    plots: list[tuple[str, Sequence[object], str, str, Callable[[Results, Any], None]]] = [
        ("latency.png", results.latency, latency_title, _turns(results.latency), _latency),
        ("throughput.png", results.throughput, throughput_title, _turns(results.throughput), _throughput),
        ("corpus.png", results.corpus, corpus_title, _turns(results.corpus), _corpus),
        ("queries.png", results.queries, queries_title, f"{settings['query_rounds']} alternating runs", _queries),
    ]
    on = f"{results.model} on {results.machine.kind}, {counted(settings['threads'], 'thread')}"
    files = []
    for name, measured, title, means, plot in plots:
        if measured:
            with figure(folder / name, title=title, subtitle=f"{on}; {means}") as axes:
                plot(results, axes)
            files.append(folder / name)
    return files


def _latency(results: Results, axes: Any) -> None:
    _curves(results, axes, results.latency, lambda one: [1e3 * value for value in _three(one.seconds)])
    _log2_ticks(axes, [one.size for one in results.latency])
    axes.set_yscale("log")
    _plain_ticks(axes.yaxis)
    axes.set_xlabel("tokens")
    axes.set_ylabel("milliseconds (log scale, lower is better)")


def _throughput(results: Results, axes: Any) -> None:
    _curves(results, axes, results.throughput, lambda one: _three(one.texts_per_second))
    _log2_ticks(axes, [one.size for one in results.throughput])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("texts in a call (one batch where the library asks for a size)")
    axes.set_ylabel("texts a second (higher is better)")


def _corpus(results: Results, axes: Any) -> None:
    slowest_first = sorted(results.corpus, key=lambda one: one.texts_per_second.median)
    speeds = [one.texts_per_second for one in slowest_first]
    places = range(len(speeds))
    axes.barh(
        places,
        [speed.median for speed in speeds],
        xerr=[[speed.median - speed.low for speed in speeds], [speed.high - speed.median for speed in speeds]],
        height=0.68,
        color=[_style(one.system)[0] for one in slowest_first],
        error_kw={"ecolor": INK, "elinewidth": 1.2, "capsize": 3},
    )
    axes.set_yticks(places, [results.labels[one.system] for one in slowest_first])
    most = max(speed.high for speed in speeds)
    for place, one, speed in zip(places, slowest_first, speeds, strict=True):
        ratio = f"  ({one.ratio.median:.2f}x)" if one.ratio is not None and one.system != results.baseline else ""
        axes.text(speed.high + most / 60, place, f"{speed.median:.0f}{ratio}", va="center")
    axes.set_xlim(0, most * 1.22)
    to_baseline = f"; in brackets: to {results.labels[results.baseline]}" if results.baseline is not None else ""
    axes.set_xlabel(f"texts a second (higher is better){to_baseline}")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _queries(results: Results, axes: Any) -> None:
    percents = [*range(100), *(99 + step / 20 for step in range(20)), 99.95, 100.0]
    for one in sorted(results.queries, key=lambda one: -one.p50_ms):
        colour, _ = _style(one.system)
        runs = np.percentile(one.runs_ms, percents, axis=1)
        axes.plot(percents, np.median(runs, axis=1), color=colour, linewidth=2.2, label=results.labels[one.system])
        axes.fill_between(percents, runs.min(axis=1), runs.max(axis=1), color=colour, alpha=0.18, linewidth=0)
    axes.set_yscale("log")
    _plain_ticks(axes.yaxis)
    # Users notice the last percent, so it gets a third of the width.
    axes.set_xscale("function", functions=(_stretch, _unstretch))
    marks = [0, 25, 50, 75, 90, 95, 99, 99.9, 100]
    axes.set_xticks(marks, [f"{mark:g}" if mark != 100 else "max" for mark in marks])
    axes.minorticks_off()
    axes.set_xlim(0, 100)
    axes.set_xlabel("percentile of queries (line: median of runs; band: all runs)")
    axes.set_ylabel("milliseconds (log scale, lower is better)")
    _legend(axes)


def _stretch(percents: Any) -> Any:
    return -np.log10(100.12 - np.clip(percents, 0, 100))


def _unstretch(places: Any) -> Any:
    return 100.12 - np.power(10.0, -np.asarray(places))


def _curves(
    results: Results, axes: Any, summaries: Sequence[Summary], values: Callable[[Summary], Sequence[float]]
) -> None:
    """Draw a line of medians and a band from the 10th to the 90th percentile for each system."""
    for name in dict.fromkeys(one.system for one in summaries):
        own = [one for one in summaries if one.system == name]
        colour, marker = _style(name)
        sizes = [one.size for one in own]
        middle, low, high = zip(*(values(one) for one in own), strict=True)
        axes.plot(
            sizes,
            middle,
            color=colour,
            marker=marker,
            markersize=7,
            markeredgecolor="white",
            markeredgewidth=0.8,
            linewidth=2.8 if name == OURS else 1.8,
            linestyle="--" if name.endswith("fp32") else "-",
            label=results.labels[name],
        )
        axes.fill_between(sizes, low, high, color=colour, alpha=0.16, linewidth=0)
    _legend(axes)


def _legend(axes: Any) -> None:
    """Draw the legend to the right of the plot, in the order of the lines' right ends."""
    lines = sorted(axes.get_lines(), key=lambda line: -float(line.get_ydata()[-1]))
    labels = [line.get_label() for line in lines]
    axes.legend(lines, labels, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, handlelength=3)


def _log2_ticks(axes: Any, sizes: Sequence[int]) -> None:
    ticks = sorted(set(sizes))
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def _plain_ticks(axis: Any) -> None:
    """Label a log axis with 1, 2, 5, 10 and so on, written out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _turns(summaries: Sequence[Summary]) -> str:
    """Return a label with the number of turns: large calls get fewer."""
    counts = sorted({len(one.turns) for one in summaries})
    return f"medians of {' to '.join(map(str, counts[:1] + counts[1:][-1:]))} interleaved turns, 10 to 90 %"


def _three(spread: Any) -> list[float]:
    return [spread.median, spread.low, spread.high]


def _style(system: str) -> tuple[str, str]:
    return _STYLES.get(system, (GREY, "o"))
