"""JinaBERT in fp32 against its formulas in float64: no class of transformers computes it, only its repositories' code.

BERT's layers (https://arxiv.org/abs/1810.04805) with a gate in the feed-forward network
(https://arxiv.org/abs/2002.05202), and ALiBi's bias on both sides of a token (https://arxiv.org/abs/2108.12409, https://arxiv.org/abs/2310.19923).
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from intel_quantized_embeddings import CrossEncoder, Encoder
from intel_quantized_embeddings.architectures.jina_bert import JINA_BERT
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from support.each_runtime import TEXTS, each_runtime
from support.tiny_models import HIDDEN, write_tiny_cross_encoder, write_tiny_model

MAX_LENGTH = 128
_erf = np.vectorize(math.erf, otypes=[np.float64])
LONG = [*TEXTS, "cat dog river " * 40, "the mat " * 17]


def _as_on_the_hub(folder, *, heads=4, **more):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "bert", "position_embedding_type": "alibi", "num_attention_heads": heads, **more}
    (folder / "config.json").write_text(json.dumps(config))
    return config


def _slopes(heads):
    """As the paper has them of powers of two; else the next smaller one's, and every other of the next larger one's."""
    if heads & (heads - 1) == 0:
        return [2 ** (-8 * (i + 1) / heads) for i in range(heads)]
    less = 2 ** int(math.log2(heads))
    return _slopes(less) + _slopes(2 * less)[::2][: heads - less]


def _norm(x, weight, bias, eps):
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * weight + bias


def _hidden(tensors, config, ids, types=None):
    """The last hidden state of one text. Shape: (length, hidden)."""
    t = {name.removeprefix("bert."): array.astype(np.float64) for name, array in tensors.items()}
    heads, eps = config["num_attention_heads"], config["layer_norm_eps"]

    def linear(x, name):
        return x @ t[f"{name}.weight"].T + t.get(f"{name}.bias", 0.0)

    def norm(x, name):
        return _norm(x, t[f"{name}.weight"], t[f"{name}.bias"], eps)

    def activated(x):
        return np.maximum(x, 0) if config["feed_forward_type"] == "reglu" else x * (1 + _erf(x / math.sqrt(2))) / 2

    x = t["embeddings.word_embeddings.weight"][ids] + t["embeddings.token_type_embeddings.weight"][types or 0]
    x = norm(x, "embeddings.LayerNorm")
    places = np.arange(len(ids))
    bias = -np.array(_slopes(heads))[:, None, None] * np.abs(places[:, None] - places)
    for index in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{index}."
        query, key, value = (
            linear(x, f"{at}attention.self.{name}").reshape(len(ids), heads, -1).transpose(1, 0, 2)
            for name in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1]) + bias
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attended = (weights / weights.sum(axis=-1, keepdims=True)) @ value
        attended = attended.transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(linear(attended, f"{at}attention.output.dense") + x, f"{at}attention.output.LayerNorm")
        gate, up = np.split(linear(x, f"{at}mlp.gated_layers"), 2, axis=-1)
        x = norm(linear(activated(gate) * up, f"{at}mlp.wo") + x, f"{at}mlp.layernorm")
    return x


@each_runtime
@pytest.mark.parametrize(("heads", "gate"), [(4, "geglu"), (8, "reglu"), (2, "geglu")])
def test_texts_have_the_vectors_of_the_formulas(tmp_path, runtime, heads, gate):
    if runtime == "ipex":
        pytest.skip("runtime='ipex' is frozen at the first BERT families")
    folder = write_tiny_model(tmp_path / "jina", family=JINA_BERT, max_length=MAX_LENGTH, normalize=False)
    config = _as_on_the_hub(folder, heads=heads, feed_forward_type=gate)
    tensors = load_file(folder / "model.safetensors")
    found = Encoder.load(folder, runtime=runtime, precision="fp32").encode_documents(LONG)
    ids = Tokenizer(folder / "tokenizer.json", max_length=MAX_LENGTH).encode(LONG).token_ids
    expected = np.stack([_hidden(tensors, config, one).mean(axis=0) for one in ids])
    assert np.abs(found - expected).max() <= 1e-5


@each_runtime
def test_heads_that_are_no_power_of_two(tmp_path, runtime):
    """As the base models' and the rerankers' twelve."""
    if runtime == "ipex":
        pytest.skip("runtime='ipex' is frozen at the first BERT families")
    folder = write_tiny_model(tmp_path / "jina", family=JINA_BERT, max_length=MAX_LENGTH, normalize=False)
    random = np.random.default_rng(5)
    tensors, wide = load_file(folder / "model.safetensors"), 48
    for name, array in tensors.items():
        shape = tuple(wide if size == HIDDEN else size for size in array.shape)
        scale = 1 if "orm" in name and name.endswith("weight") else 0
        tensors[name] = (scale + random.normal(0, 0.3, shape)).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")
    config = _as_on_the_hub(folder, heads=12, hidden_size=wide, feed_forward_type="geglu")
    found = Encoder.load(folder, runtime=runtime, precision="fp32").encode_documents(LONG)
    ids = Tokenizer(folder / "tokenizer.json", max_length=MAX_LENGTH).encode(LONG).token_ids
    expected = np.stack([_hidden(tensors, config, one).mean(axis=0) for one in ids])
    assert np.abs(found - expected).max() <= 1e-5


@each_runtime
def test_pairs_have_the_scores_of_the_formulas(tmp_path, runtime):
    """jina-reranker-v1: BERT's pooler and classifier, and token types for the two texts."""
    if runtime == "ipex":
        pytest.skip("runtime='ipex' runs no cross-encoders")
    folder = write_tiny_cross_encoder(
        tmp_path / "jina", family=JINA_BERT, max_length=MAX_LENGTH, activation="torch.nn.modules.linear.Identity"
    )
    config = _as_on_the_hub(folder, feed_forward_type="geglu")
    tensors = load_file(folder / "model.safetensors")
    pairs = [("what is the cat on", "the cat sat on the red mat"), ("", ""), ("a", "stone " * 150), ("river", "house")]
    model = CrossEncoder.load(folder, runtime=runtime, precision="fp32")
    found = model.score(pairs)
    expected = []
    for raised in (ids for window in model._token_ids(pairs, bytearray()) for ids in window):
        types, ids = zip(*(divmod(token, config["vocab_size"]) for token in raised), strict=True)
        first = _hidden(tensors, config, list(ids), list(types))[0]
        pooled = np.tanh(tensors["pooler.dense.weight"] @ first + tensors["pooler.dense.bias"])
        expected.append((tensors["classifier.weight"] @ pooled + tensors["classifier.bias"])[0])
    assert np.abs(found - expected).max() <= 1e-5
    assert np.ptp(found) > 0.05
