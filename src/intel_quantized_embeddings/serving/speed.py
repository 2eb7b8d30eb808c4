"""The recent speed of an encoder in tokens a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Half of the measured speed comes from the last seconds of this number, so that changes show soon.
_HALF_LIFE_SECONDS = 5.0


class Speed:
    """Tokens a second over the last calls; time counts once while several run, and not at all while none does.

    Args:
        now: The clock.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._running = 0
        self._counted_to = 0.0
        self._tokens = self._seconds = 0.0

    @property
    def tokens_per_second(self) -> float:
        """The speed; 0 before the first call has ended."""
        return self._tokens / max(self._seconds, 1e-9)

    @contextmanager
    def of(self, tokens: int) -> Iterator[None]:
        """Time a call with a number of tokens, from any thread; a failing call counts too."""
        with self._lock:
            if not self._running:
                self._counted_to = self._now()
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                now = self._now()
                seconds, self._counted_to = now - self._counted_to, now
                kept = 0.5 ** (seconds / _HALF_LIFE_SECONDS)
                self._tokens = self._tokens * kept + tokens
                self._seconds = self._seconds * kept + seconds
