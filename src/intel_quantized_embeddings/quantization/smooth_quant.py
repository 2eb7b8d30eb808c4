"""SmoothQuant on the torch encoder: move outliers from activations into weights before quantizing.

Xiao et al., https://arxiv.org/abs/2211.10438. Neural Compressor's own needs peft, and modules that an
encoder here does not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from intel_quantized_embeddings.architectures.torch_encoder import EncoderLayer, TorchEmbedder

_SMALLEST = 1e-5


def smooth(model: TorchEmbedder, inputs: Sequence[tuple[Tensor, Tensor]], *, alpha: float) -> None:
    """Rescale the inputs of every linear layer in place, without changing the model's results in fp32.

    `inputs` are calibration batches, which give max|X_j|; `alpha` is SmoothQuant's strength in [0, 1].
    """
    largest = largest_inputs(model, inputs)
    for layer in model.layers:
        assert isinstance(layer, EncoderLayer)
        factors = smoothing_factors(layer, largest, alpha=alpha)
        for first, linears in _sharing_an_input(layer).items():
            shared = factors[linears[0]]
            for linear in linears:
                linear.weight.data = linear.weight * shared
            if first == "attention_output":
                # Attention averages values channel by channel, so the layer of values scales its output.
                layer.value.weight.data = layer.value.weight / shared[:, None]
                layer.value.bias.data = layer.value.bias / shared
            else:
                layer.scales[first] = nn.Parameter(1 / shared, requires_grad=False)


def smoothing_factors(
    layer: EncoderLayer, largest: Mapping[nn.Module, Tensor], *, alpha: float
) -> dict[nn.Module, Tensor]:
    """Return a factor for each input channel: activations are divided by it, columns of the weights multiplied.

    For channel j max|X_j|^alpha / max|W_j|^(1 - alpha), equation 4 of the paper; layers that read one input share it.
    By linear layer, of which `largest_inputs` tells `largest`. Shape: (in,).
    """
    factors: dict[nn.Module, Tensor] = {}
    for linears in _sharing_an_input(layer).values():
        weights = torch.stack([linear.weight.abs().amax(dim=0) for linear in linears]).amax(dim=0)
        shared = largest[linears[0]].clamp(min=_SMALLEST) ** alpha / weights.clamp(min=_SMALLEST) ** (1 - alpha)
        factors.update(dict.fromkeys(linears, shared.clamp(min=_SMALLEST)))
    return factors


def largest_inputs(model: TorchEmbedder, inputs: Sequence[tuple[Tensor, Tensor]]) -> dict[nn.Module, Tensor]:
    """Return the largest magnitude of each channel of each linear layer's input over some batches. Shape: (in,)."""
    largest: dict[nn.Module, Tensor] = {}

    def see(linear: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen = given[0].float().abs().amax(dim=(0, 1))
        largest[linear] = torch.maximum(largest[linear], seen) if linear in largest else seen

    hooks = [module.register_forward_pre_hook(see) for module in model.modules() if isinstance(module, nn.Linear)]
    try:
        with torch.no_grad():
            for one in inputs:
                model(*one)
    finally:
        for hook in hooks:
            hook.remove()
    return largest


def _sharing_an_input(layer: EncoderLayer) -> dict[str, list[nn.Linear]]:
    """Group linear layers by the name of the first one that reads the same input."""
    return {
        "query": [layer.query, layer.key, layer.value],
        "attention_output": [layer.attention_output],
        "intermediate": [layer.intermediate],
        "output": [layer.output],
    }
