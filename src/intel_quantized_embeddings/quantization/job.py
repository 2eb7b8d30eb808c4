"""The job behind `quantize` and `quantize_cross_encoder`: a model whose files are known -> its int8 folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from intel_quantized_embeddings.errors import UnsupportedModelError
from intel_quantized_embeddings.files.atomic import atomic_folder
from intel_quantized_embeddings.int8_folder.config import WITHOUT_CALIBRATION, MethodName, QuantizationConfig
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.weight_files import WeightKind
from intel_quantized_embeddings.options import Precision, RuntimeName
from intel_quantized_embeddings.quantization.calibration import CalibrationSplit, a_few
from intel_quantized_embeddings.quantization.choosing import static_or_weight_only, unmeasured
from intel_quantized_embeddings.quantization.folder import write_folder
from intel_quantized_embeddings.quantization.kinds import Kind
from intel_quantized_embeddings.quantization.layers import dataset_measure, held_out_measure, within_limit
from intel_quantized_embeddings.quantization.recipe import layers_named
from intel_quantized_embeddings.quantization.report import Report
from intel_quantized_embeddings.quantization.search import most_faithful
from intel_quantized_embeddings.quantization.settling import method_of, settle_recipe
from intel_quantized_embeddings.quantization.subject import Settings, Subject
from intel_quantized_embeddings.quantization.table import quantizer_module

if TYPE_CHECKING:
    from intel_quantized_embeddings.tasks.datasets import Dataset

QAT_MINUTES = 10.0


def quantize_folder(
    source: SourceModel,
    output: Path,
    *,
    kind: Kind,
    runtime: RuntimeName,
    settings: Settings,
    texts: CalibrationSplit,
    config: QuantizationConfig,
    overwrite: bool,
    say: Callable[[str], object],
    dataset: Dataset | None = None,
    max_length: int | None = None,
    measure: bool = True,
) -> Report:
    """Quantize a model whose files and settings are known, with the errors of `quantize`.

    `settings` are the folder's, with the caller's overrides; `config.max_drop` is measured on `dataset`, or on the
    held-out texts if it is None.
    """
    started = time.perf_counter()
    if source.weights.kind is WeightKind.TORCHSCRIPT:
        raise UnsupportedModelError(
            f"{source.name} is a TorchScript model, which can't be quantized: quantize the fp32 model it was made from."
        )
    quantizer = quantizer_module(runtime)
    recipe, strengths = settle_recipe(config, quantizer, one_row=kind.one_row(settings), measure=measure)
    model = kind.build(source, settings, runtime, False)
    if model.precision is Precision.INT8:
        raise UnsupportedModelError(f"the export in {source.name} is int8 already; load it as it is.")
    layers = layers_named(config.floating_point_layers, quantizer.linear_layers(model))
    recipe = replace(recipe, floating_point_layers=layers)
    settings = settings.override(max_length=max_length, max_positions=model.max_positions)
    if not measure:
        texts = replace(texts, held_out=a_few(texts.held_out))  # needed for probes
    subject = Subject(source, kind=kind, runtime=runtime, model=model, settings=settings, texts=texts)
    held_out = sum(len(inputs.token_ids) for inputs in subject.held_out)
    measured = f"{held_out} {kind.inputs} held out" if measure else unmeasured(config, quantizer)
    if recipe.method in WITHOUT_CALIBRATION:
        say(f"{source.name}: quantizing, {measured}")
    else:
        say(f"{source.name}: calibrating on {len(subject.calibrated)} {kind.inputs}, {measured}")
    if dataset is not None:
        say(f"  measuring fp32 on {dataset.name}")
    judge = held_out_measure() if dataset is None else dataset_measure(subject, dataset)
    if measure:
        kept, scores = most_faithful(subject, recipe, strengths=strengths, say=say)
        kept, choice = static_or_weight_only(subject, kept, config, say=say)
    else:
        kept, scores, choice = subject.attempt(replace(recipe, alpha=strengths[0])), {}, None
    training = None
    if config.method == MethodName.QAT.value:
        from intel_quantized_embeddings.quantization.qat import trained

        subject, kept, training = trained(subject, kept, minutes=config.qat_minutes or QAT_MINUTES, say=say)
    drop = None
    if config.max_drop is not None:
        kept, drop = within_limit(subject, kept, judge, limit=config.max_drop, say=say)
    fidelity = kept.fidelity if measure else None
    for line in kind.measured(fidelity) if fidelity else ():
        say(f"  {line}")
    method = method_of(kept.recipe, alphas_tried=scores, quantizer=quantizer, choice=choice)
    method = replace(method, training=training)
    with atomic_folder(output, overwrite=overwrite) as folder:
        manifest = write_folder(folder, subject, kept, method=method, config=config, fidelity=fidelity, drop=drop)
    encoder_files = [output / name for name in manifest.files if name.startswith("encoder.")]
    report = kind.report(
        folder=output,
        fidelity=fidelity,
        method=method.name,
        choice=str(choice) if choice else None,
        smooth_quant_alpha=method.smooth_quant_alpha,
        floating_point_layers=method.floating_point_layers,
        drop=drop,
        seconds=time.perf_counter() - started,
        bytes_before=sum(file.stat().st_size for file in source.weight_files),
        bytes_after=sum(file.stat().st_size for file in encoder_files),
    )
    say(f"wrote {output} in {report.seconds:.0f} s")
    return report
