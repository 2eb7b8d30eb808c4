"""What follows the last layer, as data: widths, and linear steps multiplied into one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings.architectures import Dense, Ending, LayerNorm, Linear, Norm, StepActivation, UnitLength
from intel_quantized_embeddings.architectures.ending import Step
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.options import Pooling

HIDDEN = 12


def _dense(seed: int, inputs: int, outputs: int, activation: StepActivation) -> Dense:
    random = np.random.default_rng(seed)
    weight = random.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
    return Dense(Linear(weight, random.normal(0, 1, outputs).astype(np.float32)), activation)


def _through(row: np.ndarray, step: Step) -> np.ndarray:
    """In double precision."""
    if isinstance(step, Dense):
        row = step.linear.weight.astype(np.float64) @ row + step.linear.bias
        return np.tanh(row) if step.activation is StepActivation.TANH else row
    if isinstance(step, LayerNorm):
        return (row - row.mean()) / np.sqrt(row.var() + step.epsilon) * step.norm.weight + step.norm.bias
    return row / max(np.linalg.norm(row), 1e-12)


@st.composite
def endings(draw: st.DrawFn) -> Ending:
    steps: list[Step] = []
    poolings = draw(st.lists(st.sampled_from(Pooling), min_size=1, max_size=3))
    width = HIDDEN * len(poolings)
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["identity", "tanh", "norm", "unit"]))
        if kind == "norm":
            steps.append(LayerNorm(Norm(np.ones(width, np.float32), np.zeros(width, np.float32)), 1e-5))
        elif kind == "unit":
            steps.append(UnitLength())
        else:
            outputs = draw(st.integers(4, 40))
            steps.append(_dense(draw(st.integers(0, 99)), width, outputs, StepActivation(kind)))
            width = outputs
    return Ending(poolings=tuple(poolings), steps=tuple(steps))


@pytest.mark.parametrize("poolings", [(Pooling.MEAN,), (Pooling.CLS, Pooling.WEIGHTED_MEAN)], ids=str)
def test_a_projection_of_each_token_is_a_step_of_the_pooled_row(poolings):
    random = np.random.default_rng(0)
    projection = Linear(random.normal(0, 1, (7, HIDDEN)).astype(np.float32), np.zeros(7, np.float32))
    plain = Ending(poolings=poolings, steps=(UnitLength(),))
    ending = plain.behind(projection)
    assert ending.widths(HIDDEN, where="it") == (HIDDEN * len(poolings), 7 * len(poolings), 7 * len(poolings))
    rows = random.normal(0, 1, (len(poolings), HIDDEN))
    projected = np.concatenate([projection.weight.astype(np.float64) @ row for row in rows])
    np.testing.assert_allclose(_through(np.concatenate(rows), ending.steps[0]), projected, rtol=0, atol=1e-12)
    assert ending.steps[1:] == plain.steps
    assert plain.behind(None) is plain


def test_the_largest_of_projected_numbers_is_refused():
    ending = Ending(poolings=(Pooling.MEAN, Pooling.MAX))
    with pytest.raises(UnsupportedModelError, match=r"pooling='max' is not built in.*projects.*pooling='mean'"):
        ending.behind(Linear(np.eye(HIDDEN, dtype=np.float32), np.zeros(HIDDEN, np.float32)))


@given(endings())
def test_folding_changes_no_number_and_makes_nothing_larger(ending):
    folded = ending.folded()
    row = expected = np.random.default_rng(1).normal(0, 1, HIDDEN * len(ending.poolings))
    for step in ending.steps:
        expected = _through(expected, step)
    for step in folded.steps:
        row = _through(row, step)
    np.testing.assert_allclose(row, expected, rtol=0, atol=2e-5)
    sizes = [sum(step.linear.weight.size for step in one.steps if isinstance(step, Dense)) for one in (folded, ending)]
    assert sizes[0] <= sizes[1]
    assert folded.widths(HIDDEN, where="it")[-1] == ending.widths(HIDDEN, where="it")[-1]


def test_two_linear_steps_become_one_and_a_bottleneck_stays_two():
    def chain(middle: int) -> Ending:
        identity = StepActivation.IDENTITY
        return Ending(
            poolings=(Pooling.MEAN,),
            steps=(_dense(0, HIDDEN, middle, identity), _dense(1, middle, HIDDEN, StepActivation.TANH)),
        )

    assert len(chain(4 * HIDDEN).folded().steps) == 1
    assert len(chain(2).folded().steps) == 2


def test_a_step_for_rows_of_another_width_is_named():
    ending = Ending(poolings=(Pooling.CLS, Pooling.MEAN), steps=(_dense(0, HIDDEN, 5, StepActivation.TANH),))
    with pytest.raises(DamagedFilesError, match="tiny: step 1 behind pooling takes 12 numbers, and its input has 24"):
        ending.widths(HIDDEN, where="tiny")
