"""Summaries of times: medians, spreads, and ratios within a turn."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

# A user would notice a query that is this many times slower than the median.
STALL_FACTOR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of several values with their 10th and 90th percentile."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarize values; there must be at least one."""
        low, median, high = np.percentile(values, (10, 50, 90)).tolist()
        return cls(median=median, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One system's times for one job, turn after turn.

    Attributes:
        system: The system's name.
        size: The job's size: tokens, texts in a call, or threads.
        texts: Number of texts in the job.
        seconds: Time of a turn.
        texts_per_second: Texts by that time.
        ratio: Speed relative to the baseline in the same turn; None without a baseline.
        turns: The times themselves, in seconds.
    """

    system: str
    size: int
    texts: int
    seconds: Spread
    texts_per_second: Spread
    ratio: Spread | None
    turns: tuple[float, ...]

    @classmethod
    def of(cls, system: str, *, size: int, texts: int, turns: Sequence[float]) -> Summary:
        """Summarize the seconds of each turn, without a baseline."""
        return cls(
            system=system,
            size=size,
            texts=texts,
            seconds=Spread.of(turns),
            texts_per_second=Spread.of([texts / seconds for seconds in turns]),
            ratio=None,
            turns=tuple(turns),
        )

    def beside(self, baseline: Sequence[float] | None) -> Summary:
        """Return the same summary with its ratio to the turns of a baseline."""
        return self if baseline is None else replace(self, ratio=Spread.of(ratios(baseline, self.turns)))


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySummary:
    """Queries one at a time in fresh processes. Each figure is the median over the processes.

    Attributes:
        system: Its name.
        queries: Texts in a run.
        p50_ms: Median of a run; p90_ms and p99_ms are other percentiles.
        slowest_ms: The slowest query.
        first_ms: The first query after loading.
        stalls: Queries that took more than three times the median of their run.
        ratio_p50: Speed relative to the baseline at the median, by round; None without a baseline.
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


def beside_baseline(summaries: Sequence[Summary], baseline: str | None) -> list[Summary]:
    """Return the summaries with ratios: the baseline's time by the system's, in the same turn at the same size."""
    turns = {(one.system, one.size): one.turns for one in summaries}
    return [one.beside(turns.get((baseline or "", one.size))) for one in summaries]


def beside_one_thread(summaries: Sequence[Summary]) -> list[Summary]:
    """Return the summaries with ratios to the same system with one thread."""
    alone = {one.system: one.turns for one in summaries if one.size == 1}
    return [one.beside(alone.get(one.system)) for one in summaries]


def times_as_fast(summaries: Sequence[Summary], system: str) -> dict[str, Spread]:
    """Return a system's speed relative to each of the others, turn by turn; empty if it was not measured."""
    own = next((one.turns for one in summaries if one.system == system), None)
    if own is None:
        return {}
    return {one.system: Spread.of(ratios(one.turns, own)) for one in summaries if one.system != system}


def summarize_queries(runs_ms: Mapping[str, Sequence[Sequence[float]]], *, baseline: str | None) -> list[QuerySummary]:
    """Summarize queries.

    Args:
        runs_ms: Milliseconds of every query of every run, under each system's name; runs with the same
            place were made in the same round.
        baseline: The system whose times the ratios are to.
    """
    at = {system: np.percentile(runs, (50, 90, 99), axis=1).tolist() for system, runs in runs_ms.items()}
    base_p50, _, base_p99 = at.get(baseline or "", (None, None, None))
    return [
        QuerySummary(
            system=system,
            queries=len(runs[0]),
            p50_ms=statistics.median(p50),
            p90_ms=statistics.median(p90),
            p99_ms=statistics.median(p99),
            slowest_ms=statistics.median(map(max, runs)),
            first_ms=statistics.median(run[0] for run in runs),
            stalls=statistics.median(map(stalls, runs)),
            ratio_p50=None if base_p50 is None else Spread.of(ratios(base_p50, p50)),
            ratio_p99=None if base_p99 is None else Spread.of(ratios(base_p99, p99)),
            runs_ms=tuple(tuple(run) for run in runs),
        )
        for (system, runs), (p50, p90, p99) in zip(runs_ms.items(), at.values(), strict=True)
    ]


def ratios(baseline: Sequence[float], seconds: Sequence[float]) -> list[float]:
    """Return the speed by the baseline's, turn by turn."""
    return [expected / taken for expected, taken in zip(baseline, seconds, strict=True)]


def stalls(times: Sequence[float]) -> int:
    """Return the number of times above three medians."""
    limit = STALL_FACTOR * statistics.median(times)
    return sum(time > limit for time in times)
