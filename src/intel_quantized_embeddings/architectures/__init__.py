"""Descriptions of encoders, one for each family, and readers of configurations and weights that follow them."""

from intel_quantized_embeddings.architectures.config import EncoderConfig, exported_limits, hidden_size
from intel_quantized_embeddings.architectures.description import Activation
from intel_quantized_embeddings.architectures.ending import Dense, Ending, LayerNorm, StepActivation, UnitLength
from intel_quantized_embeddings.architectures.heads import load_head, load_next_token
from intel_quantized_embeddings.architectures.weights import (
    EncoderWeights,
    LayerWeights,
    Linear,
    Norm,
    load_weights,
)

__all__ = [
    "Activation",
    "Dense",
    "EncoderConfig",
    "EncoderWeights",
    "Ending",
    "LayerNorm",
    "LayerWeights",
    "Linear",
    "Norm",
    "StepActivation",
    "UnitLength",
    "exported_limits",
    "hidden_size",
    "load_head",
    "load_next_token",
    "load_weights",
]
