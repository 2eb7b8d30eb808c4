"""Operations counted by hand."""

from __future__ import annotations

from intel_quantized_embeddings.benchmarks.arithmetic import EncoderSize, gops_per_core, operations_per_token

MINILM = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6}


def test_sizes_are_read_under_either_familys_names():
    size = EncoderSize.from_config(MINILM)
    assert size == EncoderSize(hidden=384, intermediate=1536, layers=6)
    assert EncoderSize.from_config({"dim": 384, "hidden_dim": 1536, "n_layers": 6}) == size
    assert EncoderSize.from_config({"hidden_size": 384}) is None


def test_all_minilm_at_256_tokens():
    size = EncoderSize(hidden=384, intermediate=1536, layers=6)
    # A layer: 4 * 384^2 = 589,824; 2 * 384 * 1536 = 1,179,648; 2 * 256 * 384 = 196,608.
    assert operations_per_token(size, tokens=256) == 2 * 6 * (589_824 + 1_179_648 + 196_608)
    # 100 texts/s of 256 tokens on 2 cores.
    assert gops_per_core(size, tokens=256, texts_per_second=100, cores=2) == 23_592_960 * 256 * 50 / 1e9
