"""Operations counted by hand."""

from __future__ import annotations

import pytest

from intel_quantized_embeddings.benchmarks.arithmetic import EncoderSize, gops_per_core, operations_per_token
from intel_quantized_embeddings.benchmarks.results import largest_calls
from intel_quantized_embeddings.benchmarks.summaries import Summary

MINILM = {"model_type": "bert", "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6}


def test_sizes_are_read_under_either_familys_names():
    size = EncoderSize.from_config(MINILM)
    assert size == EncoderSize(hidden=384, intermediate=1536, layers=6)
    distilbert = {"model_type": "distilbert", "dim": 384, "hidden_dim": 1536, "n_layers": 6}
    assert EncoderSize.from_config(distilbert) == size
    assert EncoderSize.from_config({"model_type": "bert", "hidden_size": 384}) is None


@pytest.mark.parametrize("model_type", ["modernbert", "nomic_bert", "qwen3", None])
def test_other_architectures_are_not_counted(model_type):
    """Their feed-forward may be gated, or several heads may share a key."""
    assert EncoderSize.from_config({**MINILM, "model_type": model_type}) is None


def test_the_largest_calls_are_counted():
    size = EncoderSize(hidden=384, intermediate=1536, layers=6)
    series = [Summary.of("openvino-int8", size=n, texts=n, turns=(n / 100,)) for n in (8, 256)]
    found = largest_calls(series[::-1], size, tokens=256, cores=2, peak=None)
    assert found.batch == 256
    assert found.gops_per_core == pytest.approx({"openvino-int8": 23_592_960 * 256 * 50 / 1e9})


def test_all_minilm_at_256_tokens():
    size = EncoderSize(hidden=384, intermediate=1536, layers=6)
    # A layer: 4 * 384^2 = 589,824; 2 * 384 * 1536 = 1,179,648; 2 * 256 * 384 = 196,608.
    assert operations_per_token(size, tokens=256) == 2 * 6 * (589_824 + 1_179_648 + 196_608)
    # 100 texts/s of 256 tokens on 2 cores.
    assert gops_per_core(size, tokens=256, texts_per_second=100, cores=2) == 23_592_960 * 256 * 50 / 1e9
