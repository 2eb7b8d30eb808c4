"""Queries and keys get one size before attention in whole numbers: powers of two that no score notices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from intel_quantized_embeddings.architectures import Activation, Ending
from intel_quantized_embeddings.options import Pooling
from intel_quantized_embeddings.quantization.balance import balance
from intel_quantized_embeddings.runtimes.native_graph import native_graph
from support.tiny_models import random_encoder

WIDTH = 48  # of 40, padded


@pytest.fixture(scope="module")
def shape():
    encoder, weights = random_encoder(hidden=40, heads=2, inner=16, activation=Activation.GELU)
    return native_graph(encoder, weights, Ending.plain(Pooling.MEAN, normalize=True)).shape


def _weights(*, times: np.ndarray) -> np.ndarray:
    """Queries that are so many times as large as keys, number by number; nothing where they are padded."""
    random = np.random.default_rng(0)
    query, key, value = (random.normal(0, 1, (WIDTH, WIDTH)).astype(np.float32) for _ in range(3))
    query[40:] = key[40:] = value[40:] = 0
    return np.concatenate([query * times[:, None], key / times[:, None], value])


def test_factors_are_powers_of_two_that_cancel_and_leave_values_alone(shape):
    times = np.exp(np.random.default_rng(1).normal(0, 3, WIDTH)).astype(np.float32)
    found = balance(shape, _weights(times=times), np.ones(WIDTH, np.float32))
    query, key, value = np.split(found, 3)
    assert np.array_equal(query * key, np.ones(WIDTH))
    assert np.array_equal(np.exp2(np.rint(np.log2(found))), found)
    assert np.array_equal(value, np.ones(WIDTH))
    assert np.array_equal(query[40:], np.ones(8))
    assert query.min() < 1 < query.max()


def test_queries_and_keys_come_out_equally_large(shape):
    times = np.ones(WIDTH, np.float32)
    times[[3, 17]] = 100
    sizes = np.random.default_rng(2).uniform(0.1, 10, WIDTH).astype(np.float32)
    weights = _weights(times=times)
    weights *= balance(shape, weights, sizes)[:, None]
    query, key = (np.sqrt(np.square(part[:40] * sizes).sum(axis=1)) for part in np.split(weights, 3)[:2])
    ratio = query / key
    assert ratio.min() > 0.4
    assert ratio.max() < 2.5


def test_what_has_no_part_in_any_score_keeps_its_size(shape):
    weights = _weights(times=np.ones(WIDTH, np.float32))
    weights[5] = 0
    assert balance(shape, weights, np.ones(WIDTH, np.float32))[5] == 1
    assert balance(shape, weights * 0, np.ones(WIDTH, np.float32)).tolist() == [1] * 3 * WIDTH


def test_models_whose_attention_stays_in_floats_are_left_as_they_are(shape):
    times = np.full(WIDTH, 100, np.float32)
    for other in (replace(shape, rotary=1), replace(shape, key_heads=1)):
        assert balance(other, _weights(times=times), np.ones(WIDTH, np.float32)).tolist() == [1] * 3 * WIDTH
