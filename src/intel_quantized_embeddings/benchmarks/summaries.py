"""What times mean: medians, how far they lie apart, and ratios of the same turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

# A query this many times slower than the median is one that a user would notice.
STALL_FACTOR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The middle of several values and how far they lie apart.

    Attributes:
        median: Half of the values are below it.
        low: The 10th percentile.
        high: The 90th percentile.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarize values; there must be one at least."""
        return cls(median=percentile(values, 50), low=percentile(values, 10), high=percentile(values, 90))


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One system's times for one job, turn after turn.

    Attributes:
        system: Its name.
        size: What the job varies: tokens, texts in a call, or threads.
        texts: Texts in the job.
        seconds: One time a turn.
    """

    system: str
    size: int
    texts: int
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A series, summarized.

    Attributes:
        system: Its name.
        size: What the job varies.
        texts: Texts in the job.
        seconds: Time of a turn.
        texts_per_second: Texts by that time.
        ratio: How many times as fast as the baseline in the same turn; None where there is none.
        turns: The times themselves, in seconds.
    """

    system: str
    size: int
    texts: int
    seconds: Spread
    texts_per_second: Spread
    ratio: Spread | None
    turns: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySummary:
    """Queries one at a time in fresh processes. Each figure is the median over the processes.

    Attributes:
        system: Its name.
        queries: Texts in a run.
        p50_ms: Median of a run.
        p90_ms: 90th percentile.
        p99_ms: 99th percentile.
        slowest_ms: The slowest query.
        first_ms: The first query after loading.
        stalls: Queries that took more than three times the median of their run.
        ratio_p50: How many times as fast as the baseline at the median, a round; None without one.
        ratio_p99: The same at the 99th percentile.
        runs_ms: Every query's time, run after run.
    """

    system: str
    queries: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    slowest_ms: float
    first_ms: float
    stalls: float
    ratio_p50: Spread | None
    ratio_p99: Spread | None
    runs_ms: tuple[tuple[float, ...], ...]


def summarize(series: Sequence[Series], *, baseline: str | None) -> list[Summary]:
    """Medians, spreads and ratios: the baseline's time by the system's, in the same turn at the same size."""
    at = {(one.system, one.size): one.seconds for one in series}
    summaries = []
    for one in series:
        expected = at.get((baseline, one.size)) if baseline is not None else None
        summaries.append(
            Summary(
                system=one.system,
                size=one.size,
                texts=one.texts,
                seconds=Spread.of(one.seconds),
                texts_per_second=Spread.of([one.texts / seconds for seconds in one.seconds]),
                ratio=None if expected is None else Spread.of(ratios(expected, one.seconds)),
                turns=one.seconds,
            )
        )
    return summaries


def times_as_fast(summaries: Sequence[Summary], system: str) -> dict[str, Spread]:
    """Return the speed of a system by that of each of the others, turn by turn; empty where it was not measured."""
    own = next((one.turns for one in summaries if one.system == system), None)
    if own is None:
        return {}
    return {one.system: Spread.of(ratios(one.turns, own)) for one in summaries if one.system != system}


def summarize_threads(series: Sequence[Series]) -> list[Summary]:
    """As `summarize`; the baseline is the same system with one thread."""
    alone = {one.system: one.seconds for one in series if one.size == 1}
    return [
        replace(summary, ratio=Spread.of(ratios(alone[summary.system], summary.turns)))
        if summary.system in alone
        else summary
        for summary in summarize(series, baseline=None)
    ]


def summarize_queries(runs_ms: Mapping[str, Sequence[Sequence[float]]], *, baseline: str | None) -> list[QuerySummary]:
    """Summarize queries.

    Args:
        runs_ms: Milliseconds of every query of every run, under each system's name; runs with the same
            place were made in the same round.
        baseline: Whose times the ratios are to.
    """
    expected = runs_ms.get(baseline) if baseline is not None else None

    def middle(runs: Sequence[Sequence[float]], figure: Callable[[Sequence[float]], float]) -> float:
        return statistics.median(figure(run) for run in runs)

    def ratio(runs: Sequence[Sequence[float]], percent: float) -> Spread | None:
        if expected is None:
            return None
        return Spread.of(ratios([percentile(r, percent) for r in expected], [percentile(r, percent) for r in runs]))

    return [
        QuerySummary(
            system=system,
            queries=len(runs[0]),
            p50_ms=middle(runs, lambda run: percentile(run, 50)),
            p90_ms=middle(runs, lambda run: percentile(run, 90)),
            p99_ms=middle(runs, lambda run: percentile(run, 99)),
            slowest_ms=middle(runs, max),
            first_ms=middle(runs, lambda run: run[0]),
            stalls=middle(runs, stalls),
            ratio_p50=ratio(runs, 50),
            ratio_p99=ratio(runs, 99),
            runs_ms=tuple(tuple(run) for run in runs),
        )
        for system, runs in runs_ms.items()
    ]


def ratios(baseline: Sequence[float], seconds: Sequence[float]) -> list[float]:
    """Return the speed by the baseline's, turn by turn."""
    return [expected / taken for expected, taken in zip(baseline, seconds, strict=True)]


def stalls(times: Sequence[float]) -> int:
    """Return the number of times above three medians."""
    limit = STALL_FACTOR * percentile(times, 50)
    return sum(time > limit for time in times)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many percent lie, interpolated as numpy does."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
