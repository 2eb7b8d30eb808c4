"""`quantize` and its siblings for other kinds: a model in, a folder with its int8 form out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

from intel_quantized_embeddings.files.atomic import output_folder
from intel_quantized_embeddings.int8_folder.config import QuantizationConfig
from intel_quantized_embeddings.options import LoadOptions
from intel_quantized_embeddings.quantization.dispatch import asked_dataset, quantize_asked
from intel_quantized_embeddings.quantization.kinds import CROSS_ENCODER, EMBEDDER, SPARSE
from intel_quantized_embeddings.quantization.report import CrossEncoderReport, QuantizationReport, SparseReport
from intel_quantized_embeddings.quantization.settling import refuse_of_embedders, settle_config

logger = logging.getLogger(__name__)


def quantize(
    model: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    calibration_texts: Sequence[str] | None = None,
    calibration_queries: Sequence[str] | None = None,
    runtime: str | None = None,
    search: bool = True,
    measure: bool = True,
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

    Half of the calibration texts measures what came of it: cosine of int8 vectors to fp32 ones, documents and queries
    apart. The other half sets the ranges, for runtimes that are calibrated: "native" is not.

    Args:
        model: A folder or hub id of an fp32 model.
        output_dir: Where the int8 folder goes. It appears whole or not at all.
        calibration_texts: Documents like the ones to be embedded; the package's own when None.
        calibration_queries: Queries like the ones to be asked; the package's own when None.
        runtime: Which runtime the folder is for: "native" (quantized by the engine itself, without calibration),
            "openvino" (with NNCF) or "ipex" (with Neural Compressor). None takes the one that the model would be loaded
            with: "openvino" for an export, else "native".
        search: Compare several SmoothQuant strengths and keep the most faithful, which takes about
            four times as long; False takes the usual one.
        measure: Say how near int8 is to fp32; False leaves that out of the folder and the report. Without measuring
            there is no comparing, no `max_drop` and no "qat", and OpenVINO's int8 is static whatever it loses.
        method: "per-token" for the native runtime, which has no other; "static", "weight-only", "dynamic" or "qat" for
            OpenVINO, "static" or "qat" for IPEX. None is "per-token" or "static", and for OpenVINO "weight-only" where
            static int8 is measured to be too far from fp32, which the report says: docs/quantization.md.
        qat_minutes: How long method "qat" may fine-tune the weights; 10 when None.
        weight_bits: 8 or 7, for OpenVINO; None is 8 where this CPU computes with them exactly (VNNI, AMX) and 7
            elsewhere. A folder with 7 is as faithful on every CPU: docs/quantization.md.
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
    output = output_folder(output_dir, overwrite=overwrite)
    config = settle_config(
        config,
        method=method,
        qat_minutes=qat_minutes,
        weight_bits=weight_bits,
        search=search,
        max_drop=max_drop,
        measure=measure,
    )
    report = quantize_asked(
        EMBEDDER,
        options,
        output,
        texts=calibration_texts,
        queries=calibration_queries,
        config=config,
        dataset=asked_dataset(dataset, config),
        overwrite=overwrite,
        say=progress or logger.info,
        measure=measure,
    )
    assert isinstance(report, QuantizationReport)  # as the kind says
    return report


def quantize_cross_encoder(
    model: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    calibration_texts: Sequence[str] | None = None,
    calibration_queries: Sequence[str] | None = None,
    runtime: str | None = None,
    search: bool = True,
    measure: bool = True,
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
    """Quantize a cross-encoder to int8 and write a folder that `CrossEncoder.load` opens.

    Documents are paired with queries, and some with their own first sentence. Half of the pairs set the ranges, the
    other half measures what came of it: int8 scores beside fp32 ones.

    Args:
        model: A folder or hub id of an fp32 model.
        output_dir: Where the int8 folder goes. It appears whole or not at all.
        calibration_texts: Documents like the ones to be ranked; the package's own when None.
        calibration_queries: Queries like the ones to be asked; the package's own when None.
        runtime: Which runtime the folder is for, "native" or "openvino"; None takes the first.
        search: Compare several SmoothQuant strengths and keep the one whose scores rank most like fp32's.
        measure: As in `quantize`.
        method: "static", "weight-only" or "dynamic" for OpenVINO, as in `quantize`.
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
        runtime=runtime,
        revision=revision,
        cache_folder=cache_folder,
        local_files_only=local_files_only,
        max_length=max_length,
    )
    output = output_folder(output_dir, overwrite=overwrite)
    config = settle_config(config, method=method, weight_bits=weight_bits, search=search, measure=measure)
    refuse_of_embedders(config)
    report = quantize_asked(
        CROSS_ENCODER,
        options,
        output,
        texts=calibration_texts,
        queries=calibration_queries,
        config=config,
        overwrite=overwrite,
        say=progress or logger.info,
        measure=measure,
    )
    assert isinstance(report, CrossEncoderReport)  # as the kind says
    return report


def quantize_sparse(
    model: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    calibration_texts: Sequence[str] | None = None,
    calibration_queries: Sequence[str] | None = None,
    runtime: str | None = None,
    search: bool = True,
    measure: bool = True,
    method: str | None = None,
    weight_bits: int | None = None,
    config: QuantizationConfig | str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    revision: str | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    max_length: int | None = None,
    query_instruction: str | None = None,
    document_instruction: str | None = None,
    progress: Callable[[str], object] | None = None,
) -> SparseReport:
    """Quantize a sparse model to int8 and write a folder that `SparseEncoder.load` opens.

    Half of the calibration texts measures what came of it: cosine of int8 vectors to fp32 ones, and how many of the
    largest weights are the same.

    Args:
        model: A folder or hub id of an fp32 model.
        output_dir: Where the int8 folder goes. It appears whole or not at all.
        calibration_texts: Documents like the ones to be searched; the package's own when None.
        calibration_queries: Queries like the ones to be asked; the package's own when None.
        runtime: Which runtime the folder is for, "native" or "openvino"; None takes the first.
        search: Compare several SmoothQuant strengths and keep the most faithful, for runtimes that have it.
        measure: As in `quantize`.
        method: "per-token" for the native runtime; "static" or "dynamic" for OpenVINO, as in `quantize`.
        weight_bits: 8 or 7, as in `quantize`.
        config: How to quantize, or a YAML file that says so; `max_drop` is for embedding models.
        overwrite: As in `quantize`, like all that follow.
        revision: Branch, tag or commit on the hub.
        cache_folder: Where the hub's files are kept.
        local_files_only: Never ask the hub.
        max_length: Longest text in tokens, instead of what the model's folder says.
        query_instruction: Overrides the model's folder.
        document_instruction: Overrides the model's folder.
        progress: Called with a line of text at each step; None logs them.

    Raises:
        MissingExtraError: SciPy or the quantizer is not installed.
        OptionError: An argument is not allowed, or `output_dir` exists.
        ModelFilesError: The model is not there.
        UnsupportedModelError: It is no sparse model that can be run here, or is int8 already.
        DamagedFilesError: One of its files, or `config`, is not what it should be.
        QuantizationError: The quantizer failed.
        OSError: The folder can't be written.
    """
    options = LoadOptions(
        model=model,
        runtime=runtime,
        revision=revision,
        cache_folder=cache_folder,
        local_files_only=local_files_only,
        max_length=max_length,
        query_instruction=query_instruction,
        document_instruction=document_instruction,
    )
    output = output_folder(output_dir, overwrite=overwrite)
    config = settle_config(config, method=method, weight_bits=weight_bits, search=search, measure=measure)
    refuse_of_embedders(config)
    report = quantize_asked(
        SPARSE,
        options,
        output,
        texts=calibration_texts,
        queries=calibration_queries,
        config=config,
        overwrite=overwrite,
        say=progress or logger.info,
        measure=measure,
    )
    assert isinstance(report, SparseReport)  # as the kind says
    return report
