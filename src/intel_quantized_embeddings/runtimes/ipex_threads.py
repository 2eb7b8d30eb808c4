"""The threads that run IPEX's batches, and which runs may stand side by side."""

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
    """A number of threads that live as long as this object; others in a forked process, where these are not.

    IPEX compiles a graph for every thread and shape, and OpenMP gives every thread that calls it threads of its own, of
    which more than there are cores wait by sleeping (a query from the second thread to make one took 2.5 times as long
    as from the first). So the threads that run batches are few, and stay.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Begin with new threads: in a forked process the old ones did not come along. Old ones end their work."""
        self._executor = ThreadPoolExecutor(self._number, thread_name_prefix="ipex")

    def run(self, work: Callable[[], _Result]) -> _Result:
        """Do the work on whichever of the threads is free first, and wait for it."""
        return self._executor.submit(work).result()


class Compilations:
    """Lets the first run of each shape on each thread be alone; other runs stand side by side.

    A first run compiles, and writes into the graph what all runs read (IPEX 2.8, `LlgaKernel::inplacePairs_` and
    `outputTensorTypes_`), without a lock: beside another run it ended the process, or never ended itself.
    """

    def __init__(self) -> None:
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Begin anew, in a forked process: who ran or compiled is not there to say that it has ended."""
        self._changed = threading.Condition()
        self._running = 0
        self._alone = False
        self._own = threading.local()

    @contextmanager
    def running(self, shape: _Shape, *, num_threads: int) -> Iterator[None]:
        """Run a batch of this shape in the block, on this thread and so many OpenMP threads."""
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
