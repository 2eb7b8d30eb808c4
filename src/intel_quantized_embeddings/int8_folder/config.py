"""`QuantizationConfig`: settings of quantization in Python, in a YAML file, and in a folder's manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError


class MethodName(str, Enum):
    """The method of quantization.

    STATIC sets the ranges of activations once, from calibration texts, DYNAMIC for every batch, PER_TOKEN (the native
    engine's) for every token. WEIGHT_ONLY leaves activations in floating point. QAT (quantization-aware training)
    fine-tunes the weights, then does as STATIC.
    """

    STATIC = "static"
    DYNAMIC = "dynamic"
    WEIGHT_ONLY = "weight-only"
    QAT = "qat"
    PER_TOKEN = "per-token"


# Methods whose ranges are not set from calibration texts.
WITHOUT_CALIBRATION = (MethodName.DYNAMIC, MethodName.WEIGHT_ONLY, MethodName.PER_TOKEN)


class ActivationRanges(str, Enum):
    """The rule by which the extremes of each calibration text give the range of an activation."""

    MEAN = "mean"
    WIDEST = "widest"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationConfig:
    """Settings of quantization. The keys of a YAML file (`read_config`) are these names.

    Attributes:
        method: "static"; "per-token", which is the native runtime's; "dynamic": more faithful than static, slower, and
            the same text gets a slightly different vector in another batch; "weight-only": nearest to fp32, in a
            quarter of the memory, and no faster than fp32; or "qat": static after fine-tuning the weights, more
            faithful and as fast, which takes minutes and torch. None is "per-token" for runtime "native" and "static"
            for others; on OpenVINO "weight-only" if static is measured to be too far from fp32.
        smooth_quant: SmoothQuant's strengths to compare, each in [0, 1] or None (`off` in YAML) for none; the most
            faithful is kept. None compares the usual ones.
        activation_ranges: "mean" of the texts' extremes or the "widest" of them (IPEX has only that). None is the
            runtime's default: docs/quantization.md.
        floating_point_layers: Linear layers to leave in floating point: `layer.5.output`, or `layer.5` for all of
            its linear layers.
        max_drop: The largest loss allowed against fp32, as a share; None is no limit.
        qat_minutes: Limit of fine-tuning.
        weight_bits: 8, or 7, which is a little less faithful but exact on every CPU; sums of 8 saturate without VNNI.
            None is 8 on CPUs with VNNI or AMX and 7 on others (IPEX has only 8).

    Raises:
        OptionError: A value is not allowed.
    """

    method: str | None = None
    smooth_quant: tuple[float | None, ...] | None = None
    activation_ranges: str | None = None
    floating_point_layers: tuple[str, ...] = ()
    max_drop: float | None = None
    qat_minutes: float | None = None
    weight_bits: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None or field.default is not None:
                # The class is frozen; a list becomes a tuple, and `off` of YAML None.
                object.__setattr__(self, field.name, _CHECKS[field.name](field.name, value))
        if self.method in [method.value for method in WITHOUT_CALIBRATION]:
            for key in ("smooth_quant", "activation_ranges", "weight_bits"):
                if getattr(self, key) is not None:
                    raise OptionError(
                        f"{key} is of methods 'static' and 'qat'; {self.method!r} has none. Leave it out."
                    )
        if self.qat_minutes is not None and self.method != MethodName.QAT.value:
            asked = f"this is {self.method!r}" if self.method else "none is given"
            raise OptionError(f"qat_minutes is of method 'qat', and {asked}. Give both or neither.")

    @staticmethod
    def from_mapping(content: Mapping[str, Any], *, where: str) -> QuantizationConfig:
        """Take settings from a file's keys and values; `where` names the file in an OptionError."""
        for key in content:
            if key not in _CHECKS:
                raise OptionError(f"{where}: there is no setting {key!r}; there are {', '.join(_CHECKS)}.")
        try:
            return QuantizationConfig(**content)
        except OptionError as exc:
            raise OptionError(f"{where}: {exc}") from exc

    def to_mapping(self) -> dict[str, Any]:
        """Return the mapping that `from_mapping` takes, without keys at their default."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }


def read_config(file: Path) -> QuantizationConfig:
    """Read a YAML file of settings.

    Raises:
        ModelFilesError: There is no such file.
        DamagedFilesError: It is not YAML.
        OptionError: A key or a value is not allowed; the message names the file, both, and the allowed ones.
    """
    import yaml

    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except FileNotFoundError as exc:
        raise ModelFilesError(f"no file of settings {file}.") from exc
    except (yaml.YAMLError, ValueError, RecursionError, IsADirectoryError) as exc:  # ValueError: a number like 0x_
        raise DamagedFilesError(f"{file} is not a YAML file: {exc}") from exc
    if not isinstance(content, dict | None):
        raise OptionError(f"{file}: settings such as `smooth_quant: [0.85, off]` are expected, not {content!r}.")
    return QuantizationConfig.from_mapping(content or {}, where=str(file))


def _one_of(kind: type[Enum], key: str, value: Any) -> str:
    try:
        return str(kind(value).value)
    except ValueError as exc:
        raise _not_allowed(key, value, " or ".join(repr(name.value) for name in kind)) from exc


def _strengths(key: str, value: Any) -> tuple[float | None, ...]:
    allowed = "a list of different strengths, each a number from 0 to 1 or off, such as [0.85, off]"
    if not isinstance(value, list | tuple) or not value:
        raise _not_allowed(key, value, allowed)
    # YAML reads `off` as False.
    strengths = tuple(None if item is None or item is False or item == "off" else item for item in value)
    if not all(item is None or _is_share(item) for item in strengths) or len(set(strengths)) < len(strengths):
        raise _not_allowed(key, value, allowed)
    return tuple(None if item is None else float(item) for item in strengths)


def _layers(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise _not_allowed(key, value, "a list of layers such as [layer.5.output]")
    return tuple(dict.fromkeys(value))


def _drop(key: str, value: Any) -> float:
    if not _is_share(value) or value == 1:
        raise _not_allowed(key, value, "a share below 1, such as 0.01 for 1 %")
    return float(value)


def _minutes(key: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise _not_allowed(key, value, "a number of minutes above 0, such as 10")
    return float(value)


def _bits(key: str, value: Any) -> int:
    if isinstance(value, bool) or value not in (7, 8):
        raise _not_allowed(key, value, "7 or 8")
    return int(value)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _not_allowed(key: str, value: Any, allowed: str) -> OptionError:
    return OptionError(f"{key}={value!r} is not allowed; it is {allowed}.")


# By key, the function that checks a value and returns it in the form that is kept. None stays if it is the default.
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "method": partial(_one_of, MethodName),
    "smooth_quant": _strengths,
    "activation_ranges": partial(_one_of, ActivationRanges),
    "floating_point_layers": _layers,
    "max_drop": _drop,
    "qat_minutes": _minutes,
    "weight_bits": _bits,
}
