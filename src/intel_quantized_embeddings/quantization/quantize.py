"""`quantize`: a model in, a folder with its int8 form out."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING

from intel_quantized_embeddings.choices import true_or_false
from intel_quantized_embeddings.errors import MissingExtraError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.folders import appearing_whole, output_folder, refuse_existing
from intel_quantized_embeddings.load_options import LoadOptions
from intel_quantized_embeddings.model_files import ModelFolder, find_model
from intel_quantized_embeddings.model_settings import ModelSettings, is_cross_encoder, read_json, read_settings
from intel_quantized_embeddings.pooling import Pooling
from intel_quantized_embeddings.quantization.calibration import CalibrationSplit, calibration_set, split
from intel_quantized_embeddings.quantization.config import ActivationRanges, MethodName, QuantizationConfig, read_config
from intel_quantized_embeddings.quantization.drop import Drop, dataset_judge, held_out_judge
from intel_quantized_embeddings.quantization.fidelity import Fidelity
from intel_quantized_embeddings.quantization.folder import write_folder
from intel_quantized_embeddings.quantization.layers import within_limit
from intel_quantized_embeddings.quantization.manifest import MANIFEST_FILE, Method
from intel_quantized_embeddings.quantization.recipe import ALPHAS, DEFAULT_ALPHA, QuantizerModule, Recipe, layers_named
from intel_quantized_embeddings.quantization.search import most_faithful
from intel_quantized_embeddings.quantization.subject import Subject
from intel_quantized_embeddings.quantization.table import quantizer_module
from intel_quantized_embeddings.runtimes.base import Precision, RuntimeName
from intel_quantized_embeddings.runtimes.table import runtime_module
from intel_quantized_embeddings.weight_files import WeightKind, find_weight_files

if TYPE_CHECKING:
    from intel_quantized_embeddings.evaluation.datasets import Dataset

logger = logging.getLogger(__name__)

QAT_MINUTES = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationReport:
    """What came of quantizing a model.

    Attributes:
        folder: The int8 folder.
        fidelity: Cosine to fp32 on texts that were not calibrated on.
        smooth_quant_alpha: The SmoothQuant strength that was kept, None for none.
        floating_point_layers: Linear layers that are not int8.
        drop: What is lost against fp32; None where no limit was set.
        seconds: How long everything took.
        bytes_before: Size of the fp32 weights.
        bytes_after: Size of the int8 encoder.
    """

    folder: Path
    fidelity: Fidelity
    smooth_quant_alpha: float | None
    floating_point_layers: tuple[str, ...]
    drop: Drop | None
    seconds: float
    bytes_before: int
    bytes_after: int


def quantize(
    model: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    calibration_texts: Sequence[str] | None = None,
    calibration_queries: Sequence[str] | None = None,
    runtime: str = "openvino",
    search: bool = True,
    method: str | None = None,
    qat_minutes: float | None = None,
    weight_bits: int | None = None,
    max_drop: float | None = None,
    dataset: str | os.PathLike[str] | None = None,
    config: QuantizationConfig | str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    revision: str | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    pooling: str | None = None,
    normalize: bool | None = None,
    max_length: int | None = None,
    query_instruction: str | None = None,
    document_instruction: str | None = None,
    progress: Callable[[str], object] | None = None,
) -> QuantizationReport:
    """Quantize a model to int8 and write a folder that `Encoder.load` opens.

    Half of the calibration texts set the ranges, the other half measures what came of it: cosine of
    int8 vectors to fp32 ones, documents and queries apart.

    Args:
        model: A folder or hub id of an fp32 model.
        output_dir: Where the int8 folder goes. It appears whole or not at all.
        calibration_texts: Documents like the ones to be embedded; the package's own when None.
        calibration_queries: Queries like the ones to be asked; the package's own when None.
        runtime: Which runtime the folder is for, "openvino" (quantized with NNCF) or "ipex" (with Neural
            Compressor).
        search: Compare several SmoothQuant strengths and keep the most faithful, which takes about
            four times as long; False takes the usual one.
        method: "static" (the default), "dynamic" or "qat": docs/quantization.md.
        qat_minutes: How long method "qat" may fine-tune the weights; 10 when None.
        weight_bits: 8 or 7; None is 8 where this CPU computes with them exactly (VNNI, AMX) and 7 elsewhere. A folder
            with 7 is as faithful on every CPU: docs/quantization.md.
        max_drop: The largest loss allowed against fp32, as a share. Where int8 loses more, the most sensitive layers
            go back to floating point, one by one, until it holds; where a third of them is not enough, that
            is an error. None is no limit.
        dataset: A folder that `iqe evaluate` reads: the loss is that of its main score (nDCG@10 for retrieval).
            Without one it is 1 less the mean cosine to fp32 on the texts held out.
        config: How to quantize, or a YAML file that says so: docs/quantization.md.
        overwrite: Replace `output_dir` if it is there and a model folder that was written here.
        revision: Branch, tag or commit on the hub.
        cache_folder: Where the hub's files are kept.
        local_files_only: Never ask the hub.
        pooling: Overrides the model's folder; it is fixed in the int8 folder.
        normalize: Overrides the model's folder; it is fixed in the int8 folder.
        max_length: Overrides the model's folder.
        query_instruction: Overrides the model's folder.
        document_instruction: Overrides the model's folder.
        progress: Called with a line of text at each step; None logs them.

    Raises:
        MissingExtraError: The runtime or its quantizer is not installed.
        OptionError: An argument is not allowed, or `output_dir` exists.
        ModelFilesError: The model is not there.
        UnsupportedModelError: The model can't be run here, or is int8 already.
        DamagedFilesError: One of its files, or `config`, is not what it should be.
        QuantizationError: The quantizer failed, or `max_drop` can't be kept.
        OSError: The folder can't be written.

    Example:
        >>> report = quantize("BAAI/bge-small-en-v1.5", "bge-small-int8")  # doctest: +SKIP
        >>> report.fidelity.documents.mean  # doctest: +SKIP
    """
    options = LoadOptions(
        model=model,
        runtime=runtime,
        revision=revision,
        cache_folder=cache_folder,
        local_files_only=local_files_only,
        pooling=pooling,
        normalize=normalize,
        max_length=max_length,
        query_instruction=query_instruction,
        document_instruction=document_instruction,
    )
    runtime_name = RuntimeName(options.runtime)
    output = output_folder(output_dir, overwrite=overwrite)
    config = settle_config(
        config, method=method, qat_minutes=qat_minutes, weight_bits=weight_bits, search=search, max_drop=max_drop
    )
    if dataset is not None and config.max_drop is None:
        raise OptionError("dataset= (--dataset) is what max_drop= (--max-drop) is measured on; give both or neither.")
    if not isinstance(dataset, (str, os.PathLike, NoneType)):
        raise OptionError(f"dataset={dataset!r} is not allowed; it is the path of a folder with a dataset.")
    data = None if dataset is None else _read_dataset(Path(dataset).expanduser())
    texts = split(calibration_set(calibration_texts, calibration_queries))
    quantizer_module(runtime_name).require_quantizer()
    if config.method == MethodName.QAT.value and importlib.util.find_spec("torch") is None:
        raise MissingExtraError(package="torch", extra="ipex", needed_for="Quantization-aware training")
    settings_given = {"pooling": pooling, "normalize": normalize, "max_length": max_length}
    source = find_model(
        model,
        revision=revision,
        cache_folder=cache_folder,
        local_files_only=options.local_files_only,
        given=[name for name, value in settings_given.items() if value is not None],
    )
    refuse_existing(output, overwrite=overwrite, source=source.path)
    if (source.path / MANIFEST_FILE).is_file():
        raise UnsupportedModelError(f"{source.name} is int8 already; load it as it is.")
    if pooling is None and is_cross_encoder(source.path):
        raise UnsupportedModelError(
            f"{source.name} is a cross-encoder, which scores pairs of texts: quantize it with "
            f"quantize_cross_encoder or `iqe quantize`."
        )
    settings = read_settings(
        source.path,
        name=source.name,
        pooling=options.pooling,
        normalize=options.normalize,
        default_max_length=options.max_length,
    )
    return quantize_folder(
        source,
        output,
        runtime=runtime_name,
        settings=settings.override(query_instruction=query_instruction, document_instruction=document_instruction),
        texts=texts,
        config=config,
        dataset=data,
        overwrite=overwrite,
        say=progress or logger.info,
        max_length=options.max_length,
    )


def quantize_folder(
    source: ModelFolder,
    output: Path,
    *,
    runtime: RuntimeName,
    settings: ModelSettings,
    texts: CalibrationSplit,
    config: QuantizationConfig,
    overwrite: bool,
    say: Callable[[str], object],
    dataset: Dataset | None = None,
    max_length: int | None = None,
) -> QuantizationReport:
    """Quantize a model whose files and settings are known; see `quantize`."""
    started = time.perf_counter()
    weights = find_weight_files(source.path, read_json(source.path / "config.json"))
    if weights.kind is WeightKind.TORCHSCRIPT:
        raise UnsupportedModelError(
            f"{source.name} is a TorchScript model, which can't be quantized: quantize the fp32 model it was made from."
        )
    quantizer = quantizer_module(runtime)
    recipe, strengths = settle_recipe(config, quantizer, settings.pooling)
    embedder = runtime_module(runtime).build_graph(source.path, settings, name=source.name)
    if embedder.precision is Precision.INT8:
        raise UnsupportedModelError(f"the export in {source.name} is int8 already; load it as it is.")
    layers = layers_named(config.floating_point_layers, quantizer.linear_layers(embedder))
    recipe = replace(recipe, floating_point_layers=layers)
    settings = settings.override(max_length=max_length, max_positions=embedder.max_positions)
    if recipe.method is not MethodName.DYNAMIC:
        say(f"{source.name}: calibrating on {len(texts.calibrated)} texts, {len(texts.held_out)} held out")
    else:
        say(f"{source.name}: quantizing, {len(texts.held_out)} texts held out")
    subject = Subject(source, runtime=runtime, embedder=embedder, settings=settings, texts=texts)
    if dataset is not None:
        say(f"  measuring fp32 on {dataset.name}")
    judge = held_out_judge() if dataset is None else dataset_judge(subject, dataset)
    kept, scores = most_faithful(subject, recipe, strengths=strengths, say=say)
    training = None
    if config.method == MethodName.QAT.value:
        from intel_quantized_embeddings.quantization.qat import trained

        subject, kept, training = trained(subject, kept, minutes=config.qat_minutes or QAT_MINUTES, say=say)
    drop = None
    if config.max_drop is not None:
        kept, drop = within_limit(subject, kept, judge, limit=config.max_drop, say=say)
    say(f"  cosine to fp32: documents {kept.fidelity.documents}")
    say(f"  cosine to fp32: queries {kept.fidelity.queries}")
    method = replace(method_of(kept.recipe, alphas_tried=scores, quantizer=quantizer), training=training)
    with appearing_whole(output, overwrite=overwrite) as folder:
        manifest = write_folder(folder, subject, kept, method=method, config=config, drop=drop, weights=weights)
    encoder_files = [output / name for name in manifest.files if name.startswith("encoder.")]
    report = QuantizationReport(
        folder=output,
        fidelity=kept.fidelity,
        smooth_quant_alpha=method.smooth_quant_alpha,
        floating_point_layers=method.floating_point_layers,
        drop=drop,
        seconds=time.perf_counter() - started,
        bytes_before=sum(file.stat().st_size for file in weights.files),
        bytes_after=sum(file.stat().st_size for file in encoder_files),
    )
    say(f"wrote {output} in {report.seconds:.0f} s")
    return report


def method_of(recipe: Recipe, *, alphas_tried: dict[str, float], quantizer: QuantizerModule) -> Method:
    """What a manifest says of the recipe that was kept."""
    return Method(
        name=recipe.method.value,
        smooth_quant_alpha=recipe.alpha,
        alphas_tried=alphas_tried,
        attention=quantizer.attention_precision(),
        activation_ranges=recipe.activation_ranges and recipe.activation_ranges.value,
        floating_point_layers=recipe.floating_point_layers,
        weight_bits=recipe.weight_bits,
    )


def settle_config(
    given: QuantizationConfig | str | os.PathLike[str] | None,
    *,
    method: str | None,
    search: bool,
    max_drop: float | None,
    qat_minutes: float | None = None,
    weight_bits: int | None = None,
) -> QuantizationConfig:
    """The settings asked for; an argument goes before what a file says.

    Raises:
        OptionError: One is not allowed.
    """
    true_or_false("search", search)
    if isinstance(given, QuantizationConfig | None):
        config = given or QuantizationConfig()
    elif isinstance(given, (str, os.PathLike)):
        config = read_config(Path(given).expanduser())
    else:
        raise OptionError(f"config={given!r} is not allowed; it is a QuantizationConfig or the path of a YAML file.")
    if method is not None:
        config = replace(config, method=method)
    if qat_minutes is not None:
        config = replace(config, qat_minutes=qat_minutes)
    if weight_bits is not None:
        config = replace(config, weight_bits=weight_bits)
    if max_drop is not None:
        config = replace(config, max_drop=max_drop)
    if search or config.method == MethodName.DYNAMIC.value:  # which has no strengths to compare
        return config
    if config.smooth_quant is not None:
        raise OptionError(
            f"search=False (--no-search) takes the usual SmoothQuant strength, and the settings say "
            f"smooth_quant={list(config.smooth_quant)}; leave one of them out."
        )
    return replace(config, smooth_quant=(DEFAULT_ALPHA,))


def settle_recipe(
    config: QuantizationConfig, quantizer: QuantizerModule, pooling: Pooling
) -> tuple[Recipe, tuple[float | None, ...]]:
    """What follows from the settings before the model is opened, and the strengths to compare."""
    if MethodName(config.method) not in quantizer.METHODS:
        raise OptionError(
            f"method={config.method!r} can't be had with this runtime, whose quantizer does "
            f"{', '.join(repr(method.value) for method in quantizer.METHODS)}; runtime='openvino' does it."
        )
    if config.method == MethodName.DYNAMIC.value:
        return Recipe(method=MethodName.DYNAMIC), (None,)
    ranges = config.activation_ranges and ActivationRanges(config.activation_ranges)
    ranges = quantizer.activation_ranges(ranges or None, pooling)
    bits = quantizer.weight_bits(config.weight_bits)
    recipe = Recipe(method=MethodName(config.method), activation_ranges=ranges, weight_bits=bits)
    return recipe, ALPHAS if config.smooth_quant is None else config.smooth_quant


def _read_dataset(folder: Path) -> Dataset:
    from intel_quantized_embeddings.evaluation.datasets import read_dataset

    return read_dataset(folder)
