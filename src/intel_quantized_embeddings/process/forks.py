"""A process is forked between pieces of work, never in the middle of one; and a fork's copies are told apart.

What forks gets a copy of every lock as it is at that moment. One that another thread holds is held there for ever: the
thread did not come along. So work in libraries whose locks are out of reach is counted, and a fork waits for it; locks
of this package's own are made anew in the child.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see the end
import logging  # noqa: F401
import os
import sys
import threading
import weakref
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from intel_quantized_embeddings.errors import ForkedProcessError

# A fork goes on after this long in any case: better a child that can't go on than a parent that doesn't.
_LONGEST_WAIT_SECONDS = 10.0


class _Work:
    """Counts what is at work: `with while_not_forking:` around each piece, in the same thread also one in another."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._at_work = 0
        self._forking = False
        self._own = threading.local()
        self._cut_off = False

    def __enter__(self) -> None:
        if self._cut_off:
            raise ForkedProcessError(
                "this process was forked while another thread was at work in OpenVINO, torch or an import, for longer "
                "than a fork waits: here that work never ends, and what it holds is never let go. Fork before that "
                "work begins or after it, or start processes by spawning."
            )
        depth = self._depth
        with self._changed:
            if not depth:  # else a fork waits for the outer piece
                self._changed.wait_for(lambda: not self._forking)
                self._at_work += 1
        self._own.depth = depth + 1

    def __exit__(self, *error: object) -> None:
        self._own.depth = depth = self._depth - 1
        with self._changed:
            if not depth:
                self._at_work -= 1
                self._changed.notify_all()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let a fork come now, in the middle of a long piece of work, where it does no harm."""
        depth, self._own.depth = self._depth, 0
        with self._changed:
            self._at_work -= 1 if depth else 0
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                if depth:
                    self._changed.wait_for(lambda: not self._forking)
                    self._at_work += 1
            self._own.depth = depth

    def hold(self) -> None:
        """Before a fork: wait for those at work, and let none begin."""
        with self._changed:
            self._changed.wait_for(lambda: not self._forking, timeout=_LONGEST_WAIT_SECONDS)
            self._forking = True
            self._changed.wait_for(lambda: not self._others_at_work, timeout=_LONGEST_WAIT_SECONDS)

    def go_on(self) -> None:
        """After a fork, in the process that forked."""
        with self._changed:
            self._forking = False
            self._changed.notify_all()

    def renew(self) -> None:
        """In a forked process: none is at work but what this thread was at, and what others were at is cut off."""
        self._cut_off = self._cut_off or bool(self._others_at_work)
        self._changed = threading.Condition()
        self._at_work = 1 if self._depth else 0
        self._forking = False

    @property
    def _depth(self) -> int:
        """Return the number of pieces of work that this thread is in."""
        return int(getattr(self._own, "depth", 0))

    @property
    def _others_at_work(self) -> int:
        return self._at_work - (1 if self._depth else 0)


while_not_forking = _Work()


class KeyedLocks:
    """A lock for each key that somebody holds or waits for; all are free in a forked process."""

    def __init__(self) -> None:
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Forget all: who held them is not there to give them back."""
        self._changed = threading.Condition()
        self._held: set[Hashable] = set()

    @contextmanager
    def holding(self, key: Hashable) -> Iterator[None]:
        """Be the only one with this key; others with it wait, others with another don't."""
        with self._changed:
            self._changed.wait_for(lambda: key not in self._held)
            self._held.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._held.discard(key)
                self._changed.notify_all()


class Renewed(Protocol):
    """What holds locks or threads of this process, and so begins anew in a forked one."""

    def renew(self) -> None:
        """Begin anew: whoever held or ran something is not there to give it back, or to say that it has ended."""


_renewed: weakref.WeakSet[Renewed] = weakref.WeakSet()


def renew_in_child(one: Renewed) -> None:
    """Have an object begin anew in a forked process, for as long as it lives."""
    _renewed.add(one)


# Modules that another thread was importing when this process was forked.
_lost_imports: set[str] = set()


@contextmanager
def importing() -> Iterator[None]:
    """Import libraries in the block; a fork waits for it.

    Raises:
        ForkedProcessError: One of them was being imported by another thread, of whoever, when this process was forked.
    """
    with while_not_forking:
        try:
            yield
        except ImportError as exc:
            if exc.name not in _lost_imports:
                raise
            raise ForkedProcessError(
                f"this process was forked while another thread was importing {exc.name}: here that import never ends. "
                f"Import it before forking, or start processes by spawning."
            ) from exc


def _in_child() -> None:
    while_not_forking.renew()
    _end_lost_imports()
    for one in _renewed:
        one.renew()
    _free_locks_of_others()


def _end_lost_imports() -> None:
    """Let what other threads were importing be an ImportError: who asks for it would wait for that thread for ever."""
    own = set(_own_imports())
    for name, module in list(sys.modules.items()):
        if name not in own and getattr(getattr(module, "__spec__", None), "_initializing", False):
            _lost_imports.add(name)
            sys.modules[name] = None  # type: ignore[assignment]  # Python's own mark for "can't be imported"


def _own_imports() -> Iterator[str]:
    """Names of the modules that this thread is importing: it goes on with them."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "_find_and_load" and "importlib" in frame.f_code.co_filename:
            yield str(frame.f_locals.get("name"))
        frame = frame.f_back


def _free_locks_of_others() -> None:
    """Make anew the locks of tqdm and of the hub's client, which whoever drew a bar or connected may have held."""
    bars = getattr(sys.modules.get("tqdm.std"), "TqdmDefaultWriteLock", None)
    locks = [getattr(bars, "th_lock", None)]
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "huggingface_hub" and module is not None:  # None: a lost import
            locks += [value for value in list(vars(module).values()) if isinstance(value, _LOCKS)]
    for lock in locks:
        renew = getattr(lock, "_at_fork_reinit", None)  # as Python does with its own: in place, for all who refer to it
        if renew is not None:
            renew()


_LOCKS = (type(threading.Lock()), type(threading.RLock()))

if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    # What is registered last is called first. Logging and thread pools take their locks before a fork, and what a fork
    # waits for here may need them: so they are imported, and have registered, before.
    os.register_at_fork(
        before=while_not_forking.hold, after_in_parent=while_not_forking.go_on, after_in_child=_in_child
    )
