"""DistilBERT (https://arxiv.org/abs/1910.01108): half of BERT's layers, no token types, and names of its own."""

from intel_quantized_embeddings.architectures.description import Architecture, ConfigKeys
from intel_quantized_embeddings.architectures.tensor_names import HeadNames, MaskedLMNames, WeightNames

DISTILBERT = Architecture(
    name="distilbert",
    model_types=("distilbert",),
    keys=ConfigKeys(
        hidden_size="dim",
        num_layers="n_layers",
        num_heads="n_heads",
        intermediate_size="hidden_dim",
        activation="activation",
        layer_norm_eps=1e-12,
    ),
    prefixes=("distilbert.",),
    weights=WeightNames(
        word_embeddings="embeddings.word_embeddings.weight",
        position_embeddings="embeddings.position_embeddings.weight",
        embedding_norm="embeddings.LayerNorm",
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
    head=HeadNames(dense="pre_classifier", output="classifier", activation="relu"),
    masked_lm=MaskedLMNames(
        dense="vocab_transform",
        norm="vocab_layer_norm",
        decoder="vocab_projector",
        bias="vocab_projector.bias",
        activation_key="activation",
    ),
)
