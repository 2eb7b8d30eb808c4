"""Arguments and files of settings -> the recipe that a quantizer follows."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.int8_folder.config import (
    WITHOUT_CALIBRATION,
    ActivationRanges,
    MethodName,
    QuantizationConfig,
    read_config,
)
from intel_quantized_embeddings.int8_folder.record import Choice, Method
from intel_quantized_embeddings.options import RuntimeName, require_bool
from intel_quantized_embeddings.quantization.recipe import ALPHAS, DEFAULT_ALPHA, QuantizerModule, Recipe


def settle_config(
    given: QuantizationConfig | str | os.PathLike[str] | None,
    *,
    method: str | None,
    search: bool,
    max_drop: float | None = None,
    qat_minutes: float | None = None,
    weight_bits: int | None = None,
    measure: bool = True,
) -> QuantizationConfig:
    """Return the settings asked for; an argument overrides a file."""
    require_bool("search", search)
    require_bool("measure", measure)
    if isinstance(given, QuantizationConfig | None):
        config = given or QuantizationConfig()
    elif isinstance(given, (str, os.PathLike)):
        config = read_config(Path(given).expanduser())
    else:
        raise OptionError(f"config={given!r} is not allowed; it is a QuantizationConfig or the path of a YAML file.")
    asked: dict[str, Any] = {
        "method": method,
        "qat_minutes": qat_minutes,
        "weight_bits": weight_bits,
        "max_drop": max_drop,
    }
    config = replace(config, **{name: value for name, value in asked.items() if value is not None})
    if not measure:
        _refuse_what_needs_measuring(config)
    if search or config.method in [method.value for method in WITHOUT_CALIBRATION]:  # no strengths to compare
        return config
    if config.smooth_quant is not None:
        raise OptionError(
            f"search=False (--no-search) takes the usual SmoothQuant strength, and the settings say "
            f"smooth_quant={list(config.smooth_quant)}; leave one of them out."
        )
    return replace(config, smooth_quant=(DEFAULT_ALPHA,))


def refuse_of_embedders(config: QuantizationConfig) -> None:
    """Check that a configuration asks for nothing that only embedding models have; an OptionError names it."""
    if config.max_drop is not None:
        raise OptionError(f"max_drop={config.max_drop} is for models that make embeddings; leave it out here.")
    if config.method == MethodName.QAT.value:
        raise OptionError(f"method={config.method!r} is for models that make embeddings; leave it out.")


def _refuse_what_needs_measuring(config: QuantizationConfig) -> None:
    if config.max_drop is not None:
        raise OptionError(
            f"measure=False (--no-measure) leaves max_drop={config.max_drop} nothing to be held against; leave one out."
        )
    if config.method == MethodName.QAT.value:
        raise OptionError("measure=False (--no-measure) leaves method='qat' nothing to be judged by; leave one out.")


def settle_recipe(
    config: QuantizationConfig, quantizer: QuantizerModule, *, one_row: bool, measure: bool = True
) -> tuple[Recipe, tuple[float | None, ...]]:
    """Return the recipe that follows from the settings before the model is opened, and the strengths to compare."""
    method = quantizer.METHODS[0] if config.method is None else MethodName(config.method)
    if method not in quantizer.METHODS:
        able = (RuntimeName.NATIVE if method is MethodName.PER_TOKEN else RuntimeName.OPENVINO).value
        raise OptionError(
            f"method={config.method!r} is not available with this runtime, whose quantizer does "
            f"{', '.join(repr(method.value) for method in quantizer.METHODS)}. "
            f"Pass runtime={able!r} for it (docs/quantization.md)."
        )
    if method in WITHOUT_CALIBRATION:
        given = [
            key for key in ("smooth_quant", "activation_ranges", "weight_bits") if getattr(config, key) is not None
        ]
        if given and config.smooth_quant != (DEFAULT_ALPHA,):  # search=False sets this one
            raise OptionError(
                f"{', '.join(given)}: method {method.value!r} has no such settings. Leave them out, or pass "
                f"runtime='openvino'."
            )
        return Recipe(method=method), (None,)
    ranges = config.activation_ranges and ActivationRanges(config.activation_ranges)
    ranges = quantizer.activation_ranges(ranges or None, one_row=one_row)
    bits = quantizer.weight_bits(config.weight_bits)
    recipe = Recipe(method=method, activation_ranges=ranges, weight_bits=bits)
    strengths = ALPHAS if config.smooth_quant is None else config.smooth_quant
    if not measure and len(strengths) > 1:
        raise OptionError(
            f"measure=False (--no-measure) leaves nothing to compare the SmoothQuant strengths {list(strengths)} by: "
            f"pass search=False (--no-search) too, or quantize for runtime='native', which has none."
        )
    return recipe, strengths


def method_of(
    recipe: Recipe, *, alphas_tried: dict[str, float], quantizer: QuantizerModule, choice: Choice | None = None
) -> Method:
    """Return the manifest's record of a recipe."""
    return Method(
        name=recipe.method.value,
        smooth_quant_alpha=recipe.alpha,
        alphas_tried=alphas_tried,
        attention=quantizer.attention_precision(),
        activation_ranges=recipe.activation_ranges and recipe.activation_ranges.value,
        floating_point_layers=recipe.floating_point_layers,
        weight_bits=recipe.weight_bits,
        choice=choice,
    )
