"""The threads that run IPEX's batches, and the rule by which runs may be concurrent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from intel_quantized_embeddings.process.forks import renew_in_child

_Result = TypeVar("_Result")
_Shape = tuple[int, ...]

# IPEX keeps 7,500 compiled parts of graphs for each thread; a BERT of 24 layers has up to 144 parts for each shape.
_SHAPES_KEPT = 48


class Workers:
    """Threads that live as long as this object; a forked process, which does not have them, starts others.

    IPEX compiles a graph for every thread and shape, and OpenMP gives every thread that calls it threads of its own;
    if these are more than the cores, they wait by sleeping (a query from a second calling thread took 2.5 times as long
    as from the first). So few threads run batches, and they stay.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Start new threads, as a forked process must; old ones finish their work."""
        self._executor = ThreadPoolExecutor(self._number, thread_name_prefix="ipex")

    def run(self, work: Callable[[], _Result]) -> _Result:
        """Do the work on the first free thread, and wait for it."""
        return self._executor.submit(work).result()


class Compilations:
    """Keeps other runs away from the first run of each shape on each thread; all others may be concurrent.

    A first run compiles, and writes without a lock into members of the graph that all runs read (IPEX 2.8,
    `LlgaKernel::inplacePairs_` and `outputTensorTypes_`): beside another run it ended the process, or never returned.
    """

    def __init__(self) -> None:
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Forget all runs, in a forked process: the threads that ran or compiled are not there to report their end."""
        self._changed = threading.Condition()
        self._running = 0
        self._alone = False
        self._own = threading.local()

    @contextmanager
    def running(self, shape: _Shape, *, num_threads: int) -> Iterator[None]:
        """Hold the right to run a batch of this shape on this thread and a number of OpenMP threads."""
        key = (*shape, num_threads)
        known: dict[_Shape, None] = self._own.__dict__.setdefault("known", {})  # the least recently used first
        first = key not in known
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            if first:
                self._alone = True
                self._changed.wait_for(lambda: not self._running)
            else:
                self._running += 1
        try:
            yield
            known.pop(key, None)
            known[key] = None
            if len(known) > _SHAPES_KEPT:
                del known[next(iter(known))]
        finally:
            with self._changed:
                if first:
                    self._alone = False
                else:
                    self._running -= 1
                self._changed.notify_all()
