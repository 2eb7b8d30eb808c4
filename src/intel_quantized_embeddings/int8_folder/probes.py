"""Probes of a quantized folder: a few inputs with the rows that fp32 and int8 gave for them where it was made.

Loading the folder runs them again, because int8 sums are not exact on every CPU (`runtimes/int8_products.py`): if the
rows differ from fp32's by clearly more than they did, the folder is less faithful here than its manifest says.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.int8_folder.fidelity import row_cosines

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Number of probes, and their longest in tokens: some 10 ms of MiniLM. A score is one number and a vector hundreds, so a
# cross-encoder has more probes.
COUNT_OF_VECTORS = 4
COUNT_OF_SCORES = 8
LONGEST = 64

# A quarter more loss than where the folder was made. With weights of 7 bits the loss of real models did not change in
# its fourth digit between kinds of CPU; 8 bits that saturate lost half as much again and more (docs/quantization.md).
# Below these floors losses are too small to matter.
_FACTOR = 1.25
_FLOOR_OF_VECTORS = 0.0003
_FLOOR_OF_SCORES = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One input, and its row in two precisions: a vector, or a score before any activation.

    Attributes:
        token_ids: The model's input.
        fp32: The fp32 model's row: float32, little-endian, in base64.
        int8: The row of the folder's own graph where it was made, in the same form.
    """

    token_ids: tuple[int, ...]
    fp32: str
    int8: str

    @staticmethod
    def of(token_ids: Sequence[int], *, fp32: NDArray[np.float32], int8: NDArray[np.float32]) -> Probe:
        """Make a probe. Shape of both rows: (dimension,)."""
        return Probe(token_ids=tuple(map(int, token_ids)), fp32=_encoded(fp32), int8=_encoded(int8))

    def rows(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the rows of fp32 and of int8; what is not base64 of finite numbers is a ValueError."""
        return _decoded(self.fp32), _decoded(self.int8)


# A vocabulary's size at most.
_WIDEST = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseProbe(Probe):
    """A probe of sparse rows, which keeps their numbers at the places where either has one.

    Attributes:
        places: Those places, in order.
        width: Numbers in a row, zeros included.
    """

    places: tuple[int, ...]
    width: int

    @staticmethod
    def of(token_ids: Sequence[int], *, fp32: NDArray[np.float32], int8: NDArray[np.float32]) -> SparseProbe:
        """Make a probe of rows with their zeros. Shape of both: (vocabulary,)."""
        places = np.flatnonzero((fp32 != 0) | (int8 != 0))
        return SparseProbe(
            token_ids=tuple(map(int, token_ids)),
            fp32=_encoded(fp32[places]),
            int8=_encoded(int8[places]),
            places=tuple(places.tolist()),
            width=len(fp32),
        )

    def rows(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return both rows with their zeros; impossible places are a ValueError too."""
        in_order = all(one < other for one, other in zip(self.places, self.places[1:], strict=False))
        ends_right = not self.places or (self.places[0] >= 0 and self.places[-1] < self.width)
        if not 1 <= self.width <= _WIDEST or not in_order or not ends_right:
            raise ValueError(f"a probe has impossible places for rows of {self.width} numbers")
        both = []
        for text in (self.fp32, self.int8):
            numbers = _decoded(text, may_be_empty=True)
            if len(numbers) != len(self.places):
                raise ValueError(f"a probe has {len(self.places)} places and {len(numbers)} numbers")
            row = np.zeros(self.width, dtype=np.float32)
            row[list(self.places)] = numbers
            both.append(row)
        return both[0], both[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The distance of int8 rows from fp32's: where the folder was made, and here.

    Attributes:
        measure: "mean cosine" of vectors, or "mean difference" of scores, in standard deviations of fp32's.
        made: The figure where the folder was made.
        here: The figure on this machine.
        worse: Whether the folder loses clearly more here.
        moved: The largest absolute difference between a number of the rows here and the same where it was made.
        count: Number of probes.
    """

    measure: str
    made: float
    here: float
    worse: bool
    moved: float
    count: int

    def __str__(self) -> str:
        return (
            f"{self.measure} to fp32 {self.here:.4f} here, {self.made:.4f} where it was made, over {self.count} probes"
        )


def choose(token_ids: Sequence[Sequence[int]], *, count: int) -> list[int]:
    """Return the places of inputs to probe with: of every length up to `LONGEST` tokens; as many as are short."""
    by_length = sorted(range(len(token_ids)), key=lambda place: len(token_ids[place]))
    short = [place for place in by_length if len(token_ids[place]) <= LONGEST]
    return [short[round(float(step))] for step in np.linspace(0, len(short) - 1, min(count, len(short)))]


def rows_of(probes: Sequence[Probe]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the rows of fp32 and of int8; anything but base64 of finite numbers is a ValueError.

    Shape: (probes, dimension).
    """
    fp32, int8 = (np.stack(rows) for rows in zip(*(probe.rows() for probe in probes), strict=True))
    if fp32.shape != int8.shape:
        raise ValueError(f"probes have rows of {fp32.shape[1]} and {int8.shape[1]} numbers")
    return fp32, int8


def compare(probes: Sequence[Probe], here: NDArray[np.float32], *, spread: float | None = None) -> ProbeResult:
    """Compare the rows that this machine gives, (probes, dimension), with those of the manifest.

    `spread` is the standard deviation of fp32's scores over many pairs; None takes that of the probes.
    """
    fp32, int8 = rows_of(probes)
    if fp32.shape[1] > 1:
        measure, floor = "mean cosine", _FLOOR_OF_VECTORS
        made, now = (float(row_cosines(fp32, rows).mean()) for rows in (int8, here))
        lost, loses = 1 - made, 1 - now
    else:
        measure, floor = "mean difference", _FLOOR_OF_SCORES
        unit = max(float(fp32.std()) if spread is None else spread, 1e-6)
        made, now = (float(np.abs(rows - fp32).mean()) / unit for rows in (int8, here))
        lost, loses = made, now
    return ProbeResult(
        measure=measure,
        made=round(made, 6),
        here=round(now, 6),
        worse=loses > _FACTOR * lost + floor,
        moved=float(np.abs(here - int8).max()),
        count=len(probes),
    )


def _encoded(row: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(row, dtype="<f4").tobytes()).decode("ascii")


def _decoded(row: str, *, may_be_empty: bool = False) -> NDArray[np.float32]:
    try:
        numbers = np.frombuffer(base64.b64decode(row, validate=True), dtype="<f4")
    except binascii.Error as exc:
        raise ValueError(f"a probe's row is not base64: {exc}") from exc
    if (not len(numbers) and not may_be_empty) or not np.isfinite(numbers).all():
        raise ValueError("a probe's row holds no numbers, or some that are not finite")
    return numbers.astype(np.float32)
