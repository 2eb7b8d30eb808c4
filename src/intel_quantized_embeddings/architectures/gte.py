"""GTE (https://arxiv.org/abs/2407.19669): BERT with rotary positions and gates; `new` on the hub."""

from __future__ import annotations

from intel_quantized_embeddings.architectures.config_values import ConfigValues
from intel_quantized_embeddings.architectures.description import (
    ALL_PARTS,
    Architecture,
    Block,
    LayerKind,
    Part,
    Refusal,
)
from intel_quantized_embeddings.architectures.layer_kinds import rotary_everywhere
from intel_quantized_embeddings.architectures.tensor_names import HeadNames, WeightNames


def _layer_kinds(config: ConfigValues) -> tuple[LayerKind, ...]:
    # The class of the hub's copies has 10,000, transformers' has 160,000.
    return rotary_everywhere(config, default=10_000.0 if config.named("model_type") == "new" else 160_000.0)


_VARIANT = "which is a variant of GTE that is not built in."

GTE = Architecture(
    name="gte",
    model_types=("gte", "new"),
    block=Block(gated=True, biases=ALL_PARTS - {Part.INTERMEDIATE}),
    own_code=(
        *("Alibaba-NLP/new-impl--", "modeling.New", "configuration.New"),
        # A copy of that code, of snowflake-arctic-embed-m-v2.0.
        *("modeling_hf_alibaba_nlp_gte.Gte", "configuration_hf_alibaba_nlp_gte.Gte"),
    ),
    position_types=("absolute", "rope"),
    layer_kinds=_layer_kinds,
    refusals=(
        Refusal(key="layer_norm_type", unless=("layer_norm", None), why=_VARIANT),
        Refusal(key="logn_attention_scale", unless=(False, None), why=_VARIANT),
        Refusal(key="pack_qkv", unless=(True, None), why=_VARIANT),
    ),
    prefixes=("gte.", "new.", "model."),
    # The first layer is the encoder's pooler.
    head=HeadNames(dense="pooler.dense", output="classifier"),
    weights=WeightNames(
        word_embeddings="embeddings.word_embeddings.weight",
        token_type_embeddings="embeddings.token_type_embeddings.weight",
        embedding_norm="embeddings.LayerNorm",
        layer="encoder.layer.{}.",
        qkv="attention.qkv_proj",
        attention_output="attention.o_proj",
        attention_norm="attn_ln",
        gate_and_intermediate="mlp.up_gate_proj",
        gate_first=False,
        output="mlp.down_proj",
        output_norm="mlp_ln",
    ),
)
