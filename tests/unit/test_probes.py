"""The probes of a quantized folder: which inputs, and when they are worse than they were."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings.files.field_types import made_of
from intel_quantized_embeddings.int8_folder.probes import LONGEST, Probe, choose, compare, rows_of

lengths = st.lists(st.integers(min_value=1, max_value=3 * LONGEST), min_size=1, max_size=40)


def _probes(fp32, int8) -> tuple[Probe, ...]:
    return tuple(Probe.of([2, 5, 3], fp32=one, int8=other) for one, other in zip(fp32, int8, strict=True))


def _off(rows, size, seed=0):
    noise = np.random.default_rng(seed).normal(0, 1, rows.shape)
    return (rows + size * noise).astype(np.float32)


@pytest.fixture
def fp32():
    return np.random.default_rng(7).normal(0, 1, (4, 96)).astype(np.float32)


@given(lengths, st.integers(min_value=1, max_value=8))
def test_as_many_short_ones_as_asked_are_chosen_each_once(lengths, count):
    chosen = choose([[1] * length for length in lengths], count=count)
    assert len(chosen) == len(set(chosen)) == min(count, sum(length <= LONGEST for length in lengths))
    assert all(lengths[place] <= LONGEST for place in chosen)


def test_rows_come_back_to_the_bit(fp32):
    int8 = _off(fp32, 0.01)
    for rows, back in zip((fp32, int8), rows_of(_probes(fp32, int8)), strict=True):
        assert np.array_equal(rows, back)


def test_the_same_rows_as_where_it_was_made_are_not_worse(fp32):
    int8 = _off(fp32, 0.05)
    result = compare(_probes(fp32, int8), int8)
    assert not result.worse
    assert (result.here, result.moved) == (result.made, 0)


def test_vectors_that_lose_half_as_much_again_are_worse_and_rounding_is_not(fp32):
    probes = _probes(fp32, _off(fp32, 0.08))
    assert compare(probes, _off(fp32, 0.1, seed=1)).worse
    assert not compare(probes, _off(fp32, 0.081, seed=1)).worse
    assert not compare(probes, fp32).worse


def test_tiny_losses_are_not_worse_however_much_they_grow(fp32):
    assert not compare(_probes(fp32, _off(fp32, 0.0001)), _off(fp32, 0.01)).worse


def test_scores_are_judged_by_their_differences():
    fp32 = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
    probes = _probes(fp32, fp32 + np.float32(0.02))
    saturated = compare(probes, fp32 + np.float32(0.5))
    assert saturated.worse
    assert saturated.measure == "mean difference"
    assert saturated.here == pytest.approx(0.5 / fp32.std(), rel=1e-4)
    assert not compare(probes, fp32 - np.float32(0.025)).worse


def test_scores_are_seen_beside_the_spread_of_many(fp32):
    probes = _probes(fp32[:, :1], fp32[:, :1] + np.float32(0.02))
    result = compare(probes, fp32[:, :1] + np.float32(0.5), spread=10.0)
    assert (result.made, result.here) == (pytest.approx(0.002, abs=1e-5), pytest.approx(0.05, abs=1e-5))


def test_what_a_manifest_holds_is_read_back(fp32):
    (probe, *_) = _probes(fp32, fp32)
    content = dataclasses.asdict(probe)
    assert made_of(Probe, {**content, "token_ids": list(content["token_ids"])}) == probe
    for wrong in ({"token_ids": [1.5]}, {"token_ids": [True]}, {"fp32": 3}, {"int8": None}):
        with pytest.raises(TypeError):
            made_of(Probe, {**content, **wrong})


@pytest.mark.parametrize("row", ["", "!!!!", "AAA=", "AADAfw=="])  # nothing, no base64, half a number, NaN
def test_a_row_that_holds_no_numbers_is_refused(fp32, row):
    (probe, *_) = _probes(fp32[:, :1], fp32[:, :1])
    with pytest.raises(ValueError, match=r"row|buffer"):
        rows_of([dataclasses.replace(probe, int8=row)])
