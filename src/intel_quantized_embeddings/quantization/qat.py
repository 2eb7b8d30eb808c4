"""Quantization-aware training: weights that lose less when they are rounded, learned from unlabelled texts.

The linear layers are rounded in every pass as static int8 rounds them, and the weights fine-tuned to give the
vectors of the fp32 model again; gradients pass straight through the rounding (Jacob et al.,
https://arxiv.org/abs/1712.05877). The tuned weights are then quantized like any others, on either runtime.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from intel_quantized_embeddings.architectures import (
    EncoderConfig,
    EncoderWeights,
    LayerWeights,
    Linear,
    Norm,
    load_weights,
)
from intel_quantized_embeddings.architectures.torch_encoder import LINEAR_LAYERS, EncoderLayer, TorchEmbedder
from intel_quantized_embeddings.encoding.batching import padded
from intel_quantized_embeddings.errors import QuantizationError, UnsupportedModelError
from intel_quantized_embeddings.int8_folder.config import ActivationRanges
from intel_quantized_embeddings.int8_folder.record import Training
from intel_quantized_embeddings.models.endings import load_ending
from intel_quantized_embeddings.models.weight_files import WeightKind
from intel_quantized_embeddings.quantization.calibration import Texts, built_in_texts, split
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.quantization.smooth_quant import largest_inputs, smoothing_factors
from intel_quantized_embeddings.quantization.subject import Candidate, Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Compared on MiniLM: at 2e-5 texts unlike those trained on get worse while the others get
# better, and at 1e-4 all of them get worse.
LEARNING_RATE = 7e-6
MOST_STEPS = 120
FEWEST_STEPS = 20
_WARM_UP_STEPS = 10

_TOKENS_A_STEP = 1024
_TIMED_STEPS = 5
_SAID_EVERY = 20


def trained(
    subject: Subject, static: Candidate, *, minutes: float, say: Callable[[str], object]
) -> tuple[Subject, Candidate, Training]:
    """Fine-tune the weights so that rounding them changes the vectors less, and quantize them.

    It learns from the texts that are not held out and from the package's own, so that texts unlike the caller's are not
    forgotten. `static` is the result with the weights as they are; fewer steps are planned if they would take longer
    than `minutes`.

    Raises:
        QuantizationError: There is too little time, or the result is not more faithful.
        UnsupportedModelError: The model is an export, whose weights are not known by name.
    """
    source = subject.source
    if source.weights.kind is not WeightKind.SAFETENSORS:
        raise UnsupportedModelError(
            f"{source.name} is an export, and method='qat' fine-tunes weights read from model.safetensors; take "
            f"method='static' or the model that it was made from."
        )
    config = EncoderConfig.from_hf(source.config, where=source.name)
    texts = _texts_to_learn_from(subject)
    say(f"  training on {len(texts)} texts, at most {minutes:g} minutes")
    weights, steps = _tune(subject, config, texts, static.recipe, minutes=minutes, say=say)
    tuned = subject.with_weights(config, weights)
    attempt = tuned.attempt(static.recipe)
    before, after = static.fidelity.score, attempt.fidelity.score
    say(f"  mean cosine: {after:.4f}, {before:.4f} without training")
    if after <= before:
        raise QuantizationError(
            f"training made int8 of {source.name} no more faithful: mean cosine {after:.4f} on the texts held out, "
            f"{before:.4f} without. Take method='static', or give more texts like yours to learn from."
        )
    return tuned, attempt, Training(texts=len(texts), steps=steps, score_before=before, score_after=after)


def _texts_to_learn_from(subject: Subject) -> list[Sequence[int]]:
    given, own, held_out = subject.texts.trainable, split(built_in_texts()).trainable, subject.texts.held_out
    return subject.tokenized(
        Texts(
            documents=_without(held_out.documents, (*given.documents, *own.documents)),
            queries=_without(held_out.queries, (*given.queries, *own.queries)),
        )
    )


def _without(held_out: Sequence[str], texts: Sequence[str]) -> tuple[str, ...]:
    """Each once, in their order."""
    return tuple(text for text in dict.fromkeys(texts) if text not in held_out)


def _tune(
    subject: Subject,
    config: EncoderConfig,
    texts: Sequence[Sequence[int]],
    recipe: Recipe,
    *,
    minutes: float,
    say: Callable[[str], object],
) -> tuple[EncoderWeights, int]:
    """Return the tuned weights, and the number of steps."""
    pad, weights = config.pad_token_id, load_weights(subject.source.path, config)
    ending = load_ending(subject.source.path, subject.text_settings)
    teacher, student = TorchEmbedder(config, weights, ending), TorchEmbedder(config, weights, ending)
    _round_layers(student, [_padded([ids], pad) for ids in subject.calibrated], recipe)
    with torch.enable_grad():
        steps = _train(student, teacher, texts, pad=pad, minutes=minutes, say=say)
    layers = tuple(_layer_weights(layer) for layer in student.layers)
    return replace(weights, layers=layers), steps


def _train(
    student: TorchEmbedder,
    teacher: TorchEmbedder,
    texts: Sequence[Sequence[int]],
    *,
    pad: int,
    minutes: float,
    say: Callable[[str], object],
) -> int:
    """Match the teacher's vectors; return the number of steps."""
    learned = [parameter for layer in student.layers for parameter in layer.parameters()]
    for parameter in learned:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(learned, lr=LEARNING_RATE)
    batches, order = _batches(texts), random.Random(0)
    queue: list[list[Sequence[int]]] = []
    steps, taken, losses = MOST_STEPS, 0, []
    started = time.perf_counter()
    while taken < steps and (taken < _TIMED_STEPS or time.perf_counter() - started < 60 * minutes):
        if not queue:
            queue = order.sample(batches, len(batches))
        inputs = _padded(queue.pop(), pad)
        with torch.no_grad():
            target = teacher(*inputs)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _rate(taken, steps)
        loss = (1 - functional.cosine_similarity(student(*inputs), target)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        taken += 1
        losses.append(loss.item())
        if taken == _TIMED_STEPS:
            steps = _steps_in(minutes, (time.perf_counter() - started) / taken)
        if taken % _SAID_EVERY == 0 or taken == steps:
            seen = losses[-_SAID_EVERY:]
            say(f"  step {taken} of {steps}: {sum(seen) / len(seen):.5f} off fp32's vectors")
    return taken


def _batches(texts: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """Yield batches of texts of similar length, larger than the encoder's, so that a step learns from several texts."""
    batches: list[list[Sequence[int]]] = [[]]
    for ids in sorted(texts, key=len):
        if batches[-1] and (len(batches[-1]) + 1) * len(ids) > _TOKENS_A_STEP:
            batches.append([])
        batches[-1].append(ids)
    return batches


def _steps_in(minutes: float, seconds_a_step: float) -> int:
    """Return the number of steps to take; too few are a QuantizationError."""
    steps = min(MOST_STEPS, int(60 * minutes / seconds_a_step))
    if steps < FEWEST_STEPS:
        raise QuantizationError(
            f"qat_minutes={minutes:g} is enough for {steps} steps of {seconds_a_step:.1f} s, and {FEWEST_STEPS} are "
            f"the fewest that help: allow {math.ceil(FEWEST_STEPS * seconds_a_step / 60)} minutes or more, or take "
            f"method='static'."
        )
    return steps


def _rate(step: int, steps: int) -> float:
    """Return the share of the learning rate: rising at first, then falling like a cosine."""
    return min(1.0, (step + 1) / _WARM_UP_STEPS) * (1 + math.cos(math.pi * step / steps)) / 2


def _round_layers(model: TorchEmbedder, inputs: Sequence[tuple[Tensor, Tensor]], recipe: Recipe) -> None:
    """Replace every linear layer that the recipe makes int8 by a rounding one."""
    largest = {} if recipe.alpha is None else largest_inputs(model, inputs)
    rounded = []
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, EncoderLayer)
        factors = {} if recipe.alpha is None else smoothing_factors(layer, largest, alpha=recipe.alpha)
        for name in LINEAR_LAYERS:
            if f"layer.{number}.{name}" not in recipe.floating_point_layers:
                linear = getattr(layer, name)
                rounded.append(_RoundedLinear(linear, factors.get(linear), weight_bits=recipe.weight_bits or 8))
                setattr(layer, name, rounded[-1])
    with torch.no_grad():
        for one in inputs:
            model(*one)
    for module in rounded:
        module.fix_range(recipe.activation_ranges)


class _RoundedLinear(nn.Module):
    """A linear layer as static int8 computes it, its weights still in fp32.

    Weights have a symmetric range for each output channel, inputs one for all, which may be asymmetric. Nothing is
    rounded until the latter is fixed from the inputs seen.
    """

    def __init__(self, linear: nn.Linear, factors: Tensor | None, *, weight_bits: int) -> None:
        super().__init__()
        self.linear = linear
        self._largest = 2 ** (weight_bits - 1) - 1
        self._factors = torch.ones(linear.in_features) if factors is None else factors
        self._extremes: list[tuple[float, float]] = []
        self._range: tuple[float, int] | None = None

    def fix_range(self, ranges: ActivationRanges | None) -> None:
        """Round from now on, in the range that the quantizer would set from the inputs seen."""
        lows, highs = zip(*self._extremes, strict=True)
        low, high = (fmean(lows), fmean(highs)) if ranges is ActivationRanges.MEAN else (min(lows), max(highs))
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max(high - low, 1e-8) / 255
        self._range = scale, round(-low / scale)

    def forward(self, inputs: Tensor) -> Tensor:
        smoothed = inputs / self._factors
        if self._range is None:
            self._extremes.append((float(smoothed.min()), float(smoothed.max())))
            return functional.linear(inputs, self.linear.weight, self.linear.bias)
        rounded = torch.fake_quantize_per_tensor_affine(smoothed, *self._range, 0, 255)
        weight = self.linear.weight * self._factors
        scales = weight.detach().abs().amax(dim=1).clamp(min=1e-8) / self._largest
        zero_points = torch.zeros(len(scales), dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(weight, scales, zero_points, 0, -self._largest, self._largest)
        return functional.linear(rounded, weight, self.linear.bias)


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Return ids and mask, each (texts, length of the longest)."""
    ids, mask = padded(rows, pad_token_id=pad)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def _layer_weights(layer: nn.Module) -> LayerWeights:
    def linear(name: str) -> Linear:
        module = getattr(layer, name)
        module = module.linear if isinstance(module, _RoundedLinear) else module
        return Linear(_array(module.weight), _array(module.bias))

    def norm(name: str) -> Norm:
        module = getattr(layer, name)
        return Norm(_array(module.weight), _array(module.bias))

    return LayerWeights(
        query=linear("query"),
        key=linear("key"),
        value=linear("value"),
        attention_output=linear("attention_output"),
        attention_norm=norm("attention_norm"),
        intermediate=linear("intermediate"),
        output=linear("output"),
        output_norm=norm("output_norm"),
    )


def _array(parameter: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = parameter.detach().numpy()
    return array
