"""BERT (https://arxiv.org/abs/1810.04805): MiniLM, BGE, E5, GTE and most small encoders are one."""

from intel_quantized_embeddings.architectures.description import Architecture
from intel_quantized_embeddings.architectures.tensor_names import HeadNames, MaskedLMNames, WeightNames

BERT = Architecture(
    name="bert",
    model_types=("bert",),
    prefixes=("bert.",),
    weights=WeightNames(
        word_embeddings="embeddings.word_embeddings.weight",
        position_embeddings="embeddings.position_embeddings.weight",
        token_type_embeddings="embeddings.token_type_embeddings.weight",
        embedding_norm="embeddings.LayerNorm",
        layer="encoder.layer.{}.",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        attention_output="attention.output.dense",
        attention_norm="attention.output.LayerNorm",
        intermediate="intermediate.dense",
        output="output.dense",
        output_norm="output.LayerNorm",
    ),
    # The first layer is BERT's pooler, which lies among the encoder's tensors.
    head=HeadNames(dense="pooler.dense", output="classifier"),
    masked_lm=MaskedLMNames(
        dense="cls.predictions.transform.dense",
        norm="cls.predictions.transform.LayerNorm",
        decoder="cls.predictions.decoder",
        bias="cls.predictions.bias",
        activation_key="hidden_act",
    ),
)
