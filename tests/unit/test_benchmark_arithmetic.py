"""Operations counted by hand."""

from __future__ import annotations

import pytest

from intel_quantized_embeddings.benchmarks.arithmetic import EncoderSize, gops_per_core, operations_per_token
from intel_quantized_embeddings.benchmarks.results import largest_calls
from intel_quantized_embeddings.benchmarks.summaries import Summary

_SIZES = {"num_attention_heads": 12, "vocab_size": 30522, "max_position_embeddings": 512, "pad_token_id": 0}
MINILM = {"model_type": "bert", "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, **_SIZES}
# A layer: 4 * 384^2 = 589,824; 2 * 384 * 1536 = 1,179,648.
LINEAR = 6 * (589_824 + 1_179_648)


def test_sizes_are_read_under_either_familys_names():
    size = EncoderSize.from_config(MINILM)
    assert size == EncoderSize(linear=LINEAR, attention=(768,) * 6, seen=(None,) * 6)
    distilbert = {"model_type": "distilbert", "dim": 384, "hidden_dim": 1536, "n_layers": 6, "n_heads": 12, **_SIZES}
    assert EncoderSize.from_config(distilbert) == size
    assert EncoderSize.from_config({"model_type": "bert", "hidden_size": 384}) is None
    assert EncoderSize.from_config({**MINILM, "model_type": None}) is None


def test_gates_shared_heads_and_windows_are_counted():
    modernbert = EncoderSize.from_config({**MINILM, "model_type": "modernbert", "local_attention": 128})
    assert modernbert.linear == LINEAR + 6 * 384 * 1536
    assert modernbert.seen == (None, 129, 129) * 2
    assert operations_per_token(modernbert, tokens=200) == 2 * (modernbert.linear + (2 * 200 + 4 * 129) * 768)
    shared = EncoderSize.from_config({**MINILM, "model_type": "qwen3", "num_key_value_heads": 4, "head_dim": 64})
    assert shared.linear == 6 * 384 * (2 * 768 + 2 * 256 + 3 * 1536)
    assert (shared.attention, shared.seen) == ((2 * 768,) * 6, (None,) * 6)


def test_the_largest_calls_are_counted():
    size = EncoderSize.from_config(MINILM)
    series = [Summary.of("openvino-int8", size=n, texts=n, turns=(n / 100,)) for n in (8, 256)]
    found = largest_calls(series[::-1], size, tokens=256, cores=2, peak=None)
    assert found.batch == 256
    assert found.gops_per_core == pytest.approx({"openvino-int8": 23_592_960 * 256 * 50 / 1e9})


def test_all_minilm_at_256_tokens():
    size = EncoderSize.from_config(MINILM)
    # 2 * 256 * 384 = 196,608.
    assert operations_per_token(size, tokens=256) == 2 * (LINEAR + 6 * 196_608)
    # 100 texts/s of 256 tokens on 2 cores.
    assert gops_per_core(size, tokens=256, texts_per_second=100, cores=2) == 23_592_960 * 256 * 50 / 1e9
