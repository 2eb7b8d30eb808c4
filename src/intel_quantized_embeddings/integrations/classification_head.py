"""A linear classification head as plain numbers: no pickle, and neither scikit-learn nor torch to use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.texts import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The ways in which a head turns logits into probabilities.
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
        classes: The head's names of the classes: strings, numbers, True and False.
        numbered: Whether `int(class)` is a class's place in a model's list of labels, as in SetFit.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    link: str
    classes: tuple[str | float, ...]  # which integers and booleans count as
    numbered: bool = True

    def names(self, labels: Sequence[Any] | None) -> list[Any] | None:
        """Return the label of each class; None without labels, or if the head is not for one class of several.

        A class without a label is a ValueError.
        """
        if not labels or not self.numbered or self.link in SEVERAL_LABELS:
            return None
        places = [int(name) for name in self.classes]
        for name, place in zip(self.classes, places, strict=True):
            if not 0 <= place < len(labels):
                raise ValueError(f"there are {len(labels)} labels, numbered from 0, and none for the class {name!r}")
        return [labels[place] for place in places]

    def predict_proba(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of every class, or of every label, for vectors of shape (n_texts, dimension).

        Shape: (n_texts, n_classes), rows adding up to 1 unless the link is "sigmoid"; (n_texts, n_classes, 2) for
        "multi-output".
        """
        logits = self._logits(vectors)
        if self.link == SOFTMAX:
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
            return probabilities
        # tanh never overflows.
        of_label: NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * logits)
        if self.link == MULTI_OUTPUT:
            return np.stack([1 - of_label, of_label], axis=2)
        return np.hstack([1 - of_label, of_label]) if self.link == BINARY else of_label

    def predict(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        """Return the class of each text, or for several labels a 1 for each that is more likely than not.

        Shape: (n_texts,), of `classes`; or (n_texts, n_classes) of 0 and 1.
        """
        if self.link in SEVERAL_LABELS:
            return (self._logits(vectors) > 0).astype(np.int64)
        chosen: NDArray[Any] = np.array(self.classes)[self.places(vectors)]
        return chosen

    def places(self, vectors: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the place in `classes` of each text's class; not for several labels. Shape: (n_texts,)."""
        places: NDArray[np.intp] = self.predict_proba(vectors).argmax(axis=1)
        return places

    def _logits(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        logits: NDArray[np.float64] = vectors.astype(np.float64) @ self.weights.T + self.bias
        return logits


def convert_head(head: Any, *, dimension: int | None = None) -> ClassificationHead:
    """Take the numbers of a fitted head: LogisticRegression, several of it for several labels, or SetFitHead.

    An UnsupportedModelError is raised for other heads, heads that are not fitted, and heads of a version that computes
    otherwise. A `dimension` of None leaves its check to `require_dimension`.
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
    if dimension is not None:
        require_dimension(converted, dimension)
    _check(converted, head)
    return converted


def require_dimension(head: ClassificationHead, dimension: int) -> None:
    """Check that a head takes the body's vectors; the error is an UnsupportedModelError."""
    if head.weights.shape[1] != dimension:
        raise UnsupportedModelError(
            f"the head takes vectors of {head.weights.shape[1]} numbers, and the body makes {dimension}."
        )


def write_head(head: ClassificationHead, file: Path) -> dict[str, Any]:
    """Write a head's numbers, and return the other facts that `read_head` needs."""
    from safetensors.numpy import save_file

    # safetensors writes an array's bytes in their order, which is column by column for some of scikit-learn's.
    save_file({name: np.ascontiguousarray(getattr(head, name)) for name in ("weights", "bias")}, file)
    return {"link": head.link, "classes": list(head.classes), "numbered": head.numbered}


def read_head(file: Path, described: dict[str, Any]) -> ClassificationHead:
    """Read a file of `write_head`; anything else is a DamagedFilesError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        numbers = load_file(file)
        head = ClassificationHead(
            weights=numbers["weights"],
            bias=numbers["bias"],
            link=described["link"],
            classes=tuple(described["classes"]),
            numbered=described["numbered"],
        )
    except (SafetensorError, KeyError, TypeError, OSError) as exc:
        raise DamagedFilesError(f"{file} is not a classification head: {type(exc).__name__}: {exc}") from exc
    outputs = 1 if head.link == BINARY else len(head.classes)
    shapes_fit = head.weights.ndim == 2 and len(head.weights) == outputs and head.bias.shape == (outputs,)
    classes_fit = head.link != BINARY or len(head.classes) == 2
    if head.link not in (SOFTMAX, BINARY, *SEVERAL_LABELS) or not (shapes_fit and classes_fit):
        raise DamagedFilesError(
            f"{file} has weights of shape {head.weights.shape} for {len(head.classes)} classes and link {head.link!r}."
        )
    return head


def _logistic_regression(head: Any) -> ClassificationHead:
    binary = len(head.classes_) == 2
    classes = tuple(head.classes_.tolist())
    if not all(isinstance(name, (str, int, float)) for name in classes):
        raise UnsupportedModelError(
            f"the head's classes are {shown(classes)}, of type {head.classes_.dtype}; strings and numbers can be kept. "
            f"Train it on one of these."
        )
    return ClassificationHead(
        weights=np.asarray(head.coef_, dtype=np.float64),
        bias=np.asarray(head.intercept_, dtype=np.float64),
        link=BINARY if binary else SOFTMAX,
        classes=classes,
        # SetFit takes NumPy's strings for names, and anything else for numbers: "1" of an array of objects as well.
        numbered=head.classes_.dtype.kind != "U" and all(_is_number(name) for name in classes),
    )


def _is_number(name: str | float) -> bool:
    try:
        int(name)
    except ValueError:
        return False
    return True


def _one_vs_rest(head: Any) -> ClassificationHead:
    if not head.multilabel_:
        raise UnsupportedModelError(
            "the head is a OneVsRestClassifier for one class of several; one for several labels at once, or a plain "
            "LogisticRegression can be converted."
        )
    return _several_labels(head, link=SIGMOID)


def _several_labels(head: Any, *, link: str = MULTI_OUTPUT) -> ClassificationHead:
    parts = [_constant(part) or _logistic_regression(part) for part in head.estimators_]
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


def _constant(part: Any) -> ClassificationHead | None:
    """Return scikit-learn's head for a label that every training text had, or none; else None."""
    if type(part).__name__ != "_ConstantPredictor":
        return None
    always = bool(np.ravel(part.y_)[0])
    # Its probability is 0 or 1, exactly that of these logits.
    return ClassificationHead(
        weights=np.zeros((1, part.n_features_in_)),
        bias=np.array([1e3 if always else -1e3]),
        link=BINARY,
        classes=(0, 1),
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
    "MultiOutputClassifier": _several_labels,
    "OneVsRestClassifier": _one_vs_rest,
    "SetFitHead": _setfit_head,
}


def _check(converted: ClassificationHead, head: Any) -> None:
    """Compare with the head's own answers, because libraries change the way from logits to probabilities."""
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
