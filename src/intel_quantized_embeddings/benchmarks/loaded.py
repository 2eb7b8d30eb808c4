"""What a system is asked to load, and what it is once it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The model that every system is asked to load.

    Attributes:
        name: The fp32 model as the user named it; `revision` and `cache_folder` are those of `Encoder.load`.
        model: Its folder.
        int8: A folder that `iqe quantize` wrote, for systems of its runtime; None to have one made on first use.
        kept: Where files made for other libraries are kept, a folder of this model's own.
        pooling: "cls", "mean" or "last", as the model's folder says.
        normalize: Whether vectors have length 1.
        max_length: Longest input in tokens; longer texts are cut.
        own_length: What the model's folder says of that, which calibration keeps to.
    """

    name: str
    revision: str | None
    cache_folder: str | None
    model: Path
    int8: Path | None
    kept: Path
    pooling: str
    normalize: bool
    dimension: int
    max_length: int
    own_length: int
    num_threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSystem:
    """A system ready to be measured."""

    encode: Callable[[list[str], int], NDArray[np.float32]]  # texts, and how many in a batch where the library asks
    embed_query: Callable[[str], Any]  # as a user's program would
    given: dict[str, str]  # what it was given, for the record


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a `Worker` does, told to its process by pickling: `load` makes a system ready, `prepare` its files before.

    `log` is where it and its libraries write, and it is held to `num_threads` cores.
    """

    load: Callable[[], LoadedSystem]
    log: Path
    num_threads: int
    prepare: Callable[[], object] | None = None
