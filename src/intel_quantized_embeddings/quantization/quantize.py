"""`quantize`: a model in, a folder with its int8 form out."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.errors import UnsupportedModelError
from intel_quantized_embeddings.folders import appearing_whole, refuse_existing
from intel_quantized_embeddings.model_files import TOKENIZER_FILE, ModelFolder, file_sha256, find_model
from intel_quantized_embeddings.model_settings import ModelSettings, read_json, read_settings
from intel_quantized_embeddings.pipeline import encode_token_ids
from intel_quantized_embeddings.quantization.calibration import CalibrationSplit, Texts, calibration_set, split
from intel_quantized_embeddings.quantization.fidelity import Fidelity, summarize_cosines
from intel_quantized_embeddings.quantization.folder import write_metadata, write_model_card
from intel_quantized_embeddings.quantization.manifest import (
    MANIFEST_FILE,
    Calibration,
    Manifest,
    Method,
    Source,
    hash_files,
)
from intel_quantized_embeddings.quantization.quantizers import ALPHAS, DEFAULT_ALPHA, quantizer_module
from intel_quantized_embeddings.runtimes.base import (
    EmbedderGraph,
    Precision,
    RuntimeName,
    runtime_module,
)
from intel_quantized_embeddings.tokenization import Tokenizer
from intel_quantized_embeddings.weight_files import WeightFiles, WeightKind, find_weight_files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationReport:
    """What came of quantizing a model.

    Attributes:
        folder: The int8 folder.
        fidelity: Cosine to fp32 on texts that were not calibrated on.
        smooth_quant_alpha: The SmoothQuant strength that was kept, None for none.
        seconds: How long everything took.
        bytes_before: Size of the fp32 weights.
        bytes_after: Size of the int8 encoder.
    """

    folder: Path
    fidelity: Fidelity
    smooth_quant_alpha: float | None
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
    """Quantize a model to static int8 and write a folder that `Encoder.load` opens.

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
        DamagedFilesError: One of its files is not what it should be.
        QuantizationError: The quantizer failed.
        OSError: The folder can't be written.

    Example:
        >>> report = quantize("BAAI/bge-small-en-v1.5", "bge-small-int8")  # doctest: +SKIP
        >>> report.fidelity.documents.mean  # doctest: +SKIP
    """
    runtime_name = RuntimeName.parse(runtime)
    output = Path(output_dir).expanduser().resolve()
    refuse_existing(output, overwrite=overwrite)
    texts = split(calibration_set(calibration_texts, calibration_queries))
    quantizer_module(runtime_name).require_quantizer()
    source = find_model(model, revision=revision, cache_folder=cache_folder, local_files_only=local_files_only)
    refuse_existing(output, overwrite=overwrite, source=source.path)
    if (source.path / MANIFEST_FILE).is_file():
        raise UnsupportedModelError(f"{source.name} is int8 already; load it as it is.")
    settings = read_settings(
        source.path, name=source.name, pooling=pooling, normalize=normalize, default_max_length=max_length
    )
    return quantize_folder(
        source,
        output,
        runtime=runtime_name,
        settings=settings.override(query_instruction=query_instruction, document_instruction=document_instruction),
        texts=texts,
        search=search,
        overwrite=overwrite,
        say=progress or logger.info,
        max_length=max_length,
    )


def quantize_folder(
    source: ModelFolder,
    output: Path,
    *,
    runtime: RuntimeName,
    settings: ModelSettings,
    texts: CalibrationSplit,
    search: bool,
    overwrite: bool,
    say: Callable[[str], object],
    max_length: int | None = None,
) -> QuantizationReport:
    """Quantize a model whose files and settings are known; see `quantize`."""
    started = time.perf_counter()
    if _source_weights(source.path).kind is WeightKind.TORCHSCRIPT:
        raise UnsupportedModelError(
            f"{source.name} is a TorchScript model, which can't be quantized: quantize the fp32 model it was made from."
        )
    embedder = runtime_module(runtime).build_graph(source.path, settings, name=source.name)
    if embedder.precision is Precision.INT8:
        raise UnsupportedModelError(f"the export in {source.name} is int8 already; load it as it is.")
    settings = settings.override(max_length=max_length, max_positions=embedder.max_positions)
    say(f"{source.name}: calibrating on {len(texts.calibrated)} texts, {len(texts.held_out)} held out")
    subject = _Subject(runtime, embedder, settings, source, texts)
    graph, method, fidelity = _best(subject, search=search, say=say)
    with appearing_whole(output, overwrite=overwrite) as folder:
        manifest = _write(subject, folder, graph, method, fidelity)
    encoder_files = [output / name for name in manifest.files if name.startswith("encoder.")]
    report = QuantizationReport(
        folder=output,
        fidelity=fidelity,
        smooth_quant_alpha=method.smooth_quant_alpha,
        seconds=time.perf_counter() - started,
        bytes_before=sum(file.stat().st_size for file in _source_weights(source.path).files),
        bytes_after=sum(file.stat().st_size for file in encoder_files),
    )
    say(f"wrote {output} in {report.seconds:.0f} s")
    return report


def _source_weights(folder: Path) -> WeightFiles:
    return find_weight_files(folder, read_json(folder / "config.json"))


class _Subject:
    """The model being quantized, its texts tokenized, and its fp32 vectors of the held-out ones."""

    def __init__(
        self,
        runtime: RuntimeName,
        embedder: EmbedderGraph,
        settings: ModelSettings,
        source: ModelFolder,
        texts: CalibrationSplit,
    ) -> None:
        self.runtime, self.embedder, self.settings, self.source, self.texts = runtime, embedder, settings, source, texts
        self._tokenizer = Tokenizer(
            source.path / TOKENIZER_FILE, max_length=settings.max_length, lowercase=settings.lowercase
        )
        documents, queries = self._tokenize(texts.calibrated)
        self.calibrated = documents + queries
        self._held_out = self._tokenize(texts.held_out)
        self._fp32 = self._encode(embedder.graph, Precision.FP32)
        self.dimension = self._fp32[0].shape[1]

    def fidelity(self, graph: Any) -> Fidelity:
        """Compare a quantized graph with the fp32 one on the held-out texts."""
        vectors = self._encode(graph, Precision.INT8)
        documents, queries = (summarize_cosines(fp32, int8) for fp32, int8 in zip(self._fp32, vectors, strict=True))
        return Fidelity(documents=documents, queries=queries)

    def _tokenize(self, texts: Texts) -> tuple[list[list[int]], list[list[int]]]:
        settings, encode = self.settings, self._tokenizer.encode
        return (
            encode(texts.documents, instruction=settings.document_instruction).token_ids,
            encode(texts.queries, instruction=settings.query_instruction).token_ids,
        )

    def _encode(self, graph: Any, precision: Precision) -> list[NDArray[np.float32]]:
        runtime = runtime_module(self.runtime).compile_graph(graph, precision=precision)
        return [
            encode_token_ids(
                runtime,
                [token_ids],
                pad_token_id=self.embedder.pad_token_id,
                max_length=self.settings.max_length,
            )
            for token_ids in self._held_out
        ]


def _best(subject: _Subject, *, search: bool, say: Callable[[str], object]) -> tuple[Any, Method, Fidelity]:
    """Quantize with the SmoothQuant strength that is most faithful on the held-out texts."""
    quantizer = quantizer_module(subject.runtime)
    alphas = ALPHAS if search else (DEFAULT_ALPHA,)
    scores: dict[str, float] = {}
    best: tuple[Any, float | None, Fidelity] | None = None
    for number, alpha in enumerate(alphas, start=1):
        graph = quantizer.quantize_graph(subject.embedder, subject.calibrated, alpha=alpha)
        fidelity = subject.fidelity(graph)
        scores[_alpha_name(alpha)] = round(fidelity.score, 6)
        say(f"  {number}/{len(alphas)} SmoothQuant {_alpha_name(alpha)}: mean cosine {fidelity.score:.4f}")
        if best is None or fidelity.score > best[2].score:
            best = graph, alpha, fidelity
    assert best is not None  # there is at least one strength
    graph, alpha, fidelity = best
    say(f"  kept SmoothQuant {_alpha_name(alpha)}")
    say(f"  cosine to fp32: documents {fidelity.documents}")
    say(f"  cosine to fp32: queries {fidelity.queries}")
    method = Method(
        name="static", smooth_quant_alpha=alpha, alphas_tried=scores, attention=quantizer.attention_precision()
    )
    return graph, method, fidelity


def _alpha_name(alpha: float | None) -> str:
    return "off" if alpha is None else str(alpha)


def _write(subject: _Subject, folder: Path, graph: Any, method: Method, fidelity: Fidelity) -> Manifest:
    """Fill the folder, the manifest last."""
    source, settings, embedder = subject.source, subject.settings, subject.embedder
    runtime = runtime_module(subject.runtime)
    runtime.save_graph(graph, folder / runtime.ENCODER_FILE)
    write_metadata(source.path, folder, settings, dimension=subject.dimension)
    libraries = ("intel-quantized-embeddings", *quantizer_module(subject.runtime).LIBRARIES, "tokenizers")
    manifest = Manifest(
        source=Source(
            id=source.name,
            revision=source.revision,
            weights_sha256={file.name: file_sha256(file) for file in _source_weights(source.path).files},
        ),
        runtime=subject.runtime.value,
        precision=Precision.INT8.value,
        method=method,
        calibration=Calibration(
            digest=subject.texts.calibrated.digest,
            documents=len(subject.texts.calibrated.documents),
            queries=len(subject.texts.calibrated.queries),
        ),
        settings=settings,
        dimension=subject.dimension,
        max_positions=embedder.max_positions,
        pad_token_id=embedder.pad_token_id,
        fidelity=fidelity,
        library_versions={name: version(name) for name in libraries},
        files={},
    )
    write_model_card(folder, manifest)
    manifest = replace(manifest, files=hash_files(folder))
    manifest.write(folder)
    return manifest
