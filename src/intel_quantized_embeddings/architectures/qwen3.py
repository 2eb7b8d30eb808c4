"""Qwen3 (https://arxiv.org/abs/2505.09388): Llama's layers with norms on heads of queries and keys, and windows."""

from __future__ import annotations

from dataclasses import replace

from intel_quantized_embeddings.architectures.config_values import ConfigValues
from intel_quantized_embeddings.architectures.description import LayerKind
from intel_quantized_embeddings.architectures.layer_kinds import decoder_layers
from intel_quantized_embeddings.architectures.llama import DECODER_WEIGHTS, LLAMA


def _layer_kinds(config: ConfigValues) -> tuple[LayerKind, ...]:
    return decoder_layers(config, default=10_000.0)


QWEN3 = replace(
    LLAMA,
    name="qwen3",
    model_types=("qwen3",),
    layer_kinds=_layer_kinds,
    weights=replace(DECODER_WEIGHTS, query_norm="self_attn.q_norm", key_norm="self_attn.k_norm"),
)
