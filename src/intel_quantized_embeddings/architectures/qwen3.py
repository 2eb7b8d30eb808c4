"""Qwen3 (https://arxiv.org/abs/2505.09388): Llama's layers with a norm on each head of queries and keys."""

from __future__ import annotations

from dataclasses import replace

from intel_quantized_embeddings.architectures.llama import DECODER_WEIGHTS, LLAMA

QWEN3 = replace(
    LLAMA,
    name="qwen3",
    model_types=("qwen3",),
    weights=replace(DECODER_WEIGHTS, query_norm="self_attn.q_norm", key_norm="self_attn.k_norm"),
)
