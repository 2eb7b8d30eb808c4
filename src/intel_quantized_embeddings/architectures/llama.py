"""Llama (https://arxiv.org/abs/2302.13971), and EuroBERT (https://arxiv.org/abs/2503.05500), which looks both ways."""

from __future__ import annotations

from dataclasses import replace

from intel_quantized_embeddings.architectures.config_values import ConfigValues
from intel_quantized_embeddings.architectures.description import (
    Activation,
    Architecture,
    Block,
    ConfigKeys,
    LayerKind,
    NormPlace,
)
from intel_quantized_embeddings.architectures.layer_kinds import read_biases, rotary_everywhere
from intel_quantized_embeddings.architectures.tensor_names import HeadNames, WeightNames

DECODER_BLOCK = Block(activation=Activation.SILU, gated=True, norms=NormPlace.PRE, rms_norm=True, biases=frozenset())
DECODER_KEYS = ConfigKeys(layer_norm_eps="rms_norm_eps", num_key_heads="num_key_value_heads", head_size="head_dim")
DECODER_WEIGHTS = WeightNames(
    word_embeddings="embed_tokens.weight",
    layer="layers.{}.",
    qkv_norm="input_layernorm",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    attention_output="self_attn.o_proj",
    intermediate_norm="post_attention_layernorm",
    gate="mlp.gate_proj",
    intermediate="mlp.up_proj",
    output="mlp.down_proj",
    final_norm="norm",
)


def _causal_layers(config: ConfigValues) -> tuple[LayerKind, ...]:
    """Keys of windows have no effect on Llama, nor have they in transformers."""
    after = 0 if config.flag("is_causal", default=True) else None
    return tuple(replace(kind, after=after) for kind in _layers(config))


def _layers(config: ConfigValues) -> tuple[LayerKind, ...]:
    return rotary_everywhere(config, default=10_000.0)


LLAMA = Architecture(
    name="llama",
    model_types=("llama",),
    block=DECODER_BLOCK,
    biases=read_biases,
    layer_kinds=_causal_layers,
    keys=DECODER_KEYS,
    default_norm_eps=1e-6,
    prefixes=("model.",),
    head=HeadNames(dense=None, output="score", last_token=True, may_lack_biases=True),
    next_token="lm_head",
    weights=DECODER_WEIGHTS,
)

EUROBERT = replace(
    LLAMA,
    name="eurobert",
    model_types=("eurobert",),
    own_code=("EuroBERT/EuroBERT-", "modeling_eurobert.EuroBert", "configuration_eurobert.EuroBert"),
    layer_kinds=_layers,
    default_norm_eps=1e-5,
    head=None,
    next_token=None,
)
