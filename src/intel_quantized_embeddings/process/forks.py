"""Let forks happen only between pieces of work, and renew locks in the forked process.

A forked process has a copy of every lock. A lock that another thread held stays locked there for ever, because that
thread is not in the child. So work in libraries whose locks are out of reach is counted, and a fork waits for it; this
package's own locks are made anew in the child.
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

# A fork waits no longer than this: a child that can't go on is better than a parent that hangs.
_LONGEST_WAIT_SECONDS = 10.0


class _Work:
    """Counts pieces of work: `with while_not_forking:` around each, which may be nested in a thread."""

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
            if not depth:  # otherwise a fork would wait for the outer piece
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
        """Let a fork happen now, at a harmless place in a long piece of work."""
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
        """Before a fork: wait for the work of all threads, and let none begin."""
        with self._changed:
            self._changed.wait_for(lambda: not self._forking, timeout=_LONGEST_WAIT_SECONDS)
            self._forking = True
            self._changed.wait_for(lambda: not self._others_at_work, timeout=_LONGEST_WAIT_SECONDS)

    def go_on(self) -> None:
        """After a fork, in the parent: let work begin again."""
        with self._changed:
            self._forking = False
            self._changed.notify_all()

    def renew(self) -> None:
        """In a forked process: only this thread's work goes on; that of others is cut off."""
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
        """Forget all locks: their holders are not there to release them."""
        self._changed = threading.Condition()
        self._held: set[Hashable] = set()

    @contextmanager
    def holding(self, key: Hashable) -> Iterator[None]:
        """Hold the lock of a key: only callers with the same key wait."""
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
    """An object with locks or threads of this process, which must be renewed in a forked one."""

    def renew(self) -> None:
        """Replace locks and threads: their holders are not there to release them or to report an end."""


_renewed: weakref.WeakSet[Renewed] = weakref.WeakSet()


def renew_in_child(one: Renewed) -> None:
    """Renew an object in forked processes, for as long as it lives."""
    _renewed.add(one)


# Modules that another thread was importing when this process was forked.
_lost_imports: set[str] = set()


@contextmanager
def importing() -> Iterator[None]:
    """Import libraries in the block; a fork waits for it.

    Raises:
        ForkedProcessError: Another thread, of any program, was importing one of them when this process was forked.
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
    _leave_connections_of_others()


def _end_lost_imports() -> None:
    """Turn imports that other threads had begun into an ImportError; they would wait for those threads for ever."""
    own = set(_own_imports())
    for name, module in list(sys.modules.items()):
        if name not in own and getattr(getattr(module, "__spec__", None), "_initializing", False):
            _lost_imports.add(name)
            sys.modules[name] = None  # type: ignore[assignment]  # Python's own mark for "can't be imported"


def _own_imports() -> Iterator[str]:
    """Return the modules that this thread is importing, which it will finish."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "_find_and_load" and "importlib" in frame.f_code.co_filename:
            yield str(frame.f_locals.get("name"))
        frame = frame.f_back


def _free_locks_of_others() -> None:
    """Make new locks for tqdm and the hub's client, which a thread that drew a bar or connected may have held."""
    bars = getattr(sys.modules.get("tqdm.std"), "TqdmDefaultWriteLock", None)
    locks = [getattr(bars, "th_lock", None)]
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "huggingface_hub" and module is not None:  # None: a lost import
            locks += [value for value in list(vars(module).values()) if isinstance(value, _LOCKS)]
    for lock in locks:
        renew = getattr(lock, "_at_fork_reinit", None)  # in place, like Python's own locks, for all that refer to it
        if renew is not None:
            renew()


_LOCKS = (type(threading.Lock()), type(threading.RLock()))


def _leave_connections_of_others() -> None:
    """Let the hub's client connect anew.

    Behind a fork it closes its connections, for which it takes their locks, and a thread that was downloading may have
    held those. Connections are the parent's, too: closed here, an encrypted one would end there.
    """
    client = sys.modules.get("huggingface_hub.utils._http")
    if getattr(client, "_GLOBAL_CLIENT", None) is not None:
        _left.append(client._GLOBAL_CLIENT)  # type: ignore[union-attr]
        client._GLOBAL_CLIENT = None  # type: ignore[union-attr]


# What must not be closed here by being forgotten.
_left: list[object] = []

if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    # Functions registered last are called first. Logging and thread pools take their locks before a fork, and the work
    # that a fork waits for here may need them: so they are imported, and have registered, first.
    os.register_at_fork(
        before=while_not_forking.hold, after_in_parent=while_not_forking.go_on, after_in_child=_in_child
    )
