"""The bar on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import length_hint


@contextmanager
def progress_bar(
    items: Iterable[object], *, shown: bool, unit: str, title: str
) -> Iterator[Callable[[int], object] | None]:
    """Yield a function to call with the number of items done, or None if no bar is wanted."""
    if not shown:
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=length_hint(items) or None, unit=unit, desc=title) as bar:
        yield bar.update
