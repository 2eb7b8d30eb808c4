"""Walks every interleaving of small cases of the pool's protocol, and shows that it sees the faults it should.

The blocks below are native/src/pool.cpp, statement by statement: a `yield` is one atomic operation, and other threads
may come between any two. Memory is sequentially consistent here; the thread sanitizer watches the orders. In every
state it is checked that a task runs once, inside its run(), by no more threads than the team asked for; that no helper
sleeps while there are tasks, a seat and room for it; and that the end can be reached from there. Not here: what happens
when there are more teams than slots, and what a fork does. It takes some minutes and exits non-zero on a surprise.
"""

# ruff: noqa: T201
from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

State = dict[str, Any]
Op = Callable[[State], Any]
Names = tuple[str, ...]
Values = tuple[Any, ...]
Block = Generator[Op, Any, tuple[str, tuple[Any, ...]]]


class Fault(Exception):
    """The protocol did what it must not."""


class Thread:
    """A block, its arguments and the results of its operations so far: run with them, it gives the next operation."""

    def __new__(cls, case: Case, name: str, arguments: tuple[Any, ...], results: tuple[Any, ...] = ()) -> Thread:
        key = name, arguments, results
        if key not in case.threads:
            case.threads[key] = super().__new__(cls)
            case.threads[key].begin(case, *key)
        return case.threads[key]

    def begin(self, case: Case, name: str, arguments: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        self.nexts: dict[Any, Thread] = {}
        self.op: Op | None = None
        while name != "ended":
            block = getattr(case, name)(*arguments)
            try:
                self.op = next(block)
                for result in results:
                    self.op = block.send(result)
                break
            except StopIteration as end:
                (name, arguments), results = end.value, ()
        self.case, self.key = case, (name, arguments, results)
        self.doing = self.op.__name__ if self.op else "ended"

    def after(self, result: Any) -> Thread:
        if result not in self.nexts:
            name, arguments, results = self.key
            new = Thread(self.case, name, arguments, (*results, result))
            self.nexts[result] = Thread(self.case, *new.key)  # the same thread, whichever way it came there
        return self.nexts[result]


Threads = tuple[Thread, ...]


class Case:
    """Callers with the teams they open in turn, (threads, tasks of each phase), and helpers; `mutant` names a fault."""

    def __init__(
        self, *, cores: int, slots: int, helpers: int, callers: list[list[tuple[int, list[int]]]], mutant: str = ""
    ) -> None:
        self.cores, self.slots, self.helpers, self.callers, self.mutant = cores, slots, helpers, callers, mutant
        self.threads: dict[Any, Thread] = {}
        # Words that can't matter in a case are not read in it: fewer states.
        self.tight, self.many = cores < helpers + len(callers), len(callers) > 1

    def start(self) -> State:
        shared: State = {"running": 0, "open_seats": 0, "bell": (0, 0), "bell.waiting": 0, "bell.woken": 0}
        for i in range(self.slots):  # phase: generation, left. door: visit, seats, free. pending: count, caller asleep
            shared |= {f"phase{i}": (0, 0), f"door{i}": (0, 0, 0), f"pending{i}": (0, False), f"work{i}": (None, 0)}
            shared |= {f"pending{i}.waiting": 0, f"pending{i}.woken": 0}
        return shared | {"live": frozenset(), "ran": frozenset(), "inside": ()}  # what only the checks look at

    def limit(self, seats: int) -> int:
        return max(self.cores, seats + 1)

    # What the words can do.
    def wait(self, word: str, value: Any) -> Generator[Op, Any, None]:
        def enter(s: State) -> bool:
            s[word + ".waiting"] += s[word] == value
            return bool(s[word] == value)

        def leave(s: State) -> Any:
            if s[word + ".woken"] == 0:
                return NotImplemented  # blocked
            s[word + ".woken"] -= 1
            return None

        if (yield enter):
            yield leave

    def wake_futex(self, word: str, number: int) -> Op:
        def op(s: State) -> None:
            some = min(number, s[word + ".waiting"])
            s[word + ".waiting"] -= some
            s[word + ".woken"] += some

        return op

    def wake(self, number: int) -> Generator[Op, Any, None]:
        def permit(s: State) -> int:
            sleepers, permits = s["bell"]
            some = max(0, min(number, sleepers))
            s["bell"] = sleepers - some, permits + some
            return int(some)

        if some := (yield permit):
            yield self.wake_futex("bell", some)

    def crowd(self) -> Generator[Op, Any, int]:
        return int((yield load("running"))) if self.tight else 0

    def crowded_out(self, seats: int) -> Generator[Op, Any, bool]:
        """Whether the clock sends a helper to another team."""
        return self.many and (yield load("open_seats")) > seats and (yield either)

    def choose(self, keen: bool) -> Generator[Op, Any, int]:
        best, least = -1, 99
        for i in range(self.slots):
            _, left = yield load(f"phase{i}")
            visit, seats, free = yield load(f"door{i}")
            if visit % 2 == 0 or free == 0 or not (left or keen) or (yield from self.crowd()) >= self.limit(seats):
                continue
            rank = seats - free + (0 if left else 50)
            if rank < least:
                best, least = i, rank
        return best

    def execute(self, i: int, left: int) -> Generator[Op, Any, None]:
        def begin(s: State) -> tuple[Any, int]:
            work, tasks = s[f"work{i}"]  # nobody may write it now: one operation
            if work not in s["live"]:
                raise Fault("a task ran outside its run()")
            if (work, tasks - left) in s["ran"] or not 0 <= tasks - left < tasks:
                raise Fault("a task ran twice, or there is none of that number")
            s["ran"] |= {(work, tasks - left)}
            s["inside"] = tuple(sorted((*s["inside"], i)))
            if s["inside"].count(i) > s[f"door{i}"][1] + 1:
                raise Fault("more threads than the team asked for")
            return work, tasks

        def end(s: State) -> None:
            if work not in s["live"]:
                raise Fault("a run() returned before its tasks")
            s["inside"] = s["inside"][: s["inside"].index(i)] + s["inside"][s["inside"].index(i) + 1 :]

        work, _ = yield begin
        yield end

    def finish(self, i: int, done: int) -> Generator[Op, Any, None]:
        def subtract(s: State) -> bool:
            tasks, asleep = s[f"pending{i}"]
            s[f"pending{i}"] = tasks - done, asleep
            return bool(asleep and tasks == done)

        if (yield subtract):
            yield self.wake_futex(f"pending{i}", 1)

    # A caller: Team::Team, Team::run, Team::~Team.
    def team(self, c: int, k: int) -> Block:
        if k == len(self.callers[c]):
            return "ended", ()
        threads = self.callers[c][k][0]
        for i in range(self.slots):
            visit, seats, free = yield load(f"door{i}")
            if (
                visit % 2 == 0
                and (yield cas(f"door{i}", (visit, seats, free), (visit + 1, threads - 1, threads - 1)))[0]
            ):
                yield add("running", 1)
                yield add("open_seats", threads - 1)
                return "run", (c, k, i, 0)
        raise AssertionError("a case has a slot for each caller")

    def run(self, c: int, k: int, i: int, n: int) -> Block:
        phases = self.callers[c][k][1]
        if n == len(phases):
            return "close", (c, k, i)

        def write(s: State) -> None:
            s[f"work{i}"] = (c, k, n), phases[n]
            s[f"pending{i}"] = phases[n], False
            s["live"] |= {(c, k, n)}

        yield write
        generation, _ = yield load(f"phase{i}")
        published = generation + (self.mutant != "same generation"), phases[n]
        if self.mutant != "look for sleepers first":
            yield store(f"phase{i}", published)
        _, seats, free = yield load(f"door{i}")
        if free:
            room = self.limit(seats) - (yield from self.crowd())
            yield from self.wake(min(free, phases[n] - 1, room))
        if self.mutant == "look for sleepers first":
            yield store(f"phase{i}", published)
        return "claim", (c, k, i, n, published, 0)

    def claim(self, c: int, k: int, i: int, n: int, seen: tuple[int, int], done: int) -> Block:
        if seen[1] == 0:
            if done:
                yield from self.finish(i, done)
            return "rest", (c, k, i, n)
        ok, now = yield cas(f"phase{i}", seen, (seen[0], seen[1] - 1))
        if not ok:
            return "claim", (c, k, i, n, now, done)
        yield from self.execute(i, seen[1])
        return "claim", (c, k, i, n, (seen[0], seen[1] - 1), done + 1)

    def rest(self, c: int, k: int, i: int, n: int) -> Block:
        seen = yield load(f"pending{i}")
        if seen[0] == 0:

            def done(s: State) -> None:
                s["live"] -= {(c, k, n)}
                if sum(work == (c, k, n) for work, _ in s["ran"]) != self.callers[c][k][1][n]:
                    raise Fault("a run() returned without all its tasks")

            yield done
            return "run", (c, k, i, n + 1)
        asleep = seen[0], True
        if self.mutant == "sleep unannounced":
            yield from self.wait(f"pending{i}", seen)
        elif seen[1] or (yield cas(f"pending{i}", seen, asleep))[0]:
            yield from self.wait(f"pending{i}", asleep)
        return "rest", (c, k, i, n)

    def close(self, c: int, k: int, i: int) -> Block:
        visit, seats, _ = yield load(f"door{i}")
        yield store(f"door{i}", (visit + 1, 0, 0))
        others = 0
        if self.mutant == "count the others first":
            others = (yield add("open_seats", -seats)) - seats
        yield add("running", -1)
        if self.mutant != "count the others first":
            others = (yield add("open_seats", -seats)) - seats
        if others and self.mutant != "close without a word" and (yield from self.choose(False)) >= 0:
            yield from self.wake(1)
        return "team", (c, k + 1)

    # A helper: Pool::help with join, sleep, serve and Slot::claim.
    def join(self, keen: bool, announced: bool) -> Block:
        i = -1 if self.mutant == "sleep without a second look" and announced else (yield from self.choose(keen))
        if i < 0:
            if announced:
                return "sleep", ()
            yield lambda s: s.update(bell=(s["bell"][0] + 1, s["bell"][1]))
            return "join", (False, True)
        return "sit", (i, keen, announced)

    def sit(self, i: int, keen: bool, announced: bool) -> Block:
        again = "join", (keen, announced)
        visit, seats, free = yield load(f"door{i}")
        if visit % 2 == 0 or free == 0:
            return again
        if self.tight:
            running = yield load("running")
            if running >= self.limit(seats) or not (yield cas("running", running, running + 1))[0]:
                return again
        else:
            yield add("running", 1)
        if not (yield cas(f"door{i}", (visit, seats, free), (visit, seats, free - 1)))[0]:
            yield add("running", -1)
            return again
        if announced:
            yield lambda s: s.update(bell=(s["bell"][0] - (not s["bell"][1]), max(0, s["bell"][1] - 1)))
        return "serve", (i, visit, seats)

    def sleep(self) -> Block:
        seen = yield load("bell")
        if seen[1] == 0:
            yield from self.wait("bell", seen)
        elif (yield cas("bell", seen, (seen[0], seen[1] - 1)))[0]:
            return "join", (True, False)
        return "sleep", ()

    def give_back(self, i: int, visit: int) -> Op:
        def op(s: State) -> None:
            now, seats, free = s[f"door{i}"]
            s[f"door{i}"] = now, seats, free + (now == visit)

        return op

    def serve(self, i: int, visit: int, seats: int) -> Block:
        seen = yield load(f"phase{i}")
        if self.mutant != "no look at the door" and (yield load(f"door{i}"))[0] != visit:
            yield add("running", -1)
            return "join", (True, False)
        running = yield from self.crowd()
        if running > self.limit(seats):
            if (yield cas("running", running, running - 1))[0]:
                yield self.give_back(i, visit)
                return "join", (False, False)
            return "serve", (i, visit, seats)
        if seen[1] == 0:
            return "idle", (i, visit, seats)
        if (yield from self.crowded_out(seats)):
            return "leave", (i, visit, True)
        return "help", (i, visit, seats, seen, 0)

    def idle(self, i: int, visit: int, seats: int) -> Block:
        if (yield either):
            return "leave", (i, visit, False)
        if (yield from self.crowded_out(seats)):
            return "leave", (i, visit, True)
        return "serve", (i, visit, seats)

    def leave(self, i: int, visit: int, keen: bool) -> Block:
        yield self.give_back(i, visit)
        yield add("running", -1)
        return "join", (keen, False)

    def help(self, i: int, visit: int, seats: int, seen: tuple[int, int], done: int) -> Block:
        stop = seen[1] == 0 or (self.mutant != "no look at the door" and (yield load(f"door{i}"))[0] != visit)
        stop = stop or (yield from self.crowd()) > self.limit(seats)
        if stop or (yield from self.crowded_out(seats)):
            if done:
                yield from self.finish(i, done)
            return "serve", (i, visit, seats)
        ok, now = yield cas(f"phase{i}", seen, (seen[0], seen[1] - 1))
        if not ok:
            return "help", (i, visit, seats, now, done)
        return "task", (i, visit, seats, seen, done)

    def task(self, i: int, visit: int, seats: int, seen: tuple[int, int], done: int) -> Block:
        if self.mutant == "count before the task":
            yield from self.finish(i, 1)
        yield from self.execute(i, seen[1])
        if self.mutant == "count before the task":
            return "serve", (i, visit, seats)
        return "help", (i, visit, seats, (seen[0], seen[1] - 1), done + 1)

    def explore(self) -> int:
        """Visit every state, and return how many there are; raise Fault at the first that must not be."""
        shared = self.start()
        names = tuple(shared)
        threads = [Thread(self, "team", (c, 0)) for c in range(len(self.callers))]
        threads += [Thread(self, "join", (True, False))] * self.helpers
        first = tuple(shared.values()), tuple(threads)
        numbers, queue, back, ends = {first: 0}, deque([first]), array("q"), []
        while queue:
            state = queue.popleft()
            self.check(dict(zip(names, state[0], strict=True)), state[1])
            if all(thread.op is None for thread in state[1][: len(self.callers)]):
                ends.append(numbers[state])
            for after in self.steps(names, *state):
                if after not in numbers:
                    numbers[after] = len(numbers)
                    queue.append(after)
                back.extend((numbers[after], numbers[state]))
        self.check_ends(len(numbers), back, ends)
        return len(numbers)

    def steps(self, names: Names, values: Values, threads: tuple[Thread, ...]) -> Iterator[tuple[Values, Threads]]:
        """Give each state that one operation of one thread leads to."""
        for at, thread in enumerate(threads):
            if thread.op is None or thread in threads[:at]:  # one helper is like another
                continue
            for choice in (False, True) if thread.op is either else (None,):
                shared: State = dict(zip(names, values, strict=True))
                result = thread.op(shared) if choice is None else choice
                if result is NotImplemented:
                    continue
                new = [*threads[:at], thread.after(result), *threads[at + 1 :]]
                new[len(self.callers) :] = sorted(new[len(self.callers) :], key=id)
                yield tuple(shared.values()), tuple(new)

    def check_ends(self, states: int, back: array[int], ends: list[int]) -> None:
        """Raise Fault where the end can't be reached from a state; `back`: a state and one before it, in turn."""
        before: list[list[int]] = [[] for _ in range(states)]
        for to, start in zip(back[::2], back[1::2], strict=True):
            before[to].append(start)
        reached = set(ends)
        while ends:
            for number in before[ends.pop()]:
                if number not in reached:
                    reached.add(number)
                    ends.append(number)
        if len(reached) < states:
            raise Fault("a state from which the callers do not come to their end")

    def check(self, s: State, threads: tuple[Thread, ...]) -> None:
        """Raise Fault where helpers sleep beside work, and every thread is asleep, at its end or inside a task."""
        helpers = threads[len(self.callers) :]
        if s["bell"][1] or s["bell.woken"] or not any(thread.doing == "leave" for thread in helpers):
            return
        if not all(thread.doing in ("leave", "end", "ended") for thread in threads):
            return
        for i in range(self.slots):
            visit, seats, free = s[f"door{i}"]
            if visit % 2 and s[f"phase{i}"][1] and free and s["running"] < self.limit(seats):
                raise Fault("helpers sleep while they could help")


def either(_: State) -> Any:
    """Stand for a clock that may have passed a time or not."""
    raise AssertionError("explore() tries both")


def load(word: str) -> Op:
    """Read a word."""
    return lambda s: s[word]


def store(word: str, value: Any) -> Op:
    """Write a word."""
    return lambda s: s.update({word: value})


def add(word: str, number: int) -> Op:
    """Add to a word and return what it was."""

    def op(s: State) -> int:
        s[word] += number
        return int(s[word] - number)

    return op


def cas(word: str, old: Any, new: Any) -> Op:
    """Compare and swap; return whether it did, and what was there."""

    def op(s: State) -> tuple[bool, Any]:
        seen = s[word]
        if seen == old:
            s[word] = new
        return seen == old, seen

    return op


CASES: dict[str, dict[str, Any]] = {
    "two phases": {"cores": 3, "slots": 1, "helpers": 2, "callers": [[(3, [2, 2])]]},
    "two teams": {"cores": 3, "slots": 1, "helpers": 2, "callers": [[(3, [2]), (2, [3])]]},
    "two callers": {"cores": 2, "slots": 2, "helpers": 1, "callers": [[(2, [2])], [(2, [])]]},
}
MUTANTS = {
    "look for sleepers first": "two phases",
    "sleep without a second look": "two phases",
    "sleep unannounced": "two phases",
    "count before the task": "two phases",
    "no look at the door": "two teams",
    "same generation": "two teams",
    "close without a word": "two callers",
    "count the others first": "two callers",
}


def main() -> int:
    """Walk all cases, right and with faults; return how many surprised."""
    surprises = 0
    for name, case in CASES.items():
        try:
            print(f"{name}: {Case(**case).explore():,} states, all as they must be", flush=True)
        except Fault as fault:
            surprises += 1
            print(f"{name}: {fault}", flush=True)
    for mutant, name in MUTANTS.items():
        try:
            Case(**CASES[name], mutant=mutant).explore()
            surprises += 1
            print(f"{name} with the fault '{mutant}': not seen", flush=True)
        except Fault as fault:
            print(f"{name} with the fault '{mutant}': {fault}", flush=True)
    return surprises


if __name__ == "__main__":
    sys.exit(main())
