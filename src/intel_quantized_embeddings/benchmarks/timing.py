"""Who is measured when. Nothing here knows a clock, a model or a process; they are handed in."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


def turn_order(names: Sequence[str], *, turn: int, seed: int) -> list[str]:
    """The order of a turn: shuffled anew each time, so that none always follows the same other."""
    return random.Random(f"{seed} {turn}").sample(list(names), len(names))


def take_turns(
    jobs: Mapping[str, Callable[[int], float]],
    *,
    turns: int,
    seed: int,
    on_done: Callable[[str], object] | None = None,
) -> dict[str, tuple[float, ...]]:
    """Run every job once a turn.

    Args:
        jobs: A name, and what does the work of a turn and returns its seconds.
        turns: How many.
        seed: Of the orders.
        on_done: Called with a name after each job.

    Returns:
        Seconds of every turn, under each name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(turns):
        for name in turn_order(list(jobs), turn=turn, seed=seed):
            seconds[name].append(jobs[name](turn))
            if on_done is not None:
                on_done(name)
    return {name: tuple(times) for name, times in seconds.items()}


def timed_calls(
    work: Callable[[], object], *, clock: Callable[[], float], calls: int, lead_in: int = 1
) -> tuple[float, ...]:
    """Seconds of each of several calls, after some that are not counted.

    The lead-in is for what another system's turn left behind: sleeping threads and other data in
    the CPU's caches.
    """
    for _ in range(lead_in):
        work()
    seconds = []
    for _ in range(calls):
        started = clock()
        work()
        seconds.append(clock() - started)
    return tuple(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Return how often a job is done: one text takes milliseconds, hundreds take seconds and vary less.

    Only calls of more than 32 texts get fewer turns than they were given: half, three at least.

    Attributes:
        turns: Turns of each system.
        calls: Calls in a turn; their median is the turn's time.
        lead_in: Calls before them that are not counted.
    """

    turns: int
    calls: int
    lead_in: int

    @classmethod
    def of(cls, texts: int, *, turns: int) -> Effort:
        """For a job of so many texts, where an ordinary job gets so many turns."""
        if texts <= 8:
            return cls(turns=turns, calls=3, lead_in=1)
        return cls(turns=turns if texts <= 32 else min(turns, max(3, turns // 2)), calls=1, lead_in=0)


def wait_until_quiet(
    cpu_clock: Callable[[], float],
    sleep: Callable[[float], object],
    *,
    step: float = 0.005,
    most: float = 0.3,
) -> int:
    """Wait for threads that spin after their work, so that they don't run into another system's turn.

    Args:
        cpu_clock: CPU seconds of this process.
        sleep: Waits for so many seconds.
        step: Seconds between looks.
        most: Seconds after which to give up.

    Returns:
        How many steps it took.
    """
    steps = 0
    while steps * step < most:
        before = cpu_clock()
        sleep(step)
        steps += 1
        if cpu_clock() - before < step / 5:
            break
    return steps
