"""Pure functions on vectors: unit length, smaller types to store, and their cosines."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.options import Choice

if TYPE_CHECKING:
    from numpy.typing import NDArray


logger = logging.getLogger(__name__)


class VectorType(Choice, option="vector_type"):
    """The type that a vector is stored in.

    FLOAT32: 4 bytes a number. INT8: one byte a number, see `to_int8`. BINARY: one bit a number, see `to_binary`.
    """

    FLOAT32 = "float32"
    INT8 = "int8"
    BINARY = "binary"

    def of(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        """Turn float32 vectors into this type. Shape: as `to_int8` and `to_binary` say."""
        if self is VectorType.INT8:
            return to_int8(vectors)
        return to_binary(vectors) if self is VectorType.BINARY else vectors

    def listed(self, vectors: NDArray[np.float32], *, lengths_matter: bool = False) -> list[list[float]]:
        """Return vectors in this type as frameworks take them: lists of floats, or of ints if not FLOAT32.

        Args:
            vectors: Shape: (n_texts, dimension).
            lengths_matter: Whether vectors are compared by their lengths too (`ModelSettings.lengths_matter`); a
                warning is logged once where this type loses them.
        """
        if lengths_matter and self is not VectorType.FLOAT32:
            _warn_of_lost_lengths(self.value)
        numbers: list[list[float]] = self.of(vectors).tolist()
        return numbers


@functools.cache
def _warn_of_lost_lengths(kind: str) -> None:
    logger.warning(
        "vector_type=%r keeps the direction of vectors and not their length, and this model's are compared by it (dot "
        "product or distance): what is found is in the order of cosines. vector_type='float32' keeps it",
        kind,
    )


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Divide vectors by their lengths; zeros stay zeros. Shape: as given, (..., dimension)."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    divided: NDArray[np.float32] = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32, copy=False)
    return divided


def truncated(vectors: NDArray[np.float32], dimension: int, *, normalize: bool) -> NDArray[np.float32]:
    """Keep the first numbers of each vector (Kusupati et al. 2022, Matryoshka Representation Learning).

    Args:
        vectors: Shape: (n_texts, at least `dimension`).
        dimension: How many numbers to keep.
        normalize: Whether to make the vectors of length 1 again.

    Returns:
        Shape: (n_texts, dimension).
    """
    kept = vectors[:, :dimension]
    return unit(kept) if normalize else kept


def to_int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Round vectors to integers from -127 to 127, each vector by its own largest.

    A vector's length is lost and its direction kept: compare by cosine, not by inner product. The range
    is the vector's own, so a text has the same numbers in any call, unlike with ranges taken from a sample.

    Args:
        vectors: Shape: (..., dimension).

    Returns:
        The same shape. Zeros stay zeros.

    Raises:
        OptionError: They are not finite numbers.
    """
    vectors = _finite(vectors)
    largest = np.abs(vectors).max(axis=-1, keepdims=True, initial=0)
    steps = 127 / np.where(largest == 0, 1, largest).astype(np.float64)
    rounded: NDArray[np.int8] = np.rint(vectors * steps).astype(np.int8)
    return rounded


def to_binary(vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Keep a bit of each number, 1 where it is above zero, eight to a byte, the first in the highest bit.

    Hamming distances between such vectors order roughly as cosines between the vectors do; score the best again
    (`cosines`). The same bytes as "ubinary" of sentence-transformers.

    Args:
        vectors: Shape: (..., dimension).

    Returns:
        Shape: (..., ceil(dimension / 8)); bits beyond the dimension are 0.

    Raises:
        OptionError: They are not finite numbers.
    """
    return np.packbits(_finite(vectors) > 0, axis=-1)


def _finite(vectors: Any) -> NDArray[Any]:
    """Return vectors, also lists as frameworks keep them, as an array of finite numbers."""
    try:
        array = np.asarray(vectors)
    except ValueError as exc:  # of different lengths
        raise OptionError(f"the vectors are no array: {exc}. Vectors of one length are expected.") from exc
    if array.ndim == 0 or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise OptionError(
            f"the vectors have shape {array.shape} and type {array.dtype}, and not finite numbers alone, which are "
            f"expected."
        )
    return array


def cosines(query: NDArray[np.float32], documents: NDArray[Any]) -> NDArray[np.float32]:
    """Return the cosines of a query with documents of any type, to rescore the results of an index of small vectors.

    The query stays in float32 whatever the type of the documents: asymmetric distances, as Jégou, Douze and Schmid
    (2011, Product Quantization for Nearest Neighbor Search) call them. A bit counts as 1 or -1.

    Args:
        query: Shape: (dimension,), float32.
        documents: Shape: (n_documents, dimension), float32 or int8; or (n_documents, ceil(dimension / 8)), uint8, as
            `to_binary` gives them.

    Returns:
        Shape: (n_documents,).

    Raises:
        OptionError: The shapes don't fit, or the query is not of floating point.
    """
    query = np.asarray(query)
    rows = np.asarray(documents)
    if query.ndim != 1 or query.dtype.kind != "f":
        raise OptionError(
            f"query has shape {query.shape} and type {query.dtype}; one float32 vector is expected, as "
            f"encode_queries([text])[0] gives it."
        )
    width = -(-len(query) // 8) if rows.dtype == np.uint8 else len(query)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise OptionError(
            f"documents have shape {rows.shape} and type {rows.dtype}; for a query of {len(query)} numbers "
            f"(n_documents, {width}) is expected."
        )
    if rows.dtype == np.uint8:
        rows = np.unpackbits(rows, axis=1, count=len(query)).astype(np.float32) * 2 - 1
    rows = rows.astype(np.float32, copy=False)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
    # One product for each document: a matrix product rounds differently for other numbers of rows.
    products = np.array([row @ query for row in rows], dtype=np.float32)
    found: NDArray[np.float32] = products / np.maximum(lengths, np.float32(1e-12))
    return found
