"""SetFit: quantize a trained model's body and keep its head, to be served without torch."""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.files.atomic import atomic_folder, output_folder
from intel_quantized_embeddings.int8_folder.manifest import Manifest
from intel_quantized_embeddings.integrations.classification_head import (
    ClassificationHead,
    convert_head,
    require_dimension,
)
from intel_quantized_embeddings.integrations.setfit_folder import BODY_FOLDER, read_classifier, write_classifier
from intel_quantized_embeddings.integrations.setfit_source import own_prompt, read_setfit_folder, save_body
from intel_quantized_embeddings.options import require_bool
from intel_quantized_embeddings.quantization.quantize import quantize
from intel_quantized_embeddings.quantization.report import QuantizationReport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)


def quantize_setfit(
    model: Any,
    output_dir: str | os.PathLike[str],
    *,
    calibration_texts: Sequence[str] | None = None,
    runtime: str | None = None,
    search: bool = True,
    overwrite: bool = False,
    allow_pickle: bool = False,
    progress: Callable[[str], object] | None = None,
) -> QuantizationReport:
    """Quantize a SetFit model's body and write it with its head, as a folder that `QuantizedSetFit.load` opens.

    The head stays in floating point, as plain numbers. The body is an int8 folder as `quantize` writes it.

    Args:
        model: A trained `SetFitModel`, or a folder that its `save_pretrained` wrote.
        output_dir: Where the folder goes. It appears whole or not at all.
        calibration_texts: Texts like the ones to be classified; the package's own when None.
        runtime: The body's runtime: "native", "openvino" or "ipex"; see `quantize`.
        search: Compare several SmoothQuant strengths; see `quantize`.
        overwrite: Replace `output_dir` if it exists and this package wrote it.
        allow_pickle: Read a folder's head, which SetFit keeps as a pickle. A pickle is code: allow it for models
            you trust.
        progress: Called with a line of text at each step; None logs them.

    Returns:
        The report on quantizing the body; `folder` is the whole folder.

    Raises:
        OptionError: An argument is not allowed, the head is a pickle and that was not allowed, or the model's labels
            don't fit its head.
        UnsupportedModelError: The head is not a linear one that is known here, or the body can't be quantized.
        QuantizedEmbeddingsError: As `quantize`.

    Example:
        >>> model = SetFitModel.from_pretrained("my-intents")  # doctest: +SKIP
        >>> quantize_setfit(model, "my-intents-int8", calibration_texts=texts)  # doctest: +SKIP
        >>> QuantizedSetFit.load("my-intents-int8").predict(["where is my card?"])  # doctest: +SKIP
    """
    require_bool("allow_pickle", allow_pickle)
    require_bool("search", search)
    output = output_folder(output_dir, overwrite=overwrite)
    say = progress or logger.info
    with tempfile.TemporaryDirectory() as temporary:
        if isinstance(model, (str, os.PathLike)):
            body, head, config = read_setfit_folder(Path(model).expanduser(), allow_pickle=allow_pickle)
        else:
            body, head, config = save_body(model, Path(temporary))
        converted = convert_head(head)
        _check_labels(converted, config["labels"])
        with atomic_folder(output, overwrite=overwrite) as folder:
            report = quantize(
                body,
                folder / BODY_FOLDER,
                calibration_texts=calibration_texts,
                runtime=runtime,
                search=search,
                normalize=True if config["normalize_embeddings"] else None,
                # SetFit puts nothing before a text but the body's default prompt.
                query_instruction=own_prompt(body),
                document_instruction=own_prompt(body),
                progress=lambda line: say(line.replace(str(folder), str(output))),
            )
            require_dimension(converted, Manifest.read(folder / BODY_FOLDER).dimension)
            write_classifier(folder, converted, config["labels"])
    return dataclasses.replace(report, folder=output)


class QuantizedSetFit:
    """A SetFit model with an int8 body: `predict`, `predict_proba` and `encode` as SetFit has them, in NumPy.

    Safe to use from several threads at once.
    """

    def __init__(self, *, encoder: Encoder, head: ClassificationHead, labels: Sequence[Any] | None = None) -> None:
        """Put loaded parts together; most callers want `QuantizedSetFit.load`.

        Args:
            encoder: The body.
            head: Its head.
            labels: Names of the classes if the head numbers them: a class's name is `labels[int(class)]`, as in SetFit.

        Raises:
            OptionError: There is no label for a class.
        """
        _check_labels(head, labels)
        self.encoder = encoder
        self.head = head
        self.labels = None if labels is None else list(labels)

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, num_threads: int | None = None, warm_shapes: bool = True
    ) -> QuantizedSetFit:
        """Load a folder that `quantize_setfit` wrote.

        Args:
            folder: The folder.
            num_threads: See `Encoder.load`.
            warm_shapes: See `Encoder.load`.

        Raises:
            ModelFilesError: There is no such folder, or a file is missing.
            DamagedFilesError: A file was changed after it was written; the message names it.
            UnsupportedModelError: A newer version wrote it.
            MissingExtraError: The body's runtime is not installed.
        """
        path = Path(folder).expanduser()
        head, labels = read_classifier(path)
        encoder = Encoder.load(path / BODY_FOLDER, num_threads=num_threads, warm_shapes=warm_shapes)
        return cls(encoder=encoder, head=head, labels=labels)

    def encode(
        self, inputs: str | Sequence[str], batch_size: int | None = None, show_progress_bar: bool = False
    ) -> NDArray[np.float32]:
        """Return the body's vectors.

        Args:
            inputs: A text, or several.
            batch_size: Not used: batches are planned by length.
            show_progress_bar: Draw a bar on the terminal.

        Returns:
            Shape: (n_texts, dimension), float32; (dimension,) for a single text.

        Raises:
            InvalidTextError: An item is not text.
        """
        if isinstance(inputs, str):
            vector: NDArray[np.float32] = self.encoder.encode_documents([inputs], show_progress=show_progress_bar)[0]
            return vector
        return self.encoder.encode_documents(inputs, show_progress=show_progress_bar)

    def predict_proba(
        self,
        inputs: str | Sequence[str],
        batch_size: int | None = None,
        as_numpy: bool = True,
        show_progress_bar: bool = False,
    ) -> NDArray[np.float64]:
        """Return the probability of every class, or of every label if there can be several.

        Args:
            inputs: A text, or several.
            batch_size: Not used: batches are planned by length.
            as_numpy: Not used: the answer is always NumPy's.
            show_progress_bar: Draw a bar on the terminal.

        Returns:
            Shape: (n_texts, n_classes), float64, or (n_texts, n_labels, 2) of a multi-output head; without the first
            axis for a single text.

        Raises:
            InvalidTextError: An item is not text.
        """
        texts = [inputs] if isinstance(inputs, str) else inputs
        probabilities = self.head.predict_proba(self.encode(texts, show_progress_bar=show_progress_bar))
        return probabilities[0] if isinstance(inputs, str) else probabilities

    def predict(
        self,
        inputs: str | Sequence[str],
        batch_size: int | None = None,
        as_numpy: bool = True,
        use_labels: bool = True,
        show_progress_bar: bool = False,
    ) -> Any:
        """Return the class of each text.

        Args:
            inputs: A text, or several.
            batch_size: Not used: batches are planned by length.
            as_numpy: Not used: the answer is always NumPy's, or a list of labels.
            use_labels: Return names if the model has them.
            show_progress_bar: Draw a bar on the terminal.

        Returns:
            A list of labels if the model has them and `use_labels` is True, else an array of the head's classes; with
            several labels at once an array of 0 and 1, (n_texts, n_labels). One item for a single text.

        Raises:
            InvalidTextError: An item is not text.
        """
        texts = [inputs] if isinstance(inputs, str) else inputs
        vectors = self.encode(texts, show_progress_bar=show_progress_bar)
        names = self.head.names(self.labels) if use_labels else None
        predicted: Any
        predicted = self.head.predict(vectors) if names is None else [names[at] for at in self.head.places(vectors)]
        return predicted[0] if isinstance(inputs, str) else predicted

    def __call__(self, inputs: str | Sequence[str]) -> Any:
        """The same as `predict`."""
        return self.predict(inputs)

    def __repr__(self) -> str:
        return f"QuantizedSetFit({self.encoder!r}, {len(self.head.classes)} classes)"


def _check_labels(head: ClassificationHead, labels: Sequence[Any] | None) -> None:
    try:
        head.names(labels)
    except ValueError as exc:
        raise OptionError(
            f"labels={labels!r} don't fit the head: {exc}. Pass a label for every number up to the largest class."
        ) from exc
