"""The similarities that models are trained for: functions of vectors, the higher the more alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.options import Choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Similarity(Choice, option="similarity_fn_name"):
    """The functions of sentence-transformers, by their names there (`similarity_fn_name`).

    COSINE and DOT are products, EUCLIDEAN and MANHATTAN distances with a minus before them. Between vectors of length 1
    all but MANHATTAN give the same order.
    """

    COSINE = "cosine"
    DOT = "dot"
    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"

    def matrix(self, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float32]:
        """Compare every vector of one, (n, dimension), with every one of the other, (m, dimension). Shape: (n, m)."""
        import numpy as np

        if self is Similarity.COSINE:
            one, other = _unit(one), _unit(other)
        if self in (Similarity.COSINE, Similarity.DOT):
            products: NDArray[np.float32] = (one @ other.T).astype(np.float32, copy=False)
            return products
        # Row by row: all differences at once would take `dimension` times the memory of the result.
        found = np.empty((len(one), len(other)), dtype=np.float32)
        for row, vector in enumerate(one):
            found[row] = self._minus_length(other - vector)
        return found

    def pairwise(self, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float32]:
        """Compare each vector with the other at the same place. Shapes: (n, dimension), the result's (n,)."""
        import numpy as np

        if self is Similarity.COSINE:
            one, other = _unit(one), _unit(other)
        if self in (Similarity.COSINE, Similarity.DOT):
            products: NDArray[np.float32] = np.einsum("nd,nd->n", one, other).astype(np.float32, copy=False)
            return products
        return self._minus_length(one - other)

    def to_documents(self, query: NDArray[np.float32], documents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compare a query, (dimension,), with documents, (n_documents, dimension). Shape: (n_documents,).

        Each document is compared by itself, so that its result does not depend on the others: a matrix product rounds
        differently for other numbers of rows.
        """
        import numpy as np

        from intel_quantized_embeddings.vectors import cosines

        if self is Similarity.COSINE:
            return cosines(query, documents)
        if self is Similarity.DOT:
            return np.array([row @ query for row in documents], dtype=np.float32)
        return self._minus_length(documents - query)

    def _minus_length(self, differences: NDArray[Any]) -> NDArray[np.float32]:
        import numpy as np

        order = 1 if self is Similarity.MANHATTAN else 2
        lengths: NDArray[np.float32] = np.linalg.norm(differences, ord=order, axis=-1).astype(np.float32, copy=False)
        return -lengths


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    from intel_quantized_embeddings.vectors import unit

    return unit(vectors)
