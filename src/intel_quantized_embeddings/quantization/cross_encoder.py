"""`quantize_cross_encoder`: a cross-encoder in, a folder with its int8 form out."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from intel_quantized_embeddings.cross_encoder_settings import CrossEncoderSettings, read_cross_encoder_settings
from intel_quantized_embeddings.errors import OptionError, UnsupportedModelError
from intel_quantized_embeddings.folders import appearing_whole, output_folder, refuse_existing
from intel_quantized_embeddings.load_options import LoadOptions
from intel_quantized_embeddings.model_files import ModelFolder, find_model
from intel_quantized_embeddings.model_settings import read_json
from intel_quantized_embeddings.pooling import Pooling
from intel_quantized_embeddings.quantization.cache import made_once
from intel_quantized_embeddings.quantization.calibration import (
    CalibrationSplit,
    built_in_texts,
    calibration_set,
    split,
)
from intel_quantized_embeddings.quantization.config import MethodName, QuantizationConfig
from intel_quantized_embeddings.quantization.cross_encoder_folder import write_cross_encoder_folder
from intel_quantized_embeddings.quantization.cross_encoder_manifest import FORMAT_VERSION
from intel_quantized_embeddings.quantization.cross_encoder_subject import CrossEncoderSubject
from intel_quantized_embeddings.quantization.fidelity import ScoreFidelity
from intel_quantized_embeddings.quantization.manifest import MANIFEST_FILE
from intel_quantized_embeddings.quantization.quantize import method_of, settle_config, settle_recipe
from intel_quantized_embeddings.quantization.recipe import layers_named
from intel_quantized_embeddings.quantization.search import most_faithful
from intel_quantized_embeddings.quantization.table import quantizer_module
from intel_quantized_embeddings.runtimes.base import RuntimeName
from intel_quantized_embeddings.weight_files import find_weight_files

logger = logging.getLogger(__name__)

_RUNTIME = RuntimeName.OPENVINO


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEncoderReport:
    """What came of quantizing a cross-encoder.

    Attributes:
        folder: The int8 folder.
        fidelity: Scores beside those in fp32, on pairs that were not calibrated on.
        smooth_quant_alpha: The SmoothQuant strength that was kept, None for none.
        floating_point_layers: Linear layers that are not int8; the head never is.
        seconds: How long everything took.
        bytes_before: Size of the fp32 weights.
        bytes_after: Size of the int8 model.
    """

    folder: Path
    fidelity: ScoreFidelity
    smooth_quant_alpha: float | None
    floating_point_layers: tuple[str, ...]
    seconds: float
    bytes_before: int
    bytes_after: int


def quantize_cross_encoder(
    model: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    calibration_texts: Sequence[str] | None = None,
    calibration_queries: Sequence[str] | None = None,
    search: bool = True,
    method: str | None = None,
    weight_bits: int | None = None,
    config: QuantizationConfig | str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    revision: str | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    max_length: int | None = None,
    progress: Callable[[str], object] | None = None,
) -> CrossEncoderReport:
    """Quantize a cross-encoder to int8, for OpenVINO, and write a folder that `CrossEncoder.load` opens.

    Documents are paired with queries, and some with their own first sentence. Half of the pairs set the ranges, the
    other half measures what came of it: int8 scores beside fp32 ones.

    Args:
        model: A folder or hub id of an fp32 model.
        output_dir: Where the int8 folder goes. It appears whole or not at all.
        calibration_texts: Documents like the ones to be ranked; the package's own when None.
        calibration_queries: Queries like the ones to be asked; the package's own when None.
        search: Compare several SmoothQuant strengths and keep the one whose scores rank most like fp32's.
        method: "static" (the default), or "dynamic": docs/quantization.md.
        weight_bits: 8 or 7, as in `quantize`.
        config: How to quantize, or a YAML file that says so; `max_drop` is for embedding models.
        overwrite: As in `quantize`, like all that follow.
        revision: Branch, tag or commit on the hub.
        cache_folder: Where the hub's files are kept.
        local_files_only: Never ask the hub.
        max_length: Longest pair in tokens, instead of what the model's folder says.
        progress: Called with a line of text at each step; None logs them.

    Raises:
        MissingExtraError: The quantizer is not installed.
        OptionError: An argument is not allowed, or `output_dir` exists.
        ModelFilesError: The model is not there.
        UnsupportedModelError: It is no cross-encoder that can be run here, or is int8 already.
        DamagedFilesError: One of its files, or `config`, is not what it should be.
        QuantizationError: The quantizer failed.
        OSError: The folder can't be written.
    """
    options = LoadOptions(
        model=model,
        revision=revision,
        cache_folder=cache_folder,
        local_files_only=local_files_only,
        max_length=max_length,
    )
    output = output_folder(output_dir, overwrite=overwrite)
    config = settle_config(config, method=method, weight_bits=weight_bits, search=search, max_drop=None)
    if config.max_drop is not None:
        raise OptionError(f"max_drop={config.max_drop} is for models that make embeddings; leave it out here.")
    if config.method == MethodName.QAT.value:
        raise OptionError(f"method={config.method!r} is for models that make embeddings; take 'static' or 'dynamic'.")
    texts = split(calibration_set(calibration_texts, calibration_queries))
    quantizer_module(_RUNTIME).require_quantizer()
    source = find_model(model, revision=revision, cache_folder=cache_folder, local_files_only=local_files_only)
    refuse_existing(output, overwrite=overwrite, source=source.path)
    if (source.path / MANIFEST_FILE).is_file():
        raise UnsupportedModelError(f"{source.name} is int8 already; load it as it is.")
    settings = read_cross_encoder_settings(source.path, name=source.name, default_max_length=options.max_length)
    return _quantize_folder(
        source,
        output,
        settings=settings,
        texts=texts,
        config=config,
        overwrite=overwrite,
        say=progress or logger.info,
        max_length=options.max_length,
    )


def cross_encoder_on_first_use(
    source: ModelFolder, settings: CrossEncoderSettings, *, cache_folder: str | os.PathLike[str] | None
) -> Path:
    """Find the int8 form of a cross-encoder in the cache, or make it; see `quantized_on_first_use`."""

    def make(folder: Path) -> str:
        report = _quantize_folder(
            source,
            folder,
            settings=settings,
            texts=split(built_in_texts()),
            config=QuantizationConfig(),
            overwrite=False,
            say=logger.info,
        )
        return f"rank correlation with fp32 {report.fidelity.rank_correlation:.4f}"

    return made_once(source, settings, make, runtime=_RUNTIME, format_version=FORMAT_VERSION, cache_folder=cache_folder)


def _quantize_folder(
    source: ModelFolder,
    output: Path,
    *,
    settings: CrossEncoderSettings,
    texts: CalibrationSplit,
    config: QuantizationConfig,
    overwrite: bool,
    say: Callable[[str], object],
    max_length: int | None = None,
) -> CrossEncoderReport:
    from intel_quantized_embeddings.runtimes.openvino import build_cross_encoder

    started = time.perf_counter()
    weights = find_weight_files(source.path, read_json(source.path / "config.json"))
    quantizer = quantizer_module(_RUNTIME)
    recipe, strengths = settle_recipe(config, quantizer, Pooling.CLS)
    built = build_cross_encoder(source.path, max_length=settings.max_length, name=source.name)
    layers = layers_named(config.floating_point_layers, quantizer.linear_layers(built.embedder))
    recipe = replace(recipe, floating_point_layers=layers)
    settings = settings.override(max_length=max_length, max_positions=built.embedder.max_positions)
    subject = CrossEncoderSubject(source, built=built, settings=settings, texts=texts)
    say(f"{source.name}: calibrating on {subject.calibrated} pairs, {subject.held_out} held out")
    kept, scores = most_faithful(subject, recipe, strengths=strengths, say=say)
    say(f"  scores beside fp32: {kept.fidelity}")
    with appearing_whole(output, overwrite=overwrite) as folder:
        manifest = write_cross_encoder_folder(
            folder,
            subject,
            kept,
            method=method_of(kept.recipe, alphas_tried=scores, quantizer=quantizer),
            config=config,
            weights=weights,
        )
    encoder_files = [output / name for name in manifest.files if name.startswith("encoder.")]
    report = CrossEncoderReport(
        folder=output,
        fidelity=kept.fidelity,
        smooth_quant_alpha=kept.recipe.alpha,
        floating_point_layers=kept.recipe.floating_point_layers,
        seconds=time.perf_counter() - started,
        bytes_before=sum(file.stat().st_size for file in weights.files),
        bytes_after=sum(file.stat().st_size for file in encoder_files),
    )
    say(f"wrote {output} in {report.seconds:.0f} s")
    return report
