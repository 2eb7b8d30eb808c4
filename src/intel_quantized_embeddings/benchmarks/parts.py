"""The measurements, each over systems that are driven alike. A worker is asked; it times itself."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from intel_quantized_embeddings.benchmarks.summaries import Series
from intel_quantized_embeddings.benchmarks.timing import Effort, take_turns, turn_order
from intel_quantized_embeddings.errors import QuantizedEmbeddingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Advance = Callable[[str], object]
Failed = Callable[[str, Exception], object]
Value = TypeVar("Value")


class SystemFailedError(QuantizedEmbeddingsError, RuntimeError):
    """A system could not be loaded or run."""


class Asked(Protocol):
    """The part of a `Worker` that these functions use."""

    def ask(self, command: str, *arguments: object) -> Any:
        """Have something done.

        Raises:
            SystemFailedError: It could not be.
        """
        ...


def measure_sizes(
    workers: Mapping[str, Asked],
    jobs: Mapping[int, Sequence[Sequence[str]]],
    *,
    turns: int,
    seed: int,
    advance: Advance,
    failed: Failed,
) -> list[Series]:
    """Time calls of each size, all texts of a call in one batch where the library asks for its size.

    Args:
        workers: Loaded systems by name.
        jobs: For each size, calls of as many different texts; turns take them one after another.
        turns: How many; fewer for large jobs, see `Effort`.
        seed: Of the orders.
        advance: Called after each system's turn, and after each one's warm-up.
        failed: Called with the error of a system that can't do a job; the others go on without it.

    Returns:
        A series for each size and system that did all its turns. A turn's time is the median of its calls.
    """
    series = []
    able = dict(workers)
    for size, calls in jobs.items():
        effort = Effort.of(len(calls[0]), turns=turns)
        # Every call, so that a system's first sight of a text or shape is behind it.
        able = {name: worker for name, worker in able.items() if _warm_up(name, worker, calls, advance, failed)}
        guard = _Guard(failed)
        timed = {
            name: guard.job(name, functools.partial(_time_call, worker, calls, effort)) for name, worker in able.items()
        }
        seconds = guard.kept(take_turns(timed, turns=effort.turns, seed=seed + size, on_done=advance))
        able = {name: able[name] for name in seconds}
        series += [
            Series(system=name, size=size, texts=len(calls[0]), seconds=times) for name, times in seconds.items()
        ]
    return series


def measure_corpus(
    workers: Mapping[str, Asked],
    texts: Sequence[str],
    *,
    batch_size: int,
    turns: int,
    seed: int,
    advance: Advance,
    failed: Failed,
) -> tuple[list[Series], dict[str, NDArray[np.float32]]]:
    """Encode the whole corpus once a turn.

    Args:
        workers: Loaded systems by name.
        texts: In the order that each system gets them.
        batch_size: For libraries that ask for it.
        turns: How many.
        seed: Of the orders.
        advance: Called after each system's turn, and after each one's warm-up.
        failed: Called with the error of a system that can't do it; the others go on without it.

    Returns:
        A series for each system that did all its turns, and its vectors from the warm-up.
    """
    listed = list(texts)
    vectors = {}
    for name, worker in workers.items():
        try:
            vectors[name] = worker.ask("encode", listed, batch_size)
        except SystemFailedError as exc:
            failed(name, exc)
        advance(name)

    def turn(worker: Asked, _: int) -> float:
        (seconds,) = worker.ask("time_encode", listed, batch_size, 1, 0)
        return float(seconds)

    guard = _Guard(failed)
    jobs = {name: guard.job(name, functools.partial(turn, workers[name])) for name in vectors}
    seconds = guard.kept(take_turns(jobs, turns=turns, seed=seed, on_done=advance))
    return [
        Series(system=name, size=len(listed), texts=len(listed), seconds=times) for name, times in seconds.items()
    ], {name: vectors[name] for name in seconds}


def measure_queries(
    start: Mapping[str, Callable[[], AbstractContextManager[Asked]]],
    texts: Sequence[str],
    *,
    rounds: int,
    seed: int,
    advance: Advance,
    failed: Failed,
) -> tuple[dict[str, list[list[float]]], dict[str, NDArray[np.float32]], dict[str, list[float]]]:
    """Embed queries one at a time, each run in a fresh process that has just loaded and is alone.

    Args:
        start: What starts each system's process.
        texts: All different; every run embeds all of them in this order.
        rounds: Runs of each system; they take turns, run by run.
        seed: Of the orders.
        advance: Called after each run.
        failed: Called with the error of a system that can't do it; the others go on without it.

    Returns:
        Milliseconds of every query of every run, the vectors of the last run, and the seconds that importing
        and loading took, each under the system's name.
    """
    runs: dict[str, list[list[float]]] = {name: [] for name in start}
    loading: dict[str, list[float]] = {name: [] for name in start}
    vectors: dict[str, NDArray[np.float32]] = {}
    for turn in range(rounds):
        for name in turn_order(list(runs), turn=turn, seed=seed):
            try:
                with start[name]() as worker:
                    seconds, _ = worker.ask("load")
                    milliseconds, vectors[name] = worker.ask("time_queries", list(texts))
            except SystemFailedError as exc:
                failed(name, exc)
                for results in (runs, loading, vectors):
                    results.pop(name, None)
                continue
            runs[name].append(milliseconds)
            loading[name].append(seconds)
            advance(name)
    return runs, vectors, loading


def measure_threads(
    workers: Mapping[str, Asked],
    texts: Sequence[str],
    *,
    counts: Sequence[int],
    turns: int,
    seed: int,
    advance: Advance,
    failed: Failed,
) -> list[Series]:
    """Have several threads embed queries through one object, and as many texts by one thread for comparison."""
    guard = _Guard(failed)
    jobs = {}
    for name, worker in workers.items():
        guard.job(name, functools.partial(_warm_queries, worker, list(texts)))(0)
        for count in counts:
            work = functools.partial(_time_threads, worker, list(texts), count)
            jobs[f"{name} {count}"] = guard.job(name, work)
    seconds = take_turns(jobs, turns=turns, seed=seed, on_done=lambda job: advance(job.rpartition(" ")[0]))
    return [
        Series(system=name, size=count, texts=len(texts), seconds=seconds[f"{name} {count}"])
        for name in guard.kept(workers)
        for count in counts
    ]


class _Guard:
    """Reports a system that fails in a turn, once, and skips what else it was to do."""

    def __init__(self, failed: Failed) -> None:
        self._failed = failed
        self._out: set[str] = set()

    def job(self, name: str, work: Callable[[int], float]) -> Callable[[int], float]:
        """Work of a system for `take_turns`; it takes NaN seconds once the system has failed."""

        def guarded(turn: int) -> float:
            if name in self._out:
                return math.nan
            try:
                return work(turn)
            except SystemFailedError as exc:
                self._out.add(name)
                self._failed(name, exc)
                return math.nan

        return guarded

    def kept(self, by_system: Mapping[str, Value]) -> dict[str, Value]:
        """Return the entries of systems that have not failed."""
        return {name: value for name, value in by_system.items() if name not in self._out}


def _warm_up(name: str, worker: Asked, calls: Sequence[Sequence[str]], advance: Advance, failed: Failed) -> bool:
    """Run every call once; whether that went well."""
    try:
        for texts in calls:
            worker.ask("encode", list(texts), len(texts))
    except SystemFailedError as exc:
        failed(name, exc)
        return False
    finally:
        advance(name)
    return True


def _time_call(worker: Asked, calls: Sequence[Sequence[str]], effort: Effort, turn: int) -> float:
    texts = list(calls[turn % len(calls)])
    seconds: tuple[float, ...] = worker.ask("time_encode", texts, len(texts), effort.calls, effort.lead_in)
    return statistics.median(seconds)


def _warm_queries(worker: Asked, texts: list[str], _turn: int) -> float:
    milliseconds, _ = worker.ask("time_queries", texts)
    return float(sum(milliseconds)) / 1e3


def _time_threads(worker: Asked, texts: list[str], count: int, _: int) -> float:
    return float(worker.ask("time_threads", texts, count))
