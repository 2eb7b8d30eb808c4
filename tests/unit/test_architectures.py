"""A family is one module and one row: what it says holds together, and nobody else knows its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from intel_quantized_embeddings.architectures import Activation, EncoderConfig
from intel_quantized_embeddings.architectures.table import ARCHITECTURES, BUILT_IN

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "intel_quantized_embeddings"

every_family = pytest.mark.parametrize("family", ARCHITECTURES, ids=lambda family: family.name)

# As transformers 5.24 writes them, cut down to what decides: all-MiniLM-L6-v2's sizes, and two odd ones.
_WRITTEN = {
    "bert": {
        "hidden_act": "gelu_new",
        "hidden_size": 384,
        "intermediate_size": 1536,
        "layer_norm_eps": 1e-6,
        "max_position_embeddings": 512,
        "num_attention_heads": 12,
        "num_hidden_layers": 6,
        "vocab_size": 30522,
    },
    "distilbert": {
        "activation": "gelu_new",
        "dim": 384,
        "hidden_dim": 1536,
        "layer_norm_eps": 1e-6,
        "max_position_embeddings": 512,
        "n_heads": 12,
        "n_layers": 6,
        "vocab_size": 30522,
    },
}
_WRITTEN["mpnet"] = {**_WRITTEN["bert"], "relative_attention_num_buckets": 16}
_WRITTEN |= dict.fromkeys(("roberta", "xlm-roberta", "camembert"), _WRITTEN["bert"])


def test_every_architecture_that_is_built_in_is_tried_here():
    assert tuple(sorted(_WRITTEN)) == BUILT_IN == ("bert", "camembert", "distilbert", "mpnet", "roberta", "xlm-roberta")


@pytest.mark.parametrize("model_type", _WRITTEN)
def test_what_transformers_writes_is_read(model_type):
    """Sizes under each family's own keys, and what holds where none of them says it."""
    config = EncoderConfig.from_hf({"model_type": model_type, **_WRITTEN[model_type]}, where="it")
    assert (config.vocab_size, config.hidden_size, config.num_layers) == (30522, 384, 6)
    assert (config.num_heads, config.head_size, config.intermediate_size) == (12, 32, 1536)
    assert config.activation is Activation.GELU_TANH
    assert config.layer_norm_eps == (1e-12 if model_type == "distilbert" else 1e-6)
    counted_after_padding = model_type not in ("bert", "distilbert")
    assert (config.pad_token_id, config.first_position, config.max_length) == (
        (1, 2, 510) if counted_after_padding else (0, 0, 512)
    )
    assert config.relative_attention_buckets == (16 if model_type == "mpnet" else 0)


def test_what_no_key_says_is_the_familys():
    plain = {key: value for key, value in _WRITTEN["bert"].items() if key not in ("hidden_act", "layer_norm_eps")}
    config = EncoderConfig.from_hf({"model_type": "mpnet", **plain}, where="it")
    assert (config.activation, config.layer_norm_eps, config.relative_attention_buckets) == (
        Activation.GELU,
        1e-12,
        32,
    )


@every_family
def test_what_a_family_says_holds_together(family):
    """A flag has its tensor and its key, and a family has its model types alone."""
    of_others = {name for other in ARCHITECTURES if other is not family for name in other.model_types}
    assert not of_others & set(family.model_types)
    has_buckets = family.block.relative_attention_buckets > 0
    assert has_buckets == (family.weights.relative_attention_bias is not None)
    assert has_buckets == (family.keys.relative_attention_buckets is not None)
    assert family.weights.token_type_embeddings is not None or not family.tells_texts_apart


@every_family
def test_only_the_table_and_other_families_know_a_family(family):
    """Readers and builders ask the description."""
    module = f"architectures.{family.name}"
    knowing = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py") if module in file.read_text()}
    families = {f"architectures/{one.name}.py" for one in ARCHITECTURES}
    assert "architectures/table.py" in knowing
    assert knowing <= {"architectures/table.py", *families}
