"""NomicBERT (https://arxiv.org/abs/2402.01613): BERT with rotary positions and gates, without biases but the norms'."""

from __future__ import annotations

from intel_quantized_embeddings.architectures.config_values import ConfigValues
from intel_quantized_embeddings.architectures.description import (
    Activation,
    Architecture,
    Block,
    LayerKind,
    Part,
    Refusal,
)
from intel_quantized_embeddings.architectures.layer_kinds import rotary_everywhere
from intel_quantized_embeddings.architectures.tensor_names import WeightNames

# The hub's copies have the keys of GPT-2, which transformers 5 ignores in favour of its defaults.
_RENAMED = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
    "activation_function": "hidden_act",
    "rotary_emb_base": "rope_theta",
}


def _layer_kinds(config: ConfigValues) -> tuple[LayerKind, ...]:
    return rotary_everywhere(config, default=1000.0)


def _only(key: str, *values: object, why: str) -> Refusal:
    return Refusal(key=key, unless=values, why=why)


_VARIANT = "which is a variant of NomicBERT that is not built in."

NOMIC = Architecture(
    name="nomic_bert",
    model_types=("nomic_bert",),
    block=Block(activation=Activation.SILU, gated=True, biases=frozenset({Part.NORM})),
    renamed=_RENAMED,
    own_code=("nomic-ai/nomic-bert-2048--", "modeling_hf_nomic_bert.", "configuration_hf_nomic_bert."),
    layer_kinds=_layer_kinds,
    refusals=(
        *(_only(key, False, None, why=_VARIANT) for key in ("prenorm", "parallel_block", "use_rms_norm", "causal")),
        *(_only(key, False, None, why=_VARIANT) for key in ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias")),
        _only("rotary_emb_fraction", 1, None, why="only 1 is built in: all of a head is turned."),
        _only("rotary_emb_interleaved", False, None, why="only false is built in."),
        _only("rotary_emb_scale_base", None, why="only null is built in."),
        _only(
            "rotary_scaling_factor",
            None,
            why="angles that depend on a text's length are not built in. Leave it out: up to 2,048 tokens it changes "
            "nothing.",
        ),
        _only("num_experts", 0, None, why="a mixture of experts is not built in."),
    ),
    prefixes=("bert.", "model."),
    weights=WeightNames(
        word_embeddings="embeddings.word_embeddings.weight",
        token_type_embeddings="embeddings.token_type_embeddings.weight",
        embedding_norm="emb_ln",
        layer="encoder.layers.{}.",
        qkv="attn.Wqkv",
        attention_output="attn.out_proj",
        attention_norm="norm1",
        # The second layer is the one that is activated.
        intermediate="mlp.fc11",
        gate="mlp.fc12",
        output="mlp.fc2",
        output_norm="norm2",
    ),
)
