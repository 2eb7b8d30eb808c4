"""Encode datasets with every encoder and compare the measurements."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

from intel_quantized_embeddings.encoders.cross_encoder import CrossEncoder
from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.sparse_encoder import SparseEncoder
from intel_quantized_embeddings.errors import ModelFilesError, OptionError
from intel_quantized_embeddings.evaluation.options import Options
from intel_quantized_embeddings.evaluation.plots import draw
from intel_quantized_embeddings.evaluation.results import EvaluationResults, OnDataset
from intel_quantized_embeddings.int8_folder.manifest import FolderManifest, read_manifest
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.models.routes import refuse_routes
from intel_quantized_embeddings.models.scoring import CrossEncoderSettings
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.static import refuse_static
from intel_quantized_embeddings.models.weight_files import runtime_of_weights
from intel_quantized_embeddings.models.weight_table import refuse_weight_table
from intel_quantized_embeddings.options import Precision
from intel_quantized_embeddings.reporting.machine import recorded
from intel_quantized_embeddings.reporting.plotting import require_matplotlib
from intel_quantized_embeddings.similarity import Similarity
from intel_quantized_embeddings.tasks.datasets import Dataset, read_dataset
from intel_quantized_embeddings.tasks.measure import Measurement, measure, measure_reranking, measure_sparse

_INSTRUCTIONS = ("query_instruction", "document_instruction")
_Model: TypeAlias = "Encoder | CrossEncoder | SparseEncoder"
_NAMED = {
    Encoder: "models that make embeddings",
    CrossEncoder: "cross-encoders",
    SparseEncoder: "sparse models",
}
# The settings that the reference gets from the first encoder, by kind, beside the longest text.
_SHARED = {Encoder: (*_INSTRUCTIONS, "normalize"), CrossEncoder: (), SparseEncoder: _INSTRUCTIONS}

logger = logging.getLogger(__name__)

RESULTS_FILE = "evaluation.json"
PLOT_FILE = "evaluation.png"


def evaluate(
    options: Options, *, command: Sequence[str] = (), progress: Callable[[str], object] | None = None
) -> EvaluationResults:
    """Measure encoders on datasets beside one of higher precision, and write the JSON and the plot.

    One encoder is loaded at a time. Each step is a line of text to `progress`, or to the log.

    Raises:
        QuantizedEmbeddingsError: An option is not allowed, or a model, dataset or library is not there or not what it
            should be.
        OSError: A file can't be written.
    """
    say = progress or logger.info
    require_matplotlib(extra="eval")
    datasets = [read_dataset(folder) for folder in options.datasets]
    folders = [find_model(model, revision=options.revision, **options.where) for model in options.models]
    for folder in folders:
        _refuse_others(folder)
    # Of a sparse Router, the documents' model is what has a runtime and a precision.
    folders = [folder.route(folder.routes.document) if folder.routes else folder for folder in folders]
    manifests = [read_manifest(folder.path) if folder.is_quantized else None for folder in folders]
    against = _against(options, folders[0], manifests[0])
    try:  # before the first dataset is encoded
        find_model(against["model"], revision=against["revision"], **options.where)
    except ModelFilesError as exc:
        raise ModelFilesError(f"{exc} Pass the model to compare with: --against FOLDER_OR_ID.") from exc
    encoders = _encoders(options, folders, manifests)
    # The reference comes last: an int8 folder decides the settings of all.
    label, load = next(encoders)
    first = encoder = load()
    settings, dimension = encoder.settings, _dimension(encoder)
    fingerprints = {label: encoder.fingerprint}
    similarity = Similarity.COSINE if isinstance(settings, CrossEncoderSettings) else settings.similarity
    measured = {label: measure_all(datasets, encoder, label, say, similarity)}
    for label, load in (*encoders, _reference(against, options, first)):
        encoder = load()
        if label in measured:
            raise OptionError(f"two of what is compared would be called {label!r}; give folders of different names.")
        if _dimension(encoder) != dimension:
            raise OptionError(
                f"{label} makes vectors of {_dimension(encoder)} numbers and {next(iter(measured))} of {dimension}: "
                f"they are not of one model, and only encoders of one model can be compared."
            )
        fingerprints[label] = encoder.fingerprint
        measured[label] = measure_all(datasets, encoder, label, say, similarity)
    reference, expected = label, measured.pop(label)
    say("comparing")
    results = EvaluationResults(
        **recorded(command),
        model=folders[0].name if manifests[0] is None else manifests[0].source.id,
        reference=reference,
        fingerprints=fingerprints,
        settings=dataclasses.asdict(settings),
        datasets=[
            OnDataset.of(dataset, expected[place], {label: own[place] for label, own in measured.items()})
            for place, dataset in enumerate(datasets)
        ],
    )
    options.output.mkdir(parents=True, exist_ok=True)
    results.write(options.output / RESULTS_FILE)
    title = f"Change of every score to {reference}"
    draw(results.datasets, options.output / PLOT_FILE, title=title, subtitle=results.model)
    say(f"wrote {options.output / RESULTS_FILE} and {options.output / PLOT_FILE}")
    return results


def _encoders(
    options: Options, folders: Sequence[SourceModel], manifests: Sequence[FolderManifest | None]
) -> Iterator[tuple[str, Callable[[], _Model]]]:
    """Return a label and a loading function for each encoder to compare."""
    kinds: list[type[_Model]] = list(dict.fromkeys(map(_kind, folders)))
    if len(kinds) > 1:
        named = " and ".join(_NAMED[kind] for kind in kinds)
        raise OptionError(f"{named} can't be compared; give one kind at a time.")
    (kind,) = kinds
    common: dict[str, Any] = {"allow_torchscript": options.allow_torchscript} if kind is Encoder else {}
    common |= {"max_length": options.max_length, "revision": options.revision, "warm_shapes": False, **options.where}
    several = len(options.models) > 1
    for model, folder, manifest in zip(options.models, folders, manifests, strict=True):
        prefix = f"{Path(model).name} " if several else ""
        own = (_own_runtime(folder, manifest),)
        for runtime in own if manifest is not None else options.runtimes or own:
            precision = options.precision if manifest is None else manifest.precision
            yield (
                f"{prefix}{runtime} {precision}",
                partial(kind.load, model, runtime=runtime, precision=precision, **common),
            )


def _kind(folder: SourceModel) -> type[_Model]:
    """Return the class of a model."""
    if folder.is_cross_encoder:
        return CrossEncoder
    return SparseEncoder if folder.is_sparse else Encoder


def _refuse_others(folder: SourceModel) -> None:
    """Check that a model has several precisions, and is one model or a sparse Router."""
    if folder.static is not None:
        raise refuse_static(folder.name, what="of which there is one precision, and nothing to compare it with")
    if folder.weight_table is not None:
        raise refuse_weight_table(folder.name, what="of which there is one precision, and nothing to compare it with")
    if folder.routes is not None and not folder.is_sparse:
        raise refuse_routes(folder.name, what="which are evaluated one by one")


def _own_runtime(folder: SourceModel, manifest: FolderManifest | None) -> str:
    """Return the runtime of a folder if none is named."""
    return runtime_of_weights(folder.weights.kind).value if manifest is None else manifest.runtime


def _against(options: Options, folder: SourceModel, manifest: FolderManifest | None) -> dict[str, Any]:
    """Return the reference's model, revision, runtime and precision."""
    if options.against not in list(Precision):
        return {"model": options.against, "revision": None, "runtime": None, "precision": Precision.FP32.value}
    model, revision = options.models[0], options.revision
    if manifest is not None:  # the commit that the folder was made from
        model, revision = manifest.source.id, manifest.source.revision
    runtime = options.runtimes[0] if options.runtimes else _own_runtime(folder, manifest)
    return {"model": model, "revision": revision, "runtime": runtime, "precision": options.against}


def _reference(against: dict[str, Any], options: Options, first: _Model) -> tuple[str, Callable[[], _Model]]:
    """Return the reference's label, and a function that loads it with the settings of the first encoder."""
    settings, kind = first.settings, type(first)
    common = {**against, **options.where, "max_length": settings.max_length, "warm_shapes": False}
    common |= {name: getattr(settings, name) for name in _SHARED[kind]}
    if isinstance(first, Encoder):
        common["pooling"] = first.settings.pooling_name
    # A named model is labelled by its name, because others may have the same runtime and precision.
    name = against["runtime"] if options.against in list(Precision) else Path(against["model"]).name
    return f"{name} {against['precision']}", partial(kind.load, **common)


def measure_all(
    datasets: Sequence[Dataset], encoder: object, label: str, say: Callable[[str], object], similarity: Similarity
) -> list[Measurement]:
    """Measure an encoder, or a cross-encoder by reranking, on datasets, with a bar on a terminal."""
    measured, with_bar = [], cast("Any", _WithBar(encoder))
    for dataset in datasets:
        say(f"{label} on {dataset}")
        if isinstance(encoder, CrossEncoder):
            measured.append(measure_reranking(dataset, with_bar))
        elif isinstance(encoder, SparseEncoder):
            measured.append(measure_sparse(dataset, with_bar, similarity=similarity))
        else:
            measured.append(measure(dataset, with_bar, similarity=similarity))
    return measured


def _dimension(encoder: _Model) -> int:
    """Return the size of a row for a text, or for a pair of texts."""
    return 1 if isinstance(encoder, CrossEncoder) else encoder.dimension


class _WithBar:
    """A model whose methods draw a bar on a terminal."""

    def __init__(self, model: object) -> None:
        self._model = model

    def __getattr__(self, method: str) -> Any:
        return partial(getattr(self._model, method), show_progress=sys.stderr.isatty())
