"""Descriptions of encoders, one for each family, and readers of configurations and weights that follow them."""

from intel_quantized_embeddings.architectures.config import EncoderConfig, exported_limits, hidden_size
from intel_quantized_embeddings.architectures.description import Activation
from intel_quantized_embeddings.architectures.ending import (
    Dense,
    Ending,
    LayerNorm,
    SparseEnding,
    SparsePooling,
    StepActivation,
    TokenWeights,
    UnitLength,
    VocabularyEnding,
)
from intel_quantized_embeddings.architectures.heads import load_head, load_next_token
from intel_quantized_embeddings.architectures.layers import EncoderWeights, LayerWeights, Linear, Norm, Recall
from intel_quantized_embeddings.architectures.masked_lm import load_masked_lm
from intel_quantized_embeddings.architectures.table import takes_more, text_part
from intel_quantized_embeddings.architectures.token_weights import TOKEN_WEIGHTS_FILE, load_token_weights
from intel_quantized_embeddings.architectures.weights import load_weights

__all__ = [
    "TOKEN_WEIGHTS_FILE",
    "Activation",
    "Dense",
    "EncoderConfig",
    "EncoderWeights",
    "Ending",
    "LayerNorm",
    "LayerWeights",
    "Linear",
    "Norm",
    "Recall",
    "SparseEnding",
    "SparsePooling",
    "StepActivation",
    "TokenWeights",
    "UnitLength",
    "VocabularyEnding",
    "exported_limits",
    "hidden_size",
    "load_head",
    "load_masked_lm",
    "load_next_token",
    "load_token_weights",
    "load_weights",
    "takes_more",
    "text_part",
]
