"""Which runs of IPEX stand side by side. Nothing here needs IPEX."""

from __future__ import annotations

import os
import threading

import pytest

from intel_quantized_embeddings.runtimes.ipex_threads import Compilations, Workers

SHAPE = (4, 64)


def _meanwhile(work):
    """Begin the work on another thread; an event says when it is done."""
    done = threading.Event()
    threading.Thread(target=lambda: (work(), done.set()), daemon=True).start()
    return done


def _run(compilations, shape=SHAPE, *, num_threads=1, before=(), inside=None):
    """Run those shapes before, then one, and stay inside until told."""
    for known in before:
        with compilations.running(known, num_threads=num_threads):
            pass
    with compilations.running(shape, num_threads=num_threads):
        if inside is not None:
            assert inside.wait(10)


def test_a_shape_that_its_thread_knows_does_not_wait_for_others():
    compilations, leave = Compilations(), threading.Event()
    barrier = threading.Barrier(2)

    def second_run():
        _run(compilations)
        barrier.wait(10)
        with compilations.running(SHAPE, num_threads=1):
            barrier.wait(10)  # both are inside, or this is an error
            leave.wait(10)

    both = [_meanwhile(second_run) for _ in range(2)]
    leave.set()
    assert all(done.wait(10) for done in both)


@pytest.mark.parametrize(
    ("shape", "num_threads"), [((5, 64), 1), (SHAPE, 2)], ids=["another shape", "another number of threads"]
)
def test_a_first_run_waits_for_those_that_run_and_those_that_come_wait_for_it(shape, num_threads):
    compilations, leave = Compilations(), threading.Event()
    _run(compilations)
    entered = threading.Event()

    def known_run():
        _run(compilations)
        with compilations.running(SHAPE, num_threads=1):
            entered.set()
            leave.wait(10)

    running = _meanwhile(known_run)
    assert entered.wait(10)
    first = _meanwhile(lambda: _run(compilations, shape, num_threads=num_threads))
    assert not first.wait(0.2)
    leave.set()
    assert running.wait(10)
    assert first.wait(10)


def test_what_one_thread_compiled_another_compiles_again():
    compilations, leave, entered = Compilations(), threading.Event(), threading.Event()

    def known_run():
        _run(compilations)
        with compilations.running(SHAPE, num_threads=1):
            entered.set()
            leave.wait(10)

    _meanwhile(known_run)
    assert entered.wait(10)
    other = _meanwhile(lambda: _run(compilations))
    assert not other.wait(0.2)
    leave.set()
    assert other.wait(10)


def test_a_shape_of_long_ago_counts_as_new():
    """IPEX has let it go by then."""
    compilations, leave, entered = Compilations(), threading.Event(), threading.Event()

    def known_run():
        _run(compilations)
        with compilations.running(SHAPE, num_threads=1):
            entered.set()
            leave.wait(10)

    forgotten = threading.Event()

    def long_ago():
        _run(compilations, (1000, 64), before=[SHAPE, *((rows, 64) for rows in range(5, 100))])
        forgotten.set()
        assert entered.wait(10)
        _run(compilations)

    done = _meanwhile(long_ago)
    assert forgotten.wait(10)
    _meanwhile(known_run)
    assert entered.wait(10)
    assert not done.wait(0.2)
    leave.set()
    assert done.wait(10)


def test_a_first_run_that_fails_lets_the_next_try():
    compilations = Compilations()
    for _ in range(2):
        with pytest.raises(ValueError, match="torch"), compilations.running(SHAPE, num_threads=1):
            raise ValueError("torch")
    assert _meanwhile(lambda: _run(compilations)).wait(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_process_waits_for_nobody_and_has_workers_of_its_own():
    compilations, workers, leave = Compilations(), Workers(1), threading.Event()
    entered = threading.Event()

    def inside():
        with compilations.running(SHAPE, num_threads=1):
            entered.set()
            leave.wait(10)

    running = _meanwhile(lambda: workers.run(inside))
    assert entered.wait(10)
    pid = os.fork()
    if not pid:
        ok = _meanwhile(lambda: workers.run(lambda: _run(compilations))).wait(5)
        os._exit(0 if ok else 3)
    leave.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert running.wait(10)
