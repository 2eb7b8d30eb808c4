"""How vectors are compared, against the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.similarity import Similarity

DEFINED = {
    "cosine": lambda a, b: a @ b / (np.linalg.norm(a) * np.linalg.norm(b)),
    "dot": lambda a, b: a @ b,
    "euclidean": lambda a, b: -np.sqrt(((a - b) ** 2).sum()),
    "manhattan": lambda a, b: -np.abs(a - b).sum(),
}


@pytest.fixture
def vectors():
    random = np.random.default_rng(0)
    lengths = random.uniform(0.1, 10, (12, 1))
    return (random.normal(size=(12, 16)) * lengths).astype(np.float32)


def test_there_is_a_definition_of_each():
    assert {one.value for one in Similarity} == DEFINED.keys()


@pytest.mark.parametrize("name", DEFINED)
def test_every_form_agrees_with_the_definition(vectors, name):
    similarity, one, other = Similarity.parse(name), vectors[:5], vectors[5:]
    expected = [[DEFINED[name](a, b) for b in other.astype(np.float64)] for a in one.astype(np.float64)]
    matrix = similarity.matrix(one, other)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(similarity.pairwise(one, other[:5]), np.diag(matrix[:, :5]), rtol=1e-5, atol=1e-5)
    for query, row in zip(one, matrix, strict=True):
        np.testing.assert_allclose(similarity.to_documents(query, other), row, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", DEFINED)
def test_a_documents_score_does_not_depend_on_its_company(vectors, name):
    similarity = Similarity(name)
    together = similarity.to_documents(vectors[0], vectors)
    alone = [similarity.to_documents(vectors[0], vectors[row : row + 1])[0] for row in range(len(vectors))]
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("name", DEFINED)
def test_of_no_vectors_there_are_no_similarities(vectors, name):
    similarity, none = Similarity(name), np.empty((0, 16), np.float32)
    assert similarity.matrix(vectors, none).shape == (12, 0)
    assert similarity.matrix(none, vectors).shape == (0, 12)
    assert similarity.pairwise(none, none).shape == similarity.to_documents(vectors[0], none).shape == (0,)


@pytest.mark.parametrize("name", ["maxsim", "dot_product", "COSINE", None, 5])
def test_an_unknown_one_is_refused(name):
    with pytest.raises(OptionError, match="it is one of 'cosine', 'dot', 'euclidean', 'manhattan'"):
        Similarity.parse(name)
