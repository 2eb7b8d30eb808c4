"""Jina Embeddings v3 (https://arxiv.org/abs/2409.10173): XLM-RoBERTa with rotary positions; no task adapters."""

from __future__ import annotations

from intel_quantized_embeddings.architectures.config_values import ConfigValues
from intel_quantized_embeddings.architectures.description import Architecture, LayerKind, Refusal
from intel_quantized_embeddings.architectures.layer_kinds import rotary_everywhere
from intel_quantized_embeddings.architectures.roberta import ROBERTA
from intel_quantized_embeddings.architectures.tensor_names import WeightNames


def _layer_kinds(config: ConfigValues) -> tuple[LayerKind, ...]:
    return rotary_everywhere(config, default=20_000.0)


_ADAPTERS = (
    "an adapter for each task, without which vectors are others, and which are not built in. Merge the one that you "
    "need into the weights, with PEFT's merge_and_unload() on transformers' own class, and save the model."
)

JINA_V3 = Architecture(
    name="jina_embeddings_v3",
    model_types=("jina_embeddings_v3",),
    layer_kinds=_layer_kinds,
    default_norm_eps=1e-5,
    pad_token_id=1,
    refusals=tuple(
        Refusal(key=key, unless=(None, False, []), why=_ADAPTERS)
        for key in ("lora_adaptations", "load_trained_adapters")
    ),
    prefixes=("roberta.",),
    weights=WeightNames(
        word_embeddings="embeddings.word_embeddings.weight",
        token_type_embeddings="embeddings.token_type_embeddings.weight",
        embedding_norm="emb_ln",
        layer="encoder.layers.{}.",
        qkv="mixer.Wqkv",
        attention_output="mixer.out_proj",
        attention_norm="norm1",
        intermediate="mlp.fc1",
        output="mlp.fc2",
        output_norm="norm2",
    ),
    head=ROBERTA.head,
)
