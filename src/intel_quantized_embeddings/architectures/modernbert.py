"""ModernBERT (https://arxiv.org/abs/2412.13663): norms in front, rotary positions, gates, and windows."""

from __future__ import annotations

from intel_quantized_embeddings.architectures.config_values import ConfigValues
from intel_quantized_embeddings.architectures.description import (
    NO_ROPE_SCALING,
    Architecture,
    Block,
    ConfigKeys,
    LayerKind,
    NormPlace,
)
from intel_quantized_embeddings.architectures.layer_kinds import FULL, SLIDING, read_biases, read_rotary
from intel_quantized_embeddings.architectures.tensor_names import HeadNames, MaskedLMNames, WeightNames


def _layer_kinds(config: ConfigValues) -> tuple[LayerKind, ...]:
    """Read both spellings: transformers 5 lists every layer; before, every n-th layer was global."""
    count = config.layers("num_hidden_layers")
    listed = config.names("layer_types", known=(FULL, SLIDING), count=count)
    every = config.size("global_attn_every_n_layers", default=3)
    names = listed or tuple(SLIDING if i % every else FULL for i in range(count))
    parameters = config.section("rope_parameters")
    whole = read_rotary(parameters.section(FULL), default=config.positive("global_rope_theta", default=160_000.0))
    # null means the global base, as in the class that wrote it.
    null = config.is_null("local_rope_theta")
    local = whole.theta if null else config.positive("local_rope_theta", default=10_000.0)
    window = read_rotary(parameters.section(SLIDING), default=local)
    reach = config.size("local_attention", default=128) // 2
    kinds = {FULL: LayerKind(rotary=whole), SLIDING: LayerKind(before=reach, after=reach, rotary=window)}
    return tuple(kinds[name] for name in names)


MODERNBERT = Architecture(
    name="modernbert",
    model_types=("modernbert",),
    block=Block(norms=NormPlace.PRE, gated=True, first_norm_missing=True, biases=frozenset()),
    biases=read_biases,
    layer_kinds=_layer_kinds,
    refusals=(NO_ROPE_SCALING,),
    keys=ConfigKeys(activation="hidden_activation", layer_norm_eps="norm_eps"),
    default_norm_eps=1e-5,
    prefixes=("model.",),
    head=HeadNames(
        dense="head.dense",
        output="classifier",
        norm="head.norm",
        activation="gelu",
        activation_key="classifier_activation",
        pooling="classifier_pooling",
        may_lack_biases=True,
    ),
    masked_lm=MaskedLMNames(
        dense="head.dense",
        norm="head.norm",
        decoder="decoder",
        bias="decoder.bias",
        activation_key="classifier_activation",
    ),
    weights=WeightNames(
        word_embeddings="embeddings.tok_embeddings.weight",
        embedding_norm="embeddings.norm",
        layer="layers.{}.",
        qkv_norm="attn_norm",
        qkv="attn.Wqkv",
        attention_output="attn.Wo",
        intermediate_norm="mlp_norm",
        gate_and_intermediate="mlp.Wi",
        output="mlp.Wo",
        final_norm="final_norm",
    ),
)
