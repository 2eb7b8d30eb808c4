"""Tables of rotary positions: what the library's sine gives, computed with sums and products alone."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from intel_quantized_embeddings.architectures.description import Rotary
from intel_quantized_embeddings.architectures.rotary import inverse_frequencies, rotary_tables


@settings(max_examples=30, deadline=None)
@given(theta=st.floats(10, 1e7), size=st.sampled_from([2, 6, 16, 64, 128, 256]), ntk=st.sampled_from([1.0, 2.0, 8.0]))
def test_tables_are_the_cosines_and_sines_of_rounded_angles(theta, size, ntk):
    frequencies = inverse_frequencies(Rotary(theta, ntk=ntk), size)
    assert frequencies.shape == (size // 2,)
    assert frequencies.dtype == np.float32
    exact = [(theta * ntk) ** (-2 * i / size) / ntk ** (2 / size) for i in range(size // 2)]
    np.testing.assert_allclose(frequencies, exact, rtol=2e-6)  # exponents are rounded to float32
    positions = 400
    angles = (np.arange(positions, dtype=np.float32)[:, None] * frequencies).astype(np.float64)
    cosines, sines = rotary_tables(frequencies, positions)
    # Half a unit in the last place of float32, and a little.
    np.testing.assert_allclose(cosines, np.cos(angles), rtol=0, atol=3.1e-8)
    np.testing.assert_allclose(sines, np.sin(angles), rtol=0, atol=3.1e-8)


def test_large_angles_are_reduced_without_loss():
    """The last positions of the longest model: its first angle is the position itself."""
    last = 131_072
    cosines, sines = rotary_tables(np.float32([1, 0.7]), last)
    for position in (last - 1, last - 2, 65_537, 12_345):
        for column, frequency in enumerate((1.0, float(np.float32(0.7)))):
            angle = float(np.float32(np.float32(position) * np.float32(frequency)))
            assert abs(float(cosines[position, column]) - math.cos(angle)) < 3.1e-8
            assert abs(float(sines[position, column]) - math.sin(angle)) < 3.1e-8


def test_the_first_position_is_not_turned():
    cosines, sines = rotary_tables(inverse_frequencies(Rotary(1e4), 64), 1)
    assert (cosines == 1).all()
    assert (sines == 0).all()
