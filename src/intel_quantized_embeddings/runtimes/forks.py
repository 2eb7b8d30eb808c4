"""A process is forked between batches, never in the middle of one.

What forks gets a copy of every lock as it is at that moment. One that a runtime's thread holds is held there for ever:
the thread did not come along.
"""

from __future__ import annotations

import os
import threading

# A fork goes on after this long in any case: better a child that may hang than a parent that does.
_LONGEST_WAIT_SECONDS = 10.0


class _Batches:
    """Counts the batches at work: `with between_forks:` around each."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """In a forked process: none is at work."""
        self._changed = threading.Condition()
        self._at_work = 0
        self._forking = False

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._forking)
            self._at_work += 1

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._at_work -= 1
            self._changed.notify_all()

    def hold(self) -> None:
        """Before a fork: wait for those at work, and let none begin."""
        with self._changed:
            self._changed.wait_for(lambda: not self._forking, timeout=_LONGEST_WAIT_SECONDS)
            self._forking = True
            self._changed.wait_for(lambda: not self._at_work, timeout=_LONGEST_WAIT_SECONDS)

    def go_on(self) -> None:
        """After a fork, in the process that forked."""
        with self._changed:
            self._forking = False
            self._changed.notify_all()


between_forks = _Batches()

if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(
        before=between_forks.hold, after_in_parent=between_forks.go_on, after_in_child=between_forks.renew
    )
