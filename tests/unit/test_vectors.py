"""Smaller vectors keep the order that cosines give, as far as each type promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.vectors import VectorType, cosines, to_binary, to_int8, unit

FINITE = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
ROWS = arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 40)), elements=FINITE)


def random_unit(rows: int, dimension: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32))


class TestUnit:
    @given(ROWS)
    def test_vectors_have_length_one_or_are_zero(self, vectors):
        lengths = np.linalg.norm(unit(vectors).astype(np.float64), axis=1)
        assert unit(vectors).dtype == np.float32
        long_enough = np.linalg.norm(vectors.astype(np.float64), axis=1) > 1e-11
        np.testing.assert_allclose(lengths[long_enough], 1, atol=1e-5)
        assert np.array_equal(unit(np.zeros((2, 3), np.float32)), np.zeros((2, 3)))

    def test_a_vector_does_not_depend_on_the_others(self):
        vectors = random_unit(50, 99) * 3
        assert np.array_equal(unit(vectors)[7], unit(vectors[7:8])[0])
        assert np.array_equal(unit(vectors)[7], unit(vectors[7]))


class TestInt8:
    @given(ROWS)
    def test_each_number_is_within_half_a_step_and_the_largest_is_127(self, vectors):
        small = to_int8(vectors)
        assert (small.shape, small.dtype) == (vectors.shape, np.int8)
        for row, numbers in zip(vectors.astype(np.float64), small.astype(int), strict=True):
            step = np.abs(row).max() / 127
            assert np.abs(numbers).max() == (127 if step else 0)
            assert (np.abs(numbers * step - row) <= step * 0.5001).all()

    def test_keeps_the_direction(self):
        vectors = random_unit(100, 384)
        kept = [cosines(vector, to_int8(vector)[np.newaxis])[0] for vector in vectors]
        assert min(kept) > 0.9999

    def test_loses_the_length_and_depends_on_nothing_else(self):
        vectors = random_unit(20, 33)
        assert np.array_equal(to_int8(vectors), to_int8(vectors * 4))
        assert np.array_equal(to_int8(vectors)[3], to_int8(vectors[3]))


class TestBinary:
    @given(ROWS)
    def test_a_bit_says_whether_the_number_is_above_zero(self, vectors):
        bits = to_binary(vectors)
        assert (bits.shape, bits.dtype) == ((len(vectors), -(-vectors.shape[1] // 8)), np.uint8)
        unpacked = np.unpackbits(bits, axis=1)
        assert np.array_equal(unpacked[:, : vectors.shape[1]], vectors > 0)
        assert not unpacked[:, vectors.shape[1] :].any()

    def test_near_vectors_have_near_bits(self):
        one, other = random_unit(2, 384)
        near = unit(one + other / 10)
        distance = [int(np.unpackbits(to_binary(one) ^ to_binary(vector)).sum()) for vector in (near, other)]
        assert distance[0] < distance[1] / 3


class TestCosines:
    @pytest.mark.parametrize("dimension", [8, 33, 384])
    def test_are_those_of_what_is_stored(self, dimension):
        query, *documents = random_unit(12, dimension)
        documents = np.array(documents) * 2
        small, signs = to_int8(documents), np.where(documents > 0, 1, -1)
        for stored, plain in ((documents, documents), (small, small), (to_binary(documents), signs)):
            expected = plain @ query / np.linalg.norm(plain, axis=1)
            np.testing.assert_allclose(cosines(query, stored), expected, atol=1e-5)

    @given(st.integers(1, 64), st.integers(0, 2**32 - 1))
    def test_put_the_vector_itself_first(self, dimension, seed):
        documents = random_unit(20, dimension, seed)
        for kind in (VectorType.FLOAT32, VectorType.INT8):
            found = cosines(documents[4], kind.of(documents))
            assert found[4] >= found.max() - 1e-2

    def test_of_nothing_are_zero_or_none(self):
        query = random_unit(1, 16)[0]
        assert cosines(query, np.zeros((1, 16), np.int8)).tolist() == [0.0]
        assert cosines(query, np.zeros((0, 2), np.uint8)).shape == (0,)

    @pytest.mark.parametrize(
        ("query", "documents", "told"),
        [
            (np.zeros((1, 16), np.float32), np.zeros((2, 16), np.int8), r"query has shape \(1, 16\)"),
            (np.zeros(16, np.int8), np.zeros((2, 16), np.int8), "type int8; one float32 vector"),
            (np.zeros(16, np.float32), np.zeros((2, 15), np.int8), r"\(n_documents, 16\) is expected"),
            (np.zeros(20, np.float32), np.zeros((2, 20), np.uint8), r"\(n_documents, 3\) is expected"),
            (np.zeros(16, np.float32), np.zeros(16, np.float32), r"documents have shape \(16,\)"),
        ],
    )
    def test_of_what_does_not_fit_are_refused(self, query, documents, told):
        with pytest.raises(OptionError, match=told):
            cosines(query, documents)


class TestVectorType:
    def test_is_known_by_name(self):
        vectors = random_unit(3, 16)
        assert VectorType.parse("float32").of(vectors) is vectors
        assert np.array_equal(VectorType.parse("int8").of(vectors), to_int8(vectors))
        assert np.array_equal(VectorType.parse("binary").of(vectors), to_binary(vectors))
        with pytest.raises(OptionError, match="'float32', 'int8', 'binary'"):
            VectorType.parse("uint8")

    def test_gives_frameworks_pythons_numbers(self):
        vectors = random_unit(2, 16)
        types = {kind: {type(n) for row in kind.listed(vectors) for n in row} for kind in VectorType}
        assert types == {VectorType.FLOAT32: {float}, VectorType.INT8: {int}, VectorType.BINARY: {int}}


@pytest.mark.parametrize("smaller", [to_int8, to_binary])
def test_vectors_may_be_lists_as_frameworks_keep_them(smaller):
    vectors = np.array([[0.5, -1.0, 0.25], [0.0, 0.5, -0.5]], dtype=np.float32)
    assert np.array_equal(smaller(vectors.tolist()), smaller(vectors))
    assert np.array_equal(smaller(vectors[0].tolist()), smaller(vectors[0]))


@pytest.mark.parametrize("smaller", [to_int8, to_binary])
@pytest.mark.parametrize(
    "wrong", [None, "x", 1.0, [[1.0], [1.0, 2.0]], [[float("nan")]], [[1.0, float("inf")]]], ids=str
)
def test_what_are_no_finite_vectors_is_refused(smaller, wrong):
    with pytest.raises(OptionError, match="vectors"):
        smaller(wrong)
