"""Interleaving, medians, spreads and ratios, with made-up clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings.benchmarks.summaries import (
    Spread,
    Summary,
    beside_baseline,
    beside_one_thread,
    stalls,
    summarize_queries,
    times_as_fast,
)
from intel_quantized_embeddings.benchmarks.timing import Effort, timed_calls, turn_order, wait_until_quiet

seconds = st.floats(min_value=1e-6, max_value=1e3)


class FakeClock:
    """Time passes only when something says how long it took."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def pass_(self, duration):
        self.now += duration


@given(st.lists(st.text(), unique=True, max_size=8), st.integers(0, 50), st.integers(0, 5))
def test_every_turn_has_every_system_once_in_an_order_that_can_be_had_again(names, turn, seed):
    order = turn_order(names, turn=turn, seed=seed)
    assert sorted(order) == sorted(names)
    assert order == turn_order(names, turn=turn, seed=seed)


def test_no_system_always_follows_the_same_other():
    orders = [turn_order("abcd", turn=turn, seed=1) for turn in range(60)]
    before_a = {order[order.index("a") - 1] for order in orders if order[0] != "a"}
    assert before_a == {"b", "c", "d"}
    assert {order[0] for order in orders} == set("abcd")


def test_the_lead_in_is_run_and_not_counted():
    clock, durations = FakeClock(), iter([9.0, 2.0, 3.0])
    times = timed_calls(lambda: clock.pass_(next(durations)), clock=clock, calls=2, lead_in=1)
    assert times == (2.0, 3.0)


@pytest.mark.parametrize(
    ("texts", "turns", "effort"),
    [
        (1, 10, Effort(turns=10, calls=3, lead_in=1)),
        (32, 5, Effort(turns=5, calls=1, lead_in=0)),
        (256, 5, Effort(turns=3, calls=1, lead_in=0)),
        (256, 10, Effort(turns=5, calls=1, lead_in=0)),
        (256, 1, Effort(turns=1, calls=1, lead_in=0)),
    ],
)
def test_short_jobs_are_done_more_often(texts, turns, effort):
    assert Effort.of(texts, turns=turns) == effort


def test_a_worker_waits_while_its_threads_spin_and_no_longer_than_allowed():
    spinning = iter([0.0, 0.005, 0.005, 0.01, 0.01, 0.0101])  # before and after each look
    assert wait_until_quiet(lambda: next(spinning), lambda _: None) == 3
    forever = FakeClock()
    assert wait_until_quiet(forever, forever.pass_, step=0.01, most=0.1) == 10


@given(st.lists(seconds, min_size=1, max_size=30))
def test_a_spread_lies_around_its_median(values):
    spread = Spread.of(values)
    assert min(values) <= spread.low <= spread.median <= spread.high <= max(values)


def test_the_ratio_is_of_the_same_turn_so_that_drift_cancels():
    drifting = [
        Summary.of("base", size=1, texts=10, turns=(2.0, 4.0, 8.0)),
        Summary.of("twice", size=1, texts=10, turns=(1.0, 2.0, 4.0)),
    ]
    base, twice = beside_baseline(drifting, "base")
    assert twice.ratio == Spread(median=2.0, low=2.0, high=2.0)
    assert base.ratio == Spread(median=1.0, low=1.0, high=1.0)
    assert twice.texts_per_second.median == 5.0
    assert twice.turns == (1.0, 2.0, 4.0)


def test_a_ratio_is_only_taken_at_the_same_size():
    series = [
        Summary.of("base", size=1, texts=1, turns=(1.0,)),
        Summary.of("other", size=2, texts=2, turns=(1.0,)),
    ]
    assert beside_baseline(series, "base")[1].ratio is None
    assert series[0].ratio is None


def test_threads_are_compared_with_one_thread_of_the_same_system():
    series = [
        Summary.of("a", size=1, texts=8, turns=(4.0, 4.0)),
        Summary.of("a", size=8, texts=8, turns=(2.0, 2.0)),
        Summary.of("b", size=8, texts=8, turns=(1.0, 1.0)),
    ]
    one, eight, alone = beside_one_thread(series)
    assert one.ratio.median == 1.0
    assert eight.ratio.median == 2.0
    assert alone.ratio is None


def test_one_system_is_compared_with_every_other_turn_by_turn():
    series = [
        Summary.of("ours", size=9, texts=9, turns=(1.0, 2.0)),
        Summary.of("other", size=9, texts=9, turns=(3.0, 6.0)),
    ]
    assert times_as_fast(series, "ours") == {"other": Spread(median=3.0, low=3.0, high=3.0)}
    assert times_as_fast(series, "absent") == {}


def test_queries_are_summarized_run_by_run():
    runs = {"base": [[2.0] * 99 + [50.0], [2.0] * 100], "ours": [[1.0] * 98 + [4.0, 9.0], [1.0] * 100]}
    base, ours = summarize_queries(runs, baseline="base")
    assert (ours.p50_ms, ours.slowest_ms, ours.queries) == (1.0, 5.0, 100)
    assert ours.stalls == 1.0  # two in one run, none in the other
    assert base.stalls == 0.5
    assert ours.ratio_p50.median == 2.0
    assert ours.first_ms == 1.0


def test_a_stall_is_above_three_medians():
    assert stalls([1.0, 1.0, 1.0, 3.0, 3.01]) == 1
