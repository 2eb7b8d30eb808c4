"""The measurements, each over several systems, whose workers time themselves."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from intel_quantized_embeddings.benchmarks.summaries import Summary
from intel_quantized_embeddings.benchmarks.timing import Effort, turn_order
from intel_quantized_embeddings.errors import QuantizedEmbeddingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Advance = Callable[[str], object]
Failed = Callable[[str, Exception], object]


class SystemFailedError(QuantizedEmbeddingsError, RuntimeError):
    """A system could not be loaded or run."""


class Asked(Protocol):
    """The part of a `Worker` that these functions use."""

    def ask(self, command: str, *arguments: object) -> Any:
        """Have a command done, or raise SystemFailedError."""
        ...


class Turns:
    """Systems that do the same jobs turn by turn. A system that fails is reported once, and the others go on.

    Args:
        workers: Loaded systems by name.
        seed: Seed of the orders.
        advance: Called with a system's name after each of its jobs.
        failed: Called with the name and the error of a system that fails.
    """

    def __init__(self, workers: Mapping[str, Asked], *, seed: int, advance: Advance, failed: Failed) -> None:
        self._able = dict(workers)
        self._seed = seed
        self._advance = advance
        self._failed = failed

    def warm_up(self, work: Callable[[Asked], Any]) -> dict[str, Any]:
        """Have every system do something that is not timed; return the results by name."""
        done = {name: self._try(name, work) for name in list(self._able)}
        return {name: value for name, value in done.items() if name in self._able}

    def timed(self, jobs: Mapping[int, Callable[[Asked, int], float]], *, texts: int, turns: int) -> list[Summary]:
        """Have every system do every job once a turn, and summarize the systems that did all their turns.

        A job, by its size, has a worker do the work of a turn on a number of `texts`, and returns its seconds.
        """
        seconds: dict[tuple[str, int], list[Any]] = {(name, size): [] for name in self._able for size in jobs}
        for turn in range(turns):
            for name, size in turn_order(list(seconds), turn=turn, seed=self._seed + sum(jobs)):
                seconds[name, size].append(self._try(name, jobs[size], turn))
        return [
            Summary.of(name, size=size, texts=texts, turns=times)
            for (name, size), times in seconds.items()
            if name in self._able
        ]

    def _try(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return work(self._able[name], *arguments) if name in self._able else None
        except SystemFailedError as exc:
            self._failed(name, exc)
            del self._able[name]
            return None
        finally:
            self._advance(name)


def measure_size(systems: Turns, calls: Sequence[Sequence[str]], *, size: int, turns: int) -> list[Summary]:
    """Time calls of one size, all texts of a call in one batch if the library asks for its size.

    Args:
        systems: The systems to measure.
        calls: Calls with the same number of different texts; turns take them one after another.
        size: The name of the size.
        turns: Number of turns; fewer for large jobs, see `Effort`. A turn's time is the median of its calls.
    """
    texts = len(calls[0])
    effort = Effort.of(texts, turns=turns)

    def warm_up(worker: Asked) -> None:
        """Run every call once, so that no text or shape is new to a system."""
        for call in calls:
            worker.ask("encode", list(call), texts)

    def timed(worker: Asked, turn: int) -> float:
        call = list(calls[turn % len(calls)])
        return float(statistics.median(worker.ask("time_encode", call, texts, effort.calls, effort.lead_in)))

    systems.warm_up(warm_up)
    return systems.timed({size: timed}, texts=texts, turns=effort.turns)


def measure_corpus(
    systems: Turns, texts: list[str], *, batch_size: int, turns: int
) -> tuple[list[Summary], dict[str, NDArray[np.float32]]]:
    """Encode the whole corpus once a turn; return the vectors of the warm-up too."""

    def timed(worker: Asked, turn: int) -> float:
        (seconds,) = worker.ask("time_encode", texts, batch_size, 1, 0)
        return float(seconds)

    vectors = systems.warm_up(lambda worker: worker.ask("encode", texts, batch_size))
    measured = systems.timed({len(texts): timed}, texts=len(texts), turns=turns)
    return measured, {one.system: vectors[one.system] for one in measured}


def measure_queries(
    start: Mapping[str, Callable[[], AbstractContextManager[Asked]]],
    texts: list[str],
    *,
    rounds: int,
    seed: int,
    advance: Advance,
    failed: Failed,
) -> tuple[dict[str, list[list[float]]], dict[str, NDArray[np.float32]], dict[str, list[float]]]:
    """Embed queries one at a time, each run in a fresh process that has just loaded and is alone.

    `start` has a function for each system that starts its process; the texts are all different. Returns by system the
    milliseconds of every query of every run, the vectors of the last run, and the seconds of importing and loading.
    """
    runs: dict[str, list[list[float]]] = {name: [] for name in start}
    loading: dict[str, list[float]] = {name: [] for name in start}
    vectors: dict[str, NDArray[np.float32]] = {}
    for turn in range(rounds):
        for name in turn_order(list(runs), turn=turn, seed=seed):
            try:
                with start[name]() as worker:
                    seconds, _ = worker.ask("load")
                    milliseconds, vectors[name] = worker.ask("time_queries", texts)
            except SystemFailedError as exc:
                failed(name, exc)
                for results in (runs, loading, vectors):
                    results.pop(name, None)
                continue
            runs[name].append(milliseconds)
            loading[name].append(seconds)
            advance(name)
    return runs, vectors, loading


def measure_threads(systems: Turns, texts: list[str], *, counts: Sequence[int], turns: int) -> list[Summary]:
    """Have several threads embed queries through one object, and as many texts by one thread for comparison."""

    def timed(worker: Asked, turn: int, *, count: int) -> float:
        return float(worker.ask("time_threads", texts, count))

    systems.warm_up(lambda worker: worker.ask("time_queries", texts))
    jobs = {count: functools.partial(timed, count=count) for count in counts}
    return systems.timed(jobs, texts=len(texts), turns=turns)
