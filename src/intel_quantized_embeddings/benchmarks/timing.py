"""Who is measured when. Nothing here knows a clock, a model or a process; they are handed in."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

_Name = TypeVar("_Name")


def turn_order(names: Sequence[_Name], *, turn: int, seed: int) -> list[_Name]:
    """The order of a turn: shuffled anew each time, so that none always follows the same other."""
    return random.Random(f"{seed} {turn}").sample(names, len(names))


def timed_calls(
    work: Callable[[], object], *, clock: Callable[[], float], calls: int, lead_in: int = 1
) -> tuple[float, ...]:
    """Seconds of each of several calls, after some that are not counted.

    They are for what another system's turn left behind: sleeping threads and other data in the CPU's caches.
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
    """How often a job is done: one text takes milliseconds, hundreds take seconds and vary less.

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
        """For a job of so many texts: more than 32 get half the turns that others get, three at least."""
        if texts <= 8:
            return cls(turns=turns, calls=3, lead_in=1)
        return cls(turns=turns if texts <= 32 else min(turns, max(3, turns // 2)), calls=1, lead_in=0)


def wait_until_quiet(
    cpu_clock: Callable[[], float], sleep: Callable[[float], object], *, step: float = 0.005, most: float = 0.3
) -> int:
    """Wait for threads that spin after their work, so that they don't run into another system's turn.

    A look at this process's CPU seconds every `step` seconds says whether they do; after `most` seconds they may.
    Returns the number of looks.
    """
    steps = 0
    while steps * step < most:
        before = cpu_clock()
        sleep(step)
        steps += 1
        if cpu_clock() - before < step / 5:
            break
    return steps
