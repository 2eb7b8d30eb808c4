"""The table on the terminal, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from intel_quantized_embeddings.benchmarks.results import BUSY_CORES, LOW_COSINE, Arithmetic, Results
from intel_quantized_embeddings.benchmarks.summaries import Spread, Summary
from intel_quantized_embeddings.benchmarks.systems import OURS, REFERENCE
from intel_quantized_embeddings.reporting.terminal import counted

WIDTH = 100
_NAME = 40


def table(results: Results) -> str:
    """Format the results as text."""
    parts = [
        _head(results),
        _corpus(results),
        _ours(results),
        _matrix(results, results.latency, "Latency, one text at a time: median ms", "tokens", _milliseconds),
        _matrix(results, results.throughput, _throughput_title(results), "texts in a call", _texts_per_second),
        _queries(results),
        _threads(results),
        _arithmetic(results, results.arithmetic),
        _foot(results),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _head(results: Results) -> list[str]:
    machine, threads = results.machine, results.settings["threads"]
    quota = f", limited to {machine.quota_cores:g}" if machine.quota_cores is not None else ""
    return [
        f"{results.model}: {counted(threads, 'thread')} on {machine.cpu}, {counted(machine.cores, 'core')}{quota}",
        *_wrapped(f"{' '.join(machine.flags) or 'no int8 instructions known'}; {machine.system}; {machine.python}"),
    ]


def _corpus(results: Results) -> list[str]:
    if not results.corpus:
        return []
    facts = results.corpus_facts
    fastest_first = sorted(results.corpus, key=lambda one: one.seconds.median)
    lines = [
        f"Mixed corpus end to end: {facts['texts']} texts in shuffled order, {facts['tokens_mean']:.0f} tokens on "
        f"average, {results.settings['max_length']} at most",
        *_header(f"{'texts/s':>8} {'10-90 %':>13} {'ratio':>7} {'10-90 %':>11} {'cosine':>8} {'worst':>7}"),
    ]
    for one in fastest_first:
        cosine = results.cosines.get(one.system)
        measured = f"{one.texts_per_second.median:8.1f} {_range(one.texts_per_second, 1):>13} {_ratio(one.ratio)}"
        near = f"{cosine.mean:8.4f} {cosine.worst:7.4f}" if cosine is not None else ""
        lines.append(f"{_name(results, one.system)} {measured} {near}".rstrip())
    return lines


def _ours(results: Results) -> list[str]:
    if not results.ours_to_others:
        return []
    lines = [
        f"The same corpus: how many times as fast {results.labels[OURS]} is as",
        *_header(f"{'times':>7} {'10-90 %':>11}"),
    ]
    for system, times in sorted(results.ours_to_others.items(), key=lambda item: item[1].median):
        lines.append(f"{_name(results, system)} {_ratio(times)}")
    return lines


def _matrix(
    results: Results, summaries: Sequence[Summary], title: str, unit: str, shown: Callable[[Summary], str]
) -> list[str]:
    if not summaries:
        return []
    sizes = sorted({one.size for one in summaries})
    width = min(8, (WIDTH - _NAME) // (len(sizes) + 1) - 1)
    cells = {(one.system, one.size): one for one in summaries}
    systems = sorted(
        {one.system for one in summaries},
        key=lambda name: sum(one.seconds.median for one in summaries if one.system == name),
    )
    lines = [title, *_header(" ".join(f"{size:>{width}}" for size in sizes), first=unit)]
    for system in systems:
        row = [cells.get((system, size)) for size in sizes]
        values = " ".join(f"{'' if one is None else shown(one):>{width}}" for one in row)
        lines.append(f"{_name(results, system)} {values}".rstrip())
    return lines


def _milliseconds(one: Summary) -> str:
    return f"{one.seconds.median * 1e3:.2f}" if one.seconds.median < 0.1 else f"{one.seconds.median * 1e3:.0f}"


def _texts_per_second(one: Summary) -> str:
    value = one.texts_per_second.median
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _throughput_title(results: Results) -> str:
    tokens = results.settings["throughput_tokens"]
    return f"Throughput, texts of {tokens} tokens, texts/s: one call, one batch where the library asks for a size"


def _queries(results: Results) -> list[str]:
    if not results.queries:
        return []
    first = results.queries[0]
    columns = {"p50": 6, "p90": 6, "p99": 7, "slowest": 7, "first": 6, ">3x p50": 7, "cosine": 7, "load s": 6}
    lines = [
        f"Queries, one at a time right after loading in a fresh process: {first.queries} of 3 to "
        f"{results.settings['longest_query']} tokens, ms",
        *_header(" ".join(f"{name:>{width}}" for name, width in columns.items())),
    ]
    for one in sorted(results.queries, key=lambda one: one.p50_ms):
        cosine, loading = results.query_cosines.get(one.system), results.loading_s.get(one.system)
        near = f"{cosine.mean:.4f}" if cosine is not None else ""
        lines.append(
            f"{_name(results, one.system)} {one.p50_ms:6.2f} {one.p90_ms:6.2f} {one.p99_ms:7.2f} {one.slowest_ms:7.1f} "
            f"{one.first_ms:6.1f} {one.stalls:7g} {near:>7} {'' if loading is None else f'{loading:.1f}':>6}".rstrip()
        )
    for one in results.queries:
        if one.ratio_p50 is not None and one.ratio_p99 is not None and one.system != results.query_baseline:
            median, late = one.ratio_p50.median, one.ratio_p99.median
            other = results.labels[results.query_baseline or ""]
            lines += _wrapped(
                f"{results.labels[one.system]} is {median:.2f}x as fast as {other} at p50 and {late:.2f}x at p99"
            )
    return lines


def _threads(results: Results) -> list[str]:
    if not results.threads:
        return []
    lines = [
        "Queries from several threads through one object",
        *_header(f"{'threads':>8} {'texts/s':>9} {'10-90 %':>15} {'to 1 thread':>12} {'10-90 %':>11}"),
    ]
    for one in results.threads:
        ratio = f"{one.ratio.median:12.2f} {_range(one.ratio, 2):>11}" if one.ratio is not None else ""
        lines.append(
            f"{_name(results, one.system)} {one.size:8d} {one.texts_per_second.median:9.1f} "
            f"{_range(one.texts_per_second, 1):>15} {ratio}".rstrip()
        )
    return lines


def _arithmetic(results: Results, arithmetic: Arithmetic | None) -> list[str]:
    if arithmetic is None:
        return []
    peak = arithmetic.peak_gops_per_core
    lines = [
        f"Arithmetic in int8, {arithmetic.batch} texts of {arithmetic.tokens} tokens in a call"
        + (f"; plain int8 matmuls reach {peak:.0f} GOPS a core here" if peak is not None else ""),
        *_header(f"{'GOPS a core':>12} {'of matmuls':>11}"),
    ]
    for system, gops in sorted(arithmetic.gops_per_core.items(), key=lambda item: -item[1]):
        share = f"{100 * gops / peak:9.0f} %" if peak is not None else ""
        lines.append(f"{_name(results, system)} {gops:12.0f} {share}".rstrip())
    return lines


def _foot(results: Results) -> list[str]:
    lines = []
    if results.baseline is not None:
        lines.append(f"ratio: how many times as fast as {results.labels[results.baseline]}, median of turns")
    if results.cosines or results.query_cosines:
        lines.append(f"cosine: to {results.labels[REFERENCE]}, mean and worst")
    busiest = max((busy for busy in results.others_busy_cores.values() if busy is not None), default=0.0)
    lines += busy_notes(busiest)
    lines += _slower_int8(results)
    wrong = [results.labels[name] for name in results.wrong]
    lines += [f"! {label}: cosine below {LOW_COSINE}; these are not this model's vectors" for label in wrong]
    lines += [f"failed: {label}: {error}" for label, error in results.failed.items()]
    for reason in dict.fromkeys(results.not_measured.values()):
        labels = ", ".join(label for label, own in results.not_measured.items() if own == reason)
        lines.append(f"not measured: {labels} ({reason})")
    return [part for line in lines for part in _wrapped(line)]


def busy_notes(busiest: float) -> list[str]:
    """Return a line on the cores that other programs used, if that disturbs the figures."""
    said = f"! other programs used up to {busiest:.1f} cores before a part began: measure again on an idle machine"
    return [said] if busiest > BUSY_CORES else []


def _slower_int8(results: Results) -> list[str]:
    """Return lines on runtimes whose int8 is slower than fp32 on the corpus, as on CPUs without VNNI or AVX-512."""
    speeds = {one.system: one.texts_per_second.median for one in results.corpus}
    lines = []
    for runtime in ("openvino", "ipex"):
        int8, fp32 = (speeds.get(f"{runtime}-{precision}") for precision in ("int8", "fp32"))
        if int8 is not None and fp32 is not None and int8 < fp32:
            lines.append(
                f"! {results.labels[f'{runtime}-int8']} has {int8 / fp32:.2f} of fp32's speed on this CPU: load models "
                f"with precision='fp32' here"
            )
    return lines


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def _header(columns: str, *, first: str = "") -> list[str]:
    line = f"{first:{_NAME}} {columns}"
    return [line, "-" * len(line)]


def _name(results: Results, system: str) -> str:
    mark = "! " if system in results.wrong else ""
    return f"{mark}{results.labels[system]:{_NAME - len(mark)}}"


def _ratio(ratio: Spread | None) -> str:
    return f"{ratio.median:7.2f} {_range(ratio, 2):>11}" if ratio is not None else f"{'':7} {'':11}"


def _range(spread: Spread, digits: int) -> str:
    digits = digits if spread.high < 1000 else 0  # otherwise the columns get too narrow
    return f"{spread.low:.{digits}f}-{spread.high:.{digits}f}"
