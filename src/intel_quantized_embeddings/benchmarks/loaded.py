"""The request to load a system, and the loaded system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The model that every system is asked to load.

    Attributes:
        name: The fp32 model as the user named it; `revision` and `cache_folder` are those of `Encoder.load`.
        model: Its folder.
        int8: A folder that `iqe quantize` wrote, for systems of its runtime; None to have one made on first use.
        kept: This model's folder for files made for other libraries.
        pooling: The pooling of the model's folder: "cls", "mean" or "last".
        normalize: Whether vectors have length 1.
        max_length: Longest input in tokens; longer texts are cut.
        own_length: The model's own longest input, which calibration uses.
        sparse: Whether its vectors are sparse.
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
    sparse: bool = False


def as_array(vectors: Any) -> NDArray[np.float32]:
    """Return vectors, of `encode` or a list of those of `embed_query`, as an array. Shape: (n_texts, dimension)."""
    return np.asarray(vectors, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSystem:
    """A system ready to be measured."""

    encode: Callable[[list[str], int], Any]  # texts, and the number in a batch, if the library asks
    embed_query: Callable[[str], Any]  # as in a user's program
    given: dict[str, str]  # its options, for the record
    rows: Callable[[Any], Any] = as_array  # makes rows of what either of them gave, as `as_array`


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The job of a `Worker`, pickled for its process: `load` makes a system ready, `prepare` its files before.

    The process and its libraries write to `log`, and it is held to `num_threads` cores.
    """

    load: Callable[[], LoadedSystem]
    log: Path
    num_threads: int
    prepare: Callable[[], object] | None = None
