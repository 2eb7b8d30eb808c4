"""The progress of the benchmark: a bar on a terminal, a line for each part elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Reports on stderr what is being done."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream

    def say(self, line: str) -> None:
        """Write a line."""
        self._stream.write(f"{line}\n")
        self._stream.flush()

    @contextmanager
    def part(self, name: str, *, total: int) -> Iterator[Callable[[str], object]]:
        """Yield a function to call, with a step's name, after each of `total` steps."""
        if not self._stream.isatty():
            self.say(f"{name} ...")
            yield lambda _: None
            return
        from tqdm import tqdm

        with tqdm(total=total, desc=f"{name:10s}", file=self._stream, leave=True, dynamic_ncols=True) as bar:

            def advance(done: str) -> None:
                bar.set_postfix_str(done, refresh=False)
                bar.update()

            yield advance
            bar.set_postfix_str("")
