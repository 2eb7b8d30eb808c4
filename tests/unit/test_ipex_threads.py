"""Which runs of IPEX stand side by side. Nothing here needs IPEX."""

from __future__ import annotations

import os
import threading

import pytest

from intel_quantized_embeddings.runtimes.ipex_threads import Compilations, Workers

pytestmark = pytest.mark.ipex

SHAPE = (4, 64)


def _meanwhile(work):
    """Begin the work on another thread; an event says when it is done."""
    done = threading.Event()
    threading.Thread(target=lambda: (work(), done.set()), daemon=True).start()
    return done


def _run(compilations, *shapes, num_threads=1):
    """Run these shapes one after another on this thread."""
    for shape in shapes or (SHAPE,):
        with compilations.running(shape, num_threads=num_threads):
            pass


class Running:
    """A run of SHAPE by a thread that knows it, going on until told to leave."""

    def __init__(self, compilations):
        self._leave, entered = threading.Event(), threading.Event()

        def known_run():
            _run(compilations)
            with compilations.running(SHAPE, num_threads=1):
                entered.set()
                self._leave.wait(10)

        self._done = _meanwhile(known_run)
        assert entered.wait(10)

    def end(self):
        self._leave.set()
        assert self._done.wait(10)


def test_a_shape_that_its_thread_knows_does_not_wait_for_others():
    compilations, barrier = Compilations(), threading.Barrier(2)

    def second_run():
        _run(compilations)
        barrier.wait(10)
        with compilations.running(SHAPE, num_threads=1):
            barrier.wait(10)  # both are inside, or this is an error

    both = [_meanwhile(second_run) for _ in range(2)]
    assert all(done.wait(10) for done in both)


@pytest.mark.parametrize(
    ("shape", "num_threads"),
    [(SHAPE, 1), ((5, 64), 1), (SHAPE, 2)],
    ids=["of a shape that another thread knows", "of a new shape", "of another number of threads"],
)
def test_a_first_run_waits_for_those_that_run(shape, num_threads):
    compilations = Compilations()
    running = Running(compilations)
    first = _meanwhile(lambda: _run(compilations, shape, num_threads=num_threads))
    assert not first.wait(0.2)
    running.end()
    assert first.wait(10)


def test_who_knows_the_shape_waits_for_a_first_run():
    compilations, begin = Compilations(), threading.Event()
    knows = threading.Event()

    def known_run():
        _run(compilations)
        knows.set()
        begin.wait(10)
        _run(compilations)

    done = _meanwhile(known_run)
    assert knows.wait(10)
    with compilations.running(SHAPE, num_threads=1):  # this thread's first
        begin.set()
        assert not done.wait(0.2)
    assert done.wait(10)


def test_a_shape_of_long_ago_counts_as_new():
    """IPEX has let it go by then."""
    compilations, begin, forgotten = Compilations(), threading.Event(), threading.Event()

    def long_ago():
        _run(compilations, SHAPE, *((rows, 64) for rows in range(5, 100)))
        forgotten.set()
        assert begin.wait(10)
        _run(compilations)

    done = _meanwhile(long_ago)
    assert forgotten.wait(10)
    running = Running(compilations)
    begin.set()
    assert not done.wait(0.2)
    running.end()
    assert done.wait(10)


def test_a_first_run_that_fails_lets_the_next_try():
    compilations = Compilations()
    for _ in range(2):
        with pytest.raises(ValueError, match="torch"), compilations.running(SHAPE, num_threads=1):
            raise ValueError("torch")
    assert _meanwhile(lambda: _run(compilations)).wait(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_process_waits_for_nobody_and_has_workers_of_its_own():
    compilations, workers = Compilations(), Workers(1)
    workers.run(lambda: None)
    running = Running(compilations)
    pid = os.fork()
    if not pid:
        ok = _meanwhile(lambda: workers.run(lambda: _run(compilations))).wait(5)
        os._exit(0 if ok else 3)
    running.end()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
