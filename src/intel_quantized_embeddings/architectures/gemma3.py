"""Gemma 3's text model (https://arxiv.org/abs/2503.19786): four norms a layer, windows, often both ways."""

from __future__ import annotations

import math
from dataclasses import replace

from intel_quantized_embeddings.architectures.config_values import ConfigValues
from intel_quantized_embeddings.architectures.description import (
    NO_ROPE_SCALING,
    Activation,
    Architecture,
    LayerKind,
    NormPlace,
    Refusal,
)
from intel_quantized_embeddings.architectures.layer_kinds import FULL, SLIDING, read_biases, read_rotary
from intel_quantized_embeddings.architectures.llama import DECODER_BLOCK, DECODER_KEYS, DECODER_WEIGHTS


def _layer_kinds(config: ConfigValues) -> tuple[LayerKind, ...]:
    """Read both spellings: transformers 5 lists every layer; before, each n-th layer was global."""
    count = config.layers("num_hidden_layers")
    every = config.size("sliding_window_pattern", default=6)
    listed = config.names("layer_types", known=(FULL, SLIDING), count=count)
    names = listed or tuple(SLIDING if (i + 1) % every else FULL for i in range(count))
    parameters = config.section("rope_parameters")
    whole = read_rotary(parameters.section(FULL), default=config.positive("rope_theta", default=1_000_000.0))
    local = config.positive("rope_local_base_freq", default=10_000.0)
    window = config.size("sliding_window", default=4096)
    key = "use_bidirectional_attention"
    both_ways = not config.is_null(key) and config.flag(key, default=False)
    # A causal window of n tokens includes the token itself; a bidirectional one has n tokens around it.
    before, after = (window // 2, window // 2) if both_ways else (window - 1, 0)
    kinds = {
        FULL: LayerKind(after=None if both_ways else 0, rotary=whole),
        SLIDING: LayerKind(before=before, after=after, rotary=read_rotary(parameters.section(SLIDING), default=local)),
    }
    return tuple(kinds[name] for name in names)


GEMMA3 = Architecture(
    name="gemma3_text",
    model_types=("gemma3_text",),
    block=replace(DECODER_BLOCK, activation=Activation.GELU_TANH, norms=NormPlace.SANDWICH, norm_offset=1.0),
    biases=read_biases,
    layer_kinds=_layer_kinds,
    embedding_factor=math.sqrt,
    keys=replace(DECODER_KEYS, activation="hidden_activation", attention_scale="query_pre_attn_scalar"),
    default_norm_eps=1e-6,
    default_attention_scale=256,
    refusals=(
        Refusal(key="attn_logit_softcapping", unless=(None,), why="scores that are capped are not built in."),
        NO_ROPE_SCALING,
    ),
    prefixes=("model.", "language_model."),
    weights=replace(
        DECODER_WEIGHTS,
        query_norm="self_attn.q_norm",
        key_norm="self_attn.k_norm",
        attention_norm="post_attention_layernorm",
        intermediate_norm="pre_feedforward_layernorm",
        output_norm="post_feedforward_layernorm",
    ),
)
