"""A linear classification head as plain numbers: no pickle, and neither scikit-learn nor torch to use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# How a head turns logits into probabilities.
SOFTMAX, SIGMOID, BINARY, MULTI_OUTPUT = "softmax", "sigmoid", "binary", "multi-output"
# Those of any number of labels at once.
SEVERAL_LABELS = (SIGMOID, MULTI_OUTPUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationHead:
    """Logits are `vectors @ weights.T + bias`.

    Attributes:
        weights: Shape: (n_outputs, dimension), float64.
        bias: Shape: (n_outputs,), float64.
        link: "softmax" for one class of several; "binary" for one of two from a single logit, that of the second;
            "sigmoid" for any number of labels at once; "multi-output" for the same, with the probabilities of 0 and
            of 1 for each, as MultiOutputClassifier gives them.
        classes: What each class is called by the head, strings or integers.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    link: str
    classes: tuple[str | int, ...]

    def predict_proba(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probability of every class, or of every label.

        Args:
            vectors: Shape: (n_texts, dimension).

        Returns:
            Shape: (n_texts, n_classes), rows adding up to 1 unless the link is "sigmoid"; (n_texts, n_classes, 2)
            for "multi-output".
        """
        logits = self._logits(vectors)
        if self.link == SOFTMAX:
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
            return probabilities
        # tanh does not overflow, whatever the logit.
        of_label: NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * logits)
        if self.link == MULTI_OUTPUT:
            return np.stack([1 - of_label, of_label], axis=2)
        return np.hstack([1 - of_label, of_label]) if self.link == BINARY else of_label

    def predict(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        """The class of each text, or of several labels a 1 for each that is more likely than not.

        Returns:
            Shape: (n_texts,), of `classes`; or (n_texts, n_classes) of 0 and 1.
        """
        if self.link in SEVERAL_LABELS:
            return (self._logits(vectors) > 0).astype(np.int64)
        chosen: NDArray[Any] = np.array(self.classes)[self.predict_proba(vectors).argmax(axis=1)]
        return chosen

    def _logits(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        logits: NDArray[np.float64] = vectors.astype(np.float64) @ self.weights.T + self.bias
        return logits


def convert_head(head: Any, *, dimension: int) -> ClassificationHead:
    """Take the numbers out of a fitted head: LogisticRegression, several of it for several labels, or SetFitHead.

    Args:
        head: What a SetFit model has for `model_head`.
        dimension: Numbers in a vector.

    Raises:
        UnsupportedModelError: It is another one, is not fitted, or does not compute what is known of its kind.
    """
    kind = type(head).__name__
    try:
        converted = _CONVERTERS[kind](head)
    except KeyError as exc:
        raise UnsupportedModelError(
            f"the head is a {kind}; LogisticRegression, OneVsRestClassifier and MultiOutputClassifier of it (several "
            f"labels at once) and SetFitHead can be converted."
        ) from exc
    except AttributeError as exc:
        raise UnsupportedModelError(f"the head, a {kind}, can't be converted: {exc}. Is it fitted?") from exc
    if converted.weights.shape[1] != dimension:
        raise UnsupportedModelError(
            f"the head takes vectors of {converted.weights.shape[1]} numbers, and the body makes {dimension}."
        )
    _check(converted, head)
    return converted


def write_head(head: ClassificationHead, file: Path) -> dict[str, Any]:
    """Write a head's numbers, and return what else `read_head` needs."""
    from safetensors.numpy import save_file

    # safetensors writes the bytes as they lie, and scikit-learn's may lie column by column.
    save_file({name: np.ascontiguousarray(getattr(head, name)) for name in ("weights", "bias")}, file)
    return {"link": head.link, "classes": list(head.classes)}


def read_head(file: Path, described: dict[str, Any]) -> ClassificationHead:
    """Read what `write_head` wrote.

    Raises:
        DamagedFilesError: It is not that.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        numbers = load_file(file)
        head = ClassificationHead(
            weights=numbers["weights"],
            bias=numbers["bias"],
            link=described["link"],
            classes=tuple(described["classes"]),
        )
    except (SafetensorError, KeyError, TypeError, OSError) as exc:
        raise DamagedFilesError(f"{file} is not a classification head: {type(exc).__name__}: {exc}") from exc
    outputs = 1 if head.link == BINARY else len(head.classes)
    shapes_fit = head.weights.ndim == 2 and len(head.weights) == outputs and head.bias.shape == (outputs,)
    shapes_fit = shapes_fit and (head.link != BINARY or len(head.classes) == 2)
    if head.link not in (SOFTMAX, BINARY, *SEVERAL_LABELS) or not shapes_fit:
        raise DamagedFilesError(
            f"{file} has weights of shape {head.weights.shape} for {len(head.classes)} classes and link {head.link!r}."
        )
    return head


def _logistic_regression(head: Any) -> ClassificationHead:
    binary = len(head.classes_) == 2
    return ClassificationHead(
        weights=np.asarray(head.coef_, dtype=np.float64),
        bias=np.asarray(head.intercept_, dtype=np.float64),
        link=BINARY if binary else SOFTMAX,
        classes=tuple(head.classes_.tolist()),
    )


def _one_vs_rest(head: Any) -> ClassificationHead:
    if not head.multilabel_:
        raise UnsupportedModelError(
            "the head is a OneVsRestClassifier for one class of several; one for several labels at once, or a plain "
            "LogisticRegression can be converted."
        )
    return _several_labels(head, link=SIGMOID)


def _multi_output(head: Any) -> ClassificationHead:
    return _several_labels(head, link=MULTI_OUTPUT)


def _several_labels(head: Any, *, link: str) -> ClassificationHead:
    parts = [_logistic_regression(part) for part in head.estimators_]
    for label, part in enumerate(parts):
        if part.classes != (0, 1):
            raise UnsupportedModelError(
                f"label {label} of the head has the classes {part.classes!r}; where there can be several labels, each "
                f"is 0 or 1."
            )
    return ClassificationHead(
        weights=np.concatenate([part.weights for part in parts]),
        bias=np.concatenate([part.bias for part in parts]),
        link=link,
        classes=tuple(range(len(parts))),
    )


def _setfit_head(head: Any) -> ClassificationHead:
    # SetFit divides the logits by this sum, and not by the temperature alone.
    temperature = head.temperature + head.eps
    weights = head.linear.weight.detach().cpu().double().numpy()
    bias = np.zeros(len(weights)) if head.linear.bias is None else head.linear.bias.detach().cpu().double().numpy()
    return ClassificationHead(
        weights=weights / temperature,
        bias=bias / temperature,
        link=SIGMOID if head.multitarget else SOFTMAX,
        classes=tuple(range(len(weights))),
    )


_CONVERTERS = {
    "LogisticRegression": _logistic_regression,
    "LogisticRegressionCV": _logistic_regression,
    "MultiOutputClassifier": _multi_output,
    "OneVsRestClassifier": _one_vs_rest,
    "SetFitHead": _setfit_head,
}


def _check(converted: ClassificationHead, head: Any) -> None:
    """Compare with the head's own answers: libraries change how they get from logits to probabilities."""
    random = np.random.default_rng(0)
    vectors = random.normal(0, 1, (64, converted.weights.shape[1])).astype(np.float32)
    if hasattr(head, "temperature"):
        import torch

        with torch.no_grad():
            own = head.predict_proba(torch.from_numpy(vectors).to(head.device)).cpu().numpy()
    else:
        own = head.predict_proba(vectors)
        own = np.stack(own, axis=1) if isinstance(own, list) else own
    found = converted.predict_proba(vectors)
    if found.shape != own.shape or not np.allclose(found, own, atol=1e-4):
        raise UnsupportedModelError(
            f"the head, a {type(head).__name__} of {type(head).__module__}, does not give the probabilities that its "
            f"numbers should: this version of it is not known."
        )
