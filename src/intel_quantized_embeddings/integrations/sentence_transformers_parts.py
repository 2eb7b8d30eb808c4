"""Common parts of classes with sentence-transformers' methods: refused arguments, tensors, evaluators' results."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.vectors import to_binary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

# The keys of `start_multi_process_pool`'s result.
_POOL: dict[str, Any] = {"input": None, "output": None, "processes": []}

logger = logging.getLogger(__name__)

# Fewer vectors than these give poor ranges for int8; sentence-transformers warns below the same number.
_FEW_FOR_RANGES = 100


class NotHereError(OptionError, AttributeError):
    """An attribute of a SentenceTransformer that is missing here; an AttributeError, so that `hasattr` says False."""


class OnTheCPU:
    """Methods of a torch module that have no effect here."""

    training = False

    @property
    def device(self) -> Any:
        """The CPU, as torch's device if torch is installed."""
        if not has_torch():
            return "cpu"
        import torch

        return torch.device("cpu")

    def evaluate(self, evaluator: Any, output_path: str | None = None) -> Any:
        """Run an evaluator of sentence-transformers, and return its scores."""
        return evaluator(self, output_path)

    def start_multi_process_pool(self, target_devices: Any = None) -> dict[str, Any]:
        """Return a pool for `encode`, which needs no other processes: each call has all cores."""
        check_device(target_devices)
        return dict(_POOL)

    @staticmethod
    def stop_multi_process_pool(pool: dict[str, Any]) -> None:
        """Stop nothing."""

    def to(self, device: Any = None, *_: Any, **__: Any) -> Self:
        """Stay on the CPU: another device is an OptionError."""
        check_device(device)
        return self

    def cpu(self) -> Self:
        """Stay on the CPU."""
        return self

    def eval(self) -> Self:
        """Return the model itself: nothing here is trained."""
        return self

    def __getattr__(self, name: str) -> NoReturn:
        raise NotHereError(
            f"{type(self).__name__} has no attribute {name!r}: it encodes and compares. What trains, saves or looks "
            f"into the layers of a model needs sentence-transformers' own class."
        )


def refuse_others(given: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]], *, method: str) -> None:
    """Refuse unknown arguments of a method, and values other than those in `allowed`, which have no effect."""
    for name, value in given.items():
        if name not in allowed:
            raise OptionError(f"{name}={value!r} is not an argument of {method}.")
        if not any(value is one or (isinstance(value, str) and value == one) for one in allowed[name]):
            values = " or ".join(map(repr, allowed[name]))
            raise OptionError(f"{name}={value!r} is not available here; only {values}, or leave it out.")


def check_device(device: Any) -> None:
    """Check that a device, or each of several, is the CPU, all of whose cores work on a call anyway."""
    for one in device if isinstance(device, (list, tuple)) else [device]:
        if one is not None and str(one) not in ("cpu", "cpu:0"):  # torch.device("cpu") is "cpu"
            raise OptionError(f"device={device!r} is not available here; only 'cpu' or None, or leave it out.")


def has_torch() -> bool:
    """Return whether torch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


def need_torch() -> None:
    """Check that a tensor can be made."""
    if not has_torch():
        raise OptionError(
            "a torch tensor was asked for (convert_to_tensor=True or convert_to_numpy=False) and torch is not "
            "installed. Leave these out for NumPy arrays, or pip install torch."
        )


def given_out(numbers: NDArray[Any], *, alone: bool, as_numpy: bool = True, as_tensor: bool = False) -> Any:
    """Return rows as an array, a tensor, or a list of tensors, as the caller asks; one row for a single input."""
    if as_numpy and not as_tensor:
        return numbers[0] if alone else numbers
    import torch

    tensor = torch.from_numpy(numbers)
    return tensor[0] if alone else tensor if as_tensor else list(tensor)


def compared(numbers: NDArray[Any]) -> Any:
    """Return similarities as sentence-transformers does: a tensor, if torch is installed."""
    return given_out(numbers, alone=False, as_tensor=has_torch())


def as_array(vectors: Any) -> NDArray[Any]:
    """Return vectors of any kind, one or several, as a floating-point array."""
    import numpy as np

    if isinstance(vectors, (list, tuple)):
        vectors = [_one(vector) for vector in vectors]
    found = np.asarray(_one(vectors))
    return found if found.dtype in (np.float32, np.float64) else found.astype(np.float32)


def _one(vectors: Any) -> Any:
    """Return a tensor as an array: detached, and widened from bfloat16, which NumPy lacks."""
    if type(vectors).__module__ != "torch" or not hasattr(vectors, "detach"):
        return vectors
    tensor = vectors.detach().cpu()
    return tensor.numpy() if str(tensor.dtype) in ("torch.float32", "torch.float64") else tensor.float().numpy()


def texts_of(inputs: Any, others: dict[str, Any]) -> Any:
    """Return the texts given as `inputs` or under its older name; neither is an OptionError."""
    if "sentences" in others and inputs is None:
        inputs = others.pop("sentences")
    if inputs is None:
        raise OptionError("no texts were given: encode(texts), or encode(inputs=texts).")
    return inputs.item() if getattr(inputs, "ndim", None) == 0 else inputs  # np.array("a text")


def rows(vectors: Any) -> NDArray[np.float32]:
    """Return vectors of any kind, one or several, as the rows of an array."""
    import numpy as np

    return np.atleast_2d(as_array(vectors))


def check_precision(precision: str | None) -> None:
    """Check the type that is asked for a vector's numbers."""
    if precision not in (None, "float32", "int8", "uint8", "binary", "ubinary"):
        raise OptionError(
            f"precision={precision!r} is not known; it is 'float32', 'int8', 'uint8', 'binary' or 'ubinary'."
        )


def in_precision(vectors: NDArray[np.float32], precision: str | None) -> NDArray[Any]:
    """Round vectors as sentence-transformers does; for int8 and uint8 by the ranges of these vectors.

    Args:
        vectors: Shape: (n_texts, dimension).
        precision: A value that `check_precision` accepts.

    Returns:
        The same shape, or (n_texts, ceil(dimension / 8)) of bits. int8 or uint8 of a single vector is an OptionError.
    """
    import numpy as np

    if precision in (None, "float32"):
        return vectors
    if precision in ("binary", "ubinary"):
        bits = to_binary(vectors)
        return bits if precision == "ubinary" else (bits ^ 128).view("int8")
    if len(vectors) == 1:
        raise OptionError(
            f"precision={precision!r} takes its ranges from the vectors of the call, and this is one vector. "
            f"intel_quantized_embeddings.vectors.to_int8 takes each vector by itself."
        )
    if not len(vectors):
        return vectors.astype(precision)
    if len(vectors) < _FEW_FOR_RANGES:
        logger.warning(
            "the ranges of precision=%r are those of the %d vectors of this call: vectors of another call can't be "
            "compared with these. intel_quantized_embeddings.vectors.to_int8 takes each vector by itself",
            precision,
            len(vectors),
        )
    starts = vectors.min(axis=0)
    steps = (vectors.max(axis=0) - starts) / 255
    whole: NDArray[np.float32] = np.clip(np.floor((vectors - starts) / np.where(steps == 0, 1, steps)), 0, 255)
    rounded: NDArray[Any] = whole.astype(np.uint8) if precision == "uint8" else (whole - 128).astype(np.int8)
    return rounded


@dataclass
class CardData:
    """The record to which evaluators write results, and by which `mine_hard_negatives` tells models apart.

    Attributes:
        base_model: The model and its fingerprint, under which vectors may be kept.
        model_id: The folder or hub id.
        eval_results_dict: The scores of every evaluator that was run.
        training_logs: A row for each evaluation, as after training.
    """

    base_model: str
    model_id: str | None
    eval_results_dict: dict[Any, dict[str, Any]] = field(default_factory=dict)
    training_logs: list[dict[str, Any]] = field(default_factory=list)

    def set_evaluation_metrics(self, evaluator: Any, metrics: dict[str, Any], epoch: int = 0, step: int = 0) -> None:
        """Keep an evaluator's results."""
        self.eval_results_dict[evaluator] = dict(metrics)
        primary = _primary_metrics(evaluator)
        found = {name: value for name, value in metrics.items() if name in primary}
        if not found:
            return
        if self.training_logs and self.training_logs[-1]["Step"] == step:
            self.training_logs[-1].update(found)
        else:
            self.training_logs.append({"Epoch": epoch, "Step": step, **found})


def _primary_metrics(evaluator: Any) -> Iterable[str]:
    """Return the names of an evaluator's main scores: one, or one for each of several evaluators."""
    several = getattr(evaluator, "evaluators", None)
    if several is not None:
        return [name for one in several for name in _primary_metrics(one)]
    primary = getattr(evaluator, "primary_metric", None)
    return [primary] if isinstance(primary, str) else list(primary or ())
