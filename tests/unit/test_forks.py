"""What is counted before a fork and what a forked process finds; no process is forked here."""

from __future__ import annotations

import sys
import threading
import time
from types import ModuleType

import pytest

from intel_quantized_embeddings.errors import ForkedProcessError
from intel_quantized_embeddings.process import forks
from intel_quantized_embeddings.process.forks import KeyedLocks, importing


@pytest.fixture
def work(monkeypatch):
    """A counter of its own, whose forks wait a tenth of a second at most."""
    monkeypatch.setattr(forks, "_LONGEST_WAIT_SECONDS", 0.1)
    return forks._Work()


def in_a_thread(target):
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def at_work(work):
    """Begin a piece of work in another thread; returns what ends it."""
    begun, enough = threading.Event(), threading.Event()

    def go():
        with work:
            begun.set()
            enough.wait(60)

    thread = in_a_thread(go)
    assert begun.wait(60)

    def end():
        enough.set()
        thread.join(60)

    return end


def test_a_fork_waits_for_work_and_work_for_a_fork(work, monkeypatch):
    monkeypatch.setattr(forks, "_LONGEST_WAIT_SECONDS", 60)
    end, order = at_work(work), []

    def fork():
        work.hold()
        order.append("forked")
        time.sleep(0.05)
        work.go_on()

    def work_later():
        with work:
            order.append("worked")

    forking = in_a_thread(fork)
    while not work._forking:
        time.sleep(0.001)
    later = in_a_thread(work_later)
    time.sleep(0.05)
    assert not order
    end()
    forking.join(60)
    later.join(60)
    assert order == ["forked", "worked"]


def test_a_piece_in_a_piece_does_not_wait_for_the_fork_that_waits_for_it(work):
    """Neither in the thread that forks, nor in another."""
    with work:
        work.hold()  # the thread that forks is not waited for
        with work:
            pass
        work.go_on()
    begun, forking, done = threading.Event(), threading.Event(), threading.Event()

    def nested():
        with work:
            begun.set()
            forking.wait(60)
            with work:
                done.set()

    thread = in_a_thread(nested)
    assert begun.wait(60)
    work.hold()
    forking.set()
    assert done.wait(60)
    work.go_on()
    thread.join(60)


def test_a_long_piece_can_let_forks_come(work):
    with work, work.paused():
        assert not work._at_work
    assert not work._at_work
    with work.paused():  # outside of any work it means nothing
        assert not work._at_work


def test_what_was_cut_off_is_said_and_not_waited_for(work):
    """A fork that could wait no longer leaves a process that says why it can't go on."""
    end = at_work(work)
    work.hold()
    work.renew()  # as the child does
    with pytest.raises(ForkedProcessError, match="forked while another thread was at work"), work:
        pass
    end()


def test_work_that_ended_before_the_fork_leaves_nothing(work):
    at_work(work)()
    work.hold()
    work.renew()
    with work:
        pass


def test_each_key_has_a_lock_and_a_forked_process_finds_all_free():
    locks = KeyedLocks()
    with locks.holding("one"), locks.holding("another"):
        locks.renew()
        with locks.holding("one"):
            pass
    assert not locks._held


def test_only_one_holds_a_key():
    locks, most, now = KeyedLocks(), [], []

    def hold():
        with locks.holding("one"):
            now.append(1)
            most.append(len(now))
            time.sleep(0.01)
            now.pop()

    threads = [in_a_thread(hold) for _ in range(4)]
    for thread in threads:
        thread.join(60)
    assert most == [1] * 4


def test_an_import_that_another_thread_was_at_is_an_error_that_says_so(monkeypatch, tmp_path):
    """And an import of this thread's own goes on."""
    (tmp_path / "slow_library.py").write_text("import slow_gate\nslow_gate.begun.set()\nslow_gate.enough.wait(60)\n")
    (tmp_path / "own_library.py").write_text("import slow_gate\nslow_gate.fork()\n")
    (tmp_path / "slow_gate.py").write_text("import threading\nbegun, enough = threading.Event(), threading.Event()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import slow_gate

    slow_gate.fork = forks._end_lost_imports
    thread = in_a_thread(lambda: __import__("slow_library"))
    assert slow_gate.begun.wait(60)
    half = sys.modules["slow_library"]
    try:
        import own_library  # noqa: F401

        with pytest.raises(ForkedProcessError, match="another thread was importing slow_library"), importing():
            import slow_library  # noqa: F401
    finally:
        sys.modules["slow_library"] = half
        slow_gate.enough.set()
        thread.join(60)
        forks._lost_imports.clear()
        for name in ("slow_gate", "slow_library", "own_library"):
            sys.modules.pop(name, None)


def test_the_hub_clients_locks_are_free_though_an_import_of_its_own_was_cut_off(monkeypatch):
    """Its modules come one after another: some are there when a fork ends the import of the next."""
    complete = ModuleType("huggingface_hub.complete")
    complete.lock = threading.Lock()
    complete.lock.acquire()
    monkeypatch.setitem(sys.modules, "huggingface_hub.cut_off", None)
    monkeypatch.setitem(sys.modules, complete.__name__, complete)
    forks._free_locks_of_others()
    assert complete.lock.acquire(blocking=False)


def test_any_other_import_error_is_left_as_it_is():
    with pytest.raises(ModuleNotFoundError, match="no_such_library"), importing():
        import no_such_library  # noqa: F401
