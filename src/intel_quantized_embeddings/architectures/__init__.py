"""What an encoder is, once: one description a family, and what reads configurations and weights by it."""

from intel_quantized_embeddings.architectures.config import EncoderConfig, exported_limits
from intel_quantized_embeddings.architectures.description import Activation
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
    "LayerWeights",
    "Linear",
    "Norm",
    "ScoringHead",
    "exported_limits",
    "load_head",
    "load_weights",
]
