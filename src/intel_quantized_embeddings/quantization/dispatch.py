"""Options that were checked -> the model that they name, and the job for it: one folder, or a Router's two."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING

from intel_quantized_embeddings.errors import MissingExtraError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.files.atomic import refuse_existing
from intel_quantized_embeddings.int8_folder.config import MethodName, QuantizationConfig
from intel_quantized_embeddings.models.hub import find_asked
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.sparse import SparseSettings
from intel_quantized_embeddings.models.static import refuse_static
from intel_quantized_embeddings.models.weight_files import runtime_of_weights
from intel_quantized_embeddings.models.weight_table import refuse_weight_table
from intel_quantized_embeddings.options import LoadOptions, RuntimeName
from intel_quantized_embeddings.quantization.calibration import calibration_set, split
from intel_quantized_embeddings.quantization.job import quantize_folder
from intel_quantized_embeddings.quantization.kinds import CROSS_ENCODER, EMBEDDER, Kind
from intel_quantized_embeddings.quantization.report import Report
from intel_quantized_embeddings.quantization.routes import quantize_routes
from intel_quantized_embeddings.quantization.table import quantizer_module

if TYPE_CHECKING:
    from intel_quantized_embeddings.tasks.datasets import Dataset


def quantize_asked(
    kind: Kind,
    options: LoadOptions,
    output: Path,
    *,
    texts: Sequence[str] | None,
    queries: Sequence[str] | None,
    config: QuantizationConfig,
    overwrite: bool,
    say: Callable[[str], object],
    measure: bool,
    dataset: Dataset | None = None,
) -> Report:
    """Find the model, after the checks that do not need it, and quantize it with the errors of `quantize`.

    `output` is what `output_folder` returned, `config` what `settle_config` did; the texts are the caller's, None for
    the package's own.
    """
    halves = split(calibration_set(texts, queries))
    asked = None if options.runtime is None else RuntimeName(options.runtime)
    if asked is not None:  # known before anything is downloaded
        _require_able(kind, asked)
    if config.method == MethodName.QAT.value and importlib.util.find_spec("torch") is None:
        raise MissingExtraError(package="torch", extra="ipex", needed_for="Quantization-aware training")
    source = find_asked(options)
    refuse_existing(output, overwrite=overwrite, source=source.path)
    _refuse_others(source, kind, options)

    def quantize_one(source: SourceModel, output: Path) -> Report:
        runtime = asked or runtime_of_weights(source.weights.kind)
        _require_able(kind, runtime)
        settings = kind.settings(source, options)
        if isinstance(settings, (ModelSettings, SparseSettings)):
            settings = settings.override(
                query_instruction=options.query_instruction, document_instruction=options.document_instruction
            )
        return quantize_folder(
            source,
            output,
            kind=kind,
            runtime=runtime,
            settings=settings,
            texts=halves,
            config=config,
            dataset=dataset,
            overwrite=overwrite,
            say=say,
            max_length=options.max_length,
            measure=measure,
        )

    if kind is not CROSS_ENCODER and source.routes is not None:
        return quantize_routes(
            source, source.routes, output, quantize_one, overwrite=overwrite, max_drop=config.max_drop
        )
    return quantize_one(source, output)


def _refuse_others(source: SourceModel, kind: Kind, options: LoadOptions) -> None:
    """Refuse what can't be quantized, or not as this kind of model, with the errors of `quantize`."""
    if source.is_quantized:
        raise UnsupportedModelError(f"{source.name} is int8 already; load it as it is.")
    if source.static is not None:
        raise refuse_static(source.name, what="in which there is nothing to quantize")
    if source.weight_table is not None:
        raise refuse_weight_table(source.name, what="in which there is nothing to quantize")
    routes = source.routes
    if options.query_instruction is not None and routes and source.route(routes.query).weight_table is not None:
        raise OptionError(
            f"query_instruction={options.query_instruction!r} is not available for {source.name}, whose queries are "
            f"looked up in a table that is copied as it is: give it to SparseEncoder.load."
        )
    if kind is EMBEDDER and options.pooling is None and source.is_cross_encoder:
        raise UnsupportedModelError(
            f"{source.name} is a cross-encoder, which scores pairs of texts: quantize it with "
            f"quantize_cross_encoder or `iqe quantize`."
        )
    if kind is EMBEDDER and options.pooling is None and source.is_sparse:
        raise UnsupportedModelError(
            f"{source.name} is a sparse model: quantize it with quantize_sparse or `iqe quantize`. Where nothing but a "
            f"masked-LM head in its config.json says so, pooling= makes an embedder of it."
        )


def _require_able(kind: Kind, runtime: RuntimeName) -> None:
    """Check that a runtime runs such models and that its quantizer is installed."""
    kind.require_runtime(runtime)
    quantizer_module(runtime).require_quantizer()


def asked_dataset(dataset: str | os.PathLike[str] | None, config: QuantizationConfig) -> Dataset | None:
    """Read the dataset that a limit is measured on; an OptionError if it is no path, or if there is no limit."""
    if dataset is not None and config.max_drop is None:
        raise OptionError("dataset= (--dataset) is what max_drop= (--max-drop) is measured on; give both or neither.")
    if not isinstance(dataset, (str, os.PathLike, NoneType)):
        raise OptionError(f"dataset={dataset!r} is not allowed; it is the path of a folder with a dataset.")
    if dataset is None:
        return None
    from intel_quantized_embeddings.tasks.datasets import read_dataset

    return read_dataset(Path(dataset).expanduser())
