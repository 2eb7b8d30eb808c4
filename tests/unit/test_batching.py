"""The batch plan: every index once, the budget held, shapes from a small grid."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings.encoding.batching import (
    LONG,
    SHORT,
    SHORT_STEP,
    STEP,
    padded_length,
    plan_batches,
    planned_shapes,
    single_text_shapes,
)

MAX_LENGTH = 512
lengths = st.lists(st.integers(min_value=0, max_value=MAX_LENGTH), max_size=300)
budgets = st.integers(min_value=1, max_value=5000)


@given(lengths, budgets)
def test_every_index_is_in_exactly_one_batch(lengths, budget):
    batches = plan_batches(lengths, max_length=MAX_LENGTH, token_budget=budget)
    assert sorted(index for batch in batches for index in batch.indices) == list(range(len(lengths)))


@given(lengths, budgets)
def test_a_batch_holds_its_budget_unless_one_text_alone_exceeds_it(lengths, budget):
    for batch in plan_batches(lengths, max_length=MAX_LENGTH, token_budget=budget):
        assert len(batch.indices) == 1 or len(batch.indices) * batch.length <= budget


@given(lengths, budgets)
def test_every_text_fits_the_length_of_its_batch(lengths, budget):
    for batch in plan_batches(lengths, max_length=MAX_LENGTH, token_budget=budget):
        assert all(lengths[index] <= batch.length for index in batch.indices)


@given(lengths, budgets)
def test_a_text_is_padded_as_if_it_were_alone(lengths, budget):
    for batch in plan_batches(lengths, max_length=MAX_LENGTH, token_budget=budget):
        assert {padded_length(lengths[index], max_length=MAX_LENGTH) for index in batch.indices} == {batch.length}


@given(st.integers(min_value=1, max_value=MAX_LENGTH), st.integers(min_value=3, max_value=MAX_LENGTH))
def test_the_shapes_of_single_texts_are_known(length, max_length):
    length = min(length, max_length)
    (batch,) = plan_batches([length], max_length=max_length)
    assert (1, batch.length) in single_text_shapes(max_length=max_length)


@given(lengths, budgets)
def test_the_longest_texts_come_first(lengths, budget):
    batches = plan_batches(lengths, max_length=MAX_LENGTH, token_budget=budget)
    assert [batch.length for batch in batches] == sorted((batch.length for batch in batches), reverse=True)


@given(lengths, st.integers(min_value=3, max_value=MAX_LENGTH), budgets)
def test_no_shape_is_outside_the_grid(lengths, max_length, budget):
    lengths = [min(length, max_length) for length in lengths]
    grid = planned_shapes(max_length=max_length, token_budget=budget)
    for batch in plan_batches(lengths, max_length=max_length, token_budget=budget):
        assert (len(batch.indices), batch.length) in grid
        step = SHORT_STEP if batch.length < SHORT else STEP
        assert batch.length % step == 0 or batch.length == max_length


def test_the_grid_is_small():
    assert len(planned_shapes(max_length=256)) == 67
    assert len(planned_shapes(max_length=512)) == 83
    assert len(single_text_shapes(max_length=512)) == 36


def test_the_grid_grows_with_the_logarithm_of_the_length():
    assert len(single_text_shapes(max_length=8192)) == 100
    assert len(single_text_shapes(max_length=131_072)) == 164


@given(st.integers(min_value=LONG + 1, max_value=131_072))
def test_a_long_text_is_padded_by_less_than_an_eighth(length):
    padded = padded_length(length, max_length=131_072)
    assert length <= padded < length * 9 / 8
    assert (1, padded) in single_text_shapes(max_length=131_072)


@given(st.integers(min_value=0, max_value=MAX_LENGTH), st.integers(min_value=1, max_value=MAX_LENGTH))
def test_padding_is_less_than_a_step_and_ends_at_the_maximum(length, max_length):
    padded = padded_length(length, max_length=max_length)
    assert max(length, 1) <= padded <= max(length - 1, 0) + (SHORT_STEP if length <= SHORT else STEP)
    assert padded <= max(max_length, length)


@given(lengths)
def test_the_same_lengths_give_the_same_plan(lengths):
    assert plan_batches(lengths, max_length=MAX_LENGTH) == plan_batches(list(lengths), max_length=MAX_LENGTH)
