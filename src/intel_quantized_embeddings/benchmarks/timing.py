"""The order and number of measurements. Clocks, models and processes are arguments."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

_Name = TypeVar("_Name")


def turn_order(names: Sequence[_Name], *, turn: int, seed: int) -> list[_Name]:
    """Return the order of a turn, shuffled each time, so that no system always follows the same one."""
    return random.Random(f"{seed} {turn}").sample(names, len(names))


def timed_calls(
    work: Callable[[], object], *, clock: Callable[[], float], calls: int, lead_in: int = 1
) -> tuple[float, ...]:
    """Time each of several calls, after some that are not counted.

    Those undo the effects of another system's turn: sleeping threads and other data in the CPU's caches.
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
    """The number of repetitions of a job: one text takes milliseconds, hundreds take seconds and vary less.

    Attributes:
        turns: Turns of each system.
        calls: Calls in a turn; their median is the turn's time.
        lead_in: Calls before these that are not counted.
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

    This process's CPU seconds are read every `step` seconds to see whether they do; after `most` seconds they may.
    Returns the number of readings.
    """
    steps = 0
    while steps * step < most:
        before = cpu_clock()
        sleep(step)
        steps += 1
        if cpu_clock() - before < step / 5:
            break
    return steps
