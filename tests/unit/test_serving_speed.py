"""The speed that limits are reckoned with: tokens by the time in which something ran."""

from __future__ import annotations

import pytest

from intel_quantized_embeddings.serving.speed import Speed


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_time_between_calls_does_not_count(clock):
    speed = Speed(clock)
    for _ in range(3):
        with speed.of(20):
            clock.now += 2
        clock.now += 1000
    assert speed.tokens_per_second == pytest.approx(10)


def test_the_time_of_calls_at_once_counts_once(clock):
    speed = Speed(clock)
    with speed.of(60):
        clock.now += 0.001
        with speed.of(10):
            clock.now += 0.002
        clock.now += 0.004
    assert speed.tokens_per_second == pytest.approx(70 / 0.007, rel=0.01)


def test_what_is_long_ago_counts_less(clock):
    speed = Speed(clock)
    for tokens in (1, 1000):
        with speed.of(tokens):
            clock.now += 100
    assert speed.tokens_per_second == pytest.approx(10, rel=0.01)


def test_a_call_that_fails_is_over(clock):
    speed = Speed(clock)

    def fail() -> None:
        with speed.of(10):
            clock.now += 1
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    clock.now += 1000
    with speed.of(10):
        clock.now += 1
    assert speed.tokens_per_second == pytest.approx(10)
