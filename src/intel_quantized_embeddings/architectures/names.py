"""Which tensor of a safetensors file is which weight, for each family.

The tables hold Hugging Face's names without the head's prefix (`bert.`, `roberta.`, ...); nothing
outside this package knows a foreign name.
"""

from __future__ import annotations

from dataclasses import dataclass

from intel_quantized_embeddings.architectures.config import Family


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightNames:
    """Names of one family's tensors; those of a layer are relative to `layer.format(i)`."""

    layer: str
    query: str
    key: str
    value: str
    attention_output: str
    attention_norm: str
    intermediate: str
    output: str
    output_norm: str
    word_embeddings: str = "embeddings.word_embeddings.weight"
    position_embeddings: str = "embeddings.position_embeddings.weight"
    embedding_norm: str = "embeddings.LayerNorm"
    token_type_embeddings: str | None = None
    relative_attention_bias: str | None = None


_BERT = WeightNames(
    layer="encoder.layer.{}.",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    intermediate="intermediate.dense",
    output="output.dense",
    output_norm="output.LayerNorm",
    token_type_embeddings="embeddings.token_type_embeddings.weight",
)

WEIGHT_NAMES = {
    Family.BERT: _BERT,
    Family.ROBERTA: _BERT,
    Family.MPNET: WeightNames(
        layer="encoder.layer.{}.",
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        attention_output="attention.attn.o",
        attention_norm="attention.LayerNorm",
        intermediate="intermediate.dense",
        output="output.dense",
        output_norm="output.LayerNorm",
        relative_attention_bias="encoder.relative_attention_bias.weight",
    ),
    Family.DISTILBERT: WeightNames(
        layer="transformer.layer.{}.",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_output="attention.out_lin",
        attention_norm="sa_layer_norm",
        intermediate="ffn.lin1",
        output="ffn.lin2",
        output_norm="output_layer_norm",
    ),
}

# What a checkpoint saved with a head puts before every name.
PREFIXES = ("", "bert.", "roberta.", "distilbert.", "mpnet.")
