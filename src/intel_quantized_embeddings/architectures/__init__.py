"""What a BERT is, once: its configuration, its weights, and where the families differ."""

from intel_quantized_embeddings.architectures.config import Activation, EncoderConfig, Family, exported_limits
from intel_quantized_embeddings.architectures.heads import ScoringHead, load_head
from intel_quantized_embeddings.architectures.weights import (
    EncoderWeights,
    LayerWeights,
    Linear,
    Norm,
    load_weights,
)

__all__ = [
    "Activation",
    "EncoderConfig",
    "EncoderWeights",
    "Family",
    "LayerWeights",
    "Linear",
    "Norm",
    "ScoringHead",
    "exported_limits",
    "load_head",
    "load_weights",
]
