"""SmoothQuant on the torch encoder: move outliers from activations into weights before quantizing.

Xiao et al., https://arxiv.org/abs/2211.10438. Neural Compressor's own needs peft, and slices into modules that
an encoder here does not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intel_quantized_embeddings.architectures.torch_encoder import EncoderLayer, TorchEmbedder

_SMALLEST = 1e-5


def smooth(model: TorchEmbedder, inputs: Sequence[tuple[Tensor, Tensor]], *, alpha: float) -> None:
    """Rescale the inputs of every linear layer; what the model computes in fp32 stays the same.

    Channel j of an input is divided by max|X_j|^alpha / max|W_j|^(1 - alpha), equation 4 of the paper, and column j of
    the weights multiplied by it.

    Args:
        model: Changed in place.
        inputs: Calibration batches, which give max|X_j|.
        alpha: SmoothQuant's strength in [0, 1].
    """
    largest = _largest_inputs(model, inputs)
    for layer in model.layers:
        assert isinstance(layer, EncoderLayer)
        for first, linears in _sharing_an_input(layer).items():
            factors = _factors(largest[linears[0]], linears, alpha)
            for linear in linears:
                linear.weight.data = linear.weight * factors
            if first == "attention_output":
                # Attention averages values channel by channel, so its output is scaled where values are made.
                layer.value.weight.data = layer.value.weight / factors[:, None]
                layer.value.bias.data = layer.value.bias / factors
            else:
                layer.scales[first] = nn.Parameter(1 / factors, requires_grad=False)


def _sharing_an_input(layer: EncoderLayer) -> dict[str, list[nn.Linear]]:
    """Linear layers by the name of the first that reads the same input."""
    return {
        "query": [layer.query, layer.key, layer.value],
        "attention_output": [layer.attention_output],
        "intermediate": [layer.intermediate],
        "output": [layer.output],
    }


def _factors(largest: Tensor, linears: Sequence[nn.Linear], alpha: float) -> Tensor:
    weights = torch.stack([linear.weight.abs().amax(dim=0) for linear in linears]).amax(dim=0)
    factors: Tensor = largest.clamp(min=_SMALLEST) ** alpha / weights.clamp(min=_SMALLEST) ** (1 - alpha)
    return factors.clamp(min=_SMALLEST)


def _largest_inputs(model: TorchEmbedder, inputs: Sequence[tuple[Tensor, Tensor]]) -> dict[nn.Module, Tensor]:
    """The largest magnitude of each channel of each linear layer's input. Shape: (in,)."""
    largest: dict[nn.Module, Tensor] = {}

    def see(linear: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen = given[0].float().abs().amax(dim=(0, 1))
        largest[linear] = torch.maximum(largest[linear], seen) if linear in largest else seen

    hooks = [module.register_forward_pre_hook(see) for module in model.modules() if isinstance(module, nn.Linear)]
    try:
        for one in inputs:
            model(*one)
    finally:
        for hook in hooks:
            hook.remove()
    return largest
