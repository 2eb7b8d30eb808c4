"""Readers of keys of `config.json` that several families share: windows, rotary positions and biases."""

from __future__ import annotations

from intel_quantized_embeddings.architectures.config_values import ConfigValues
from intel_quantized_embeddings.architectures.description import LayerKind, Part, Rotary

# Kinds of layers, as `layer_types` names them.
FULL, SLIDING = "full_attention", "sliding_attention"

_BIASES = {
    "attention_bias": (Part.QKV, Part.ATTENTION_OUTPUT),
    "mlp_bias": (Part.INTERMEDIATE, Part.OUTPUT),
    "norm_bias": (Part.NORM,),
}


def read_biases(config: ConfigValues) -> frozenset[Part]:
    """Return the parts to which `attention_bias`, `mlp_bias` and `norm_bias` give biases; none without these keys."""
    return frozenset(part for key, parts in _BIASES.items() if config.flag(key, default=False) for part in parts)


def read_rotary(parameters: ConfigValues, *, default: float) -> Rotary:
    """Return the rotary positions that an object describes.

    Args:
        parameters: An object with `rope_theta`, `rope_type` and that type's parameters; before transformers 5 the
            latter were in an object of their own, `rope_scaling`.
        default: The base if it has none.

    Raises:
        UnsupportedModelError: Positions are scaled in a way that is not built in, or turn only part of a head.
        DamagedFilesError: A value is not a number.
    """
    scaling = parameters if parameters.named("rope_scaling") is None else parameters.section("rope_scaling")
    kind = scaling.named("rope_type") or scaling.named("type") or "default"
    base = parameters.positive("rope_theta", default=default)
    part = parameters.named("partial_rotary_factor")
    if part not in (None, 1):
        raise parameters.refuse(f"has partial_rotary_factor={part!r}; only 1 is built in: all of a head is turned.")
    if kind == "default":
        return Rotary(base)
    if kind == "ntk" and scaling.named("mixed_b") is None:
        if "factor" not in scaling:
            raise scaling.damaged("scales rotary positions by 'ntk' and gives no factor.")
        return Rotary(base, ntk=scaling.positive("factor", default=1.0))
    raise parameters.refuse(f"scales rotary positions by {kind!r}; built in are 'default' and 'ntk'.")


def rotary_everywhere(config: ConfigValues, *, default: float) -> tuple[LayerKind, ...]:
    """Return layers that see all tokens and share one kind of rotary positions, in both spellings."""
    return (LayerKind(rotary=_top_level_rotary(config, default=default)),) * config.layers("num_hidden_layers")


def decoder_layers(config: ConfigValues, *, default: float) -> tuple[LayerKind, ...]:
    """Return a decoder's layers: causal unless `is_causal` is false, some with a window.

    `layer_types` says which; before transformers 5 the layers from the `max_window_layers`-th on.

    Raises:
        UnsupportedModelError: `layer_types` names a window that the other keys switch off.
    """
    count = config.layers("num_hidden_layers")
    names = config.names("layer_types", known=(FULL, SLIDING), count=count)
    windows = config.flag("use_sliding_window", default=False) and config.named("sliding_window") is not None
    if names is None:
        whole = config.whole("max_window_layers", default=28) if windows else count
        names = tuple(FULL if i < whole else SLIDING for i in range(count))
    rotary = _top_level_rotary(config, default=default)
    causal = config.flag("is_causal", default=True)
    after = 0 if causal else None
    kinds = {FULL: LayerKind(after=after, rotary=rotary)}
    if SLIDING in names:
        if not windows:
            raise config.refuse(
                f"has {SLIDING} in layer_types, and use_sliding_window is not true or sliding_window is null, which "
                f"transformers can't run either. Set use_sliding_window to true and sliding_window to the window that "
                f"the model was trained with, or every layer to {FULL}."
            )
        window = config.size("sliding_window")
        # A causal window of n tokens includes the token itself; otherwise transformers takes n on both sides.
        kinds[SLIDING] = LayerKind(
            before=window - 1 if causal else window, after=0 if causal else window, rotary=rotary
        )
    return tuple(kinds[name] for name in names)


def _top_level_rotary(config: ConfigValues, *, default: float) -> Rotary:
    """Return `rope_parameters`, or the same from the keys of older files."""
    if config.named("rope_parameters") is None:
        return read_rotary(config, default=default)
    if config.named("rope_scaling") is not None:
        raise config.refuse("has both rope_parameters and rope_scaling, and only one of them can hold.")
    return read_rotary(config.section("rope_parameters"), default=config.positive("rope_theta", default=default))
