"""A model's folder -> the embedder graph to compile: quantized, quantized on first use, or as it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.load_options import LoadOptions
from intel_quantized_embeddings.model_files import TOKENIZER_FILE, ModelFolder, file_sha256, find_model
from intel_quantized_embeddings.model_settings import ModelSettings, read_json, read_settings
from intel_quantized_embeddings.partial_snapshots import SETTINGS
from intel_quantized_embeddings.quantization.config import MethodName
from intel_quantized_embeddings.quantization.manifest import MANIFEST_FILE, FolderManifest, Manifest
from intel_quantized_embeddings.runtimes.base import Precision, RuntimeName
from intel_quantized_embeddings.runtimes.bfloat16 import has_bfloat16
from intel_quantized_embeddings.runtimes.forks import importing
from intel_quantized_embeddings.runtimes.table import runtime_module
from intel_quantized_embeddings.runtimes.tokenizer_threads import refuse_lost_threads
from intel_quantized_embeddings.tokenizer_files import BESIDE
from intel_quantized_embeddings.weight_files import WeightFiles, WeightKind, find_weight_files

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedEmbedder:
    """A graph and what is needed to drive it.

    Attributes:
        graph: What its runtime compiles.
        folder: Where its tokenizer is.
        settings: What the folder says.
        max_positions: The longest input in tokens.
        pad_token_id: What padding must hold.
        hashes: SHA-256 of the files that the vectors depend on.
        dynamic: Whether activations are quantized batch by batch.
        manifest: Of a folder that `quantize` wrote; None for what others made.
    """

    graph: Any
    folder: Path
    settings: ModelSettings
    max_positions: int
    pad_token_id: int
    hashes: dict[str, str]
    dynamic: bool = False
    manifest: FolderManifest | None = None


def load_embedder(options: LoadOptions) -> LoadedEmbedder:
    """Open what `Encoder.load` was asked for.

    Raises:
        QuantizedEmbeddingsError: As `Encoder.load` lists them.
    """
    refuse_lost_threads()  # before any work
    source = find_model(
        options.model,
        revision=options.revision,
        cache_folder=options.cache_folder,
        local_files_only=options.local_files_only,
        given=[name for name in SETTINGS if getattr(options, name) is not None],
    )
    if (source.path / MANIFEST_FILE).is_file():
        return _quantized(source.path, options, from_hub=source.revision)
    settings = read_settings(
        source.path,
        name=source.name,
        pooling=options.pooling,
        normalize=options.normalize,
        default_max_length=options.max_length,
    )
    # Whether what others made is int8 already shows only when it is opened; safetensors never are.
    weights = find_weight_files(source.path, read_json(source.path / "config.json"))
    quantizable = weights.kind is WeightKind.SAFETENSORS and weights.files
    if options.precision == Precision.INT8.value and weights.kind is WeightKind.EXPORT:
        # Only of an fp32 one is there an int8 form: then it need not be opened to see that it is.
        before = _quantized_before(source, settings, options)
        if before is not None:
            return before
    if options.precision != Precision.INT8.value or not quantizable:
        opened = _unquantized(source, settings, weights, options)
        if opened is not None:
            return opened
    return _quantized_on_first_use(source, settings, options)


def _quantized_before(source: ModelFolder, settings: ModelSettings, options: LoadOptions) -> LoadedEmbedder | None:
    """Open the int8 form of an export in the cache; None where there is none."""
    if options.runtime != RuntimeName.OPENVINO.value:
        return None
    with importing():
        from intel_quantized_embeddings.quantization.cache import quantized_before

    folder = quantized_before(source, settings, runtime=RuntimeName.OPENVINO, cache_folder=options.cache_folder)
    if folder is None:
        return None
    with naming_the_cache(folder):
        return _quantized(folder, options)


def _quantized_on_first_use(source: ModelFolder, settings: ModelSettings, options: LoadOptions) -> LoadedEmbedder:
    """Open the int8 form in the cache, made now if it is not there."""
    with importing():
        from intel_quantized_embeddings.quantization.cache import quantized_on_first_use

    folder = quantized_on_first_use(
        source, settings, runtime=RuntimeName(options.runtime), cache_folder=options.cache_folder
    )
    with naming_the_cache(folder):
        loaded = _quantized(folder, options)
    # Vectors don't depend on these, so a folder in the cache may have been made when the source said otherwise.
    as_today = replace(
        loaded.settings, similarity=settings.similarity, default_instruction=settings.default_instruction
    )
    return replace(loaded, settings=as_today)


@contextmanager
def naming_the_cache(folder: Path) -> Iterator[None]:
    """Say of a folder that was made on first use, and is damaged, what to do."""
    try:
        yield
    except (DamagedFilesError, ModelFilesError) as exc:
        raise DamagedFilesError(
            f"{exc} This folder was made on first use: delete {folder} to have it made again."
        ) from exc


def _quantized(folder: Path, options: LoadOptions, *, from_hub: str | None = None) -> LoadedEmbedder:
    """Open a folder that `quantize` wrote, after checking that it is whole and what was asked for.

    Args:
        folder: The folder.
        options: What was asked for.
        from_hub: The commit, of a folder from the hub. Its manifest proves that it is what somebody wrote, not who.
    """
    manifest = Manifest.read(folder)
    if from_hub and manifest.runtime == options.runtime == RuntimeName.IPEX.value and not options.allow_torchscript:
        raise OptionError(
            f"{options.model} is an int8 model for IPEX from the hub: TorchScript, which is code that would run here. "
            f"If you trust who made it, load it with allow_torchscript=True, and with revision={from_hub!r} to keep to "
            f"what you looked at."
        )
    refuse_other(folder, manifest, "pooling", options.pooling, manifest.settings.pooling.value)
    refuse_other(folder, manifest, "normalize", options.normalize, manifest.settings.normalize)
    graph, hashes = open_quantized(folder, manifest, options)
    return LoadedEmbedder(
        graph=graph,
        folder=folder,
        settings=manifest.settings,
        max_positions=manifest.max_positions,
        pad_token_id=manifest.pad_token_id,
        hashes=hashes,
        dynamic=is_dynamic(manifest),
        manifest=manifest,
    )


def refuse_other(folder: Path, manifest: FolderManifest, option: str, wanted: object, held: object) -> None:
    """Check that an option is what a quantized folder was made with.

    Raises:
        OptionError: It is given and is not.
    """
    if wanted is not None and wanted != held:
        raise OptionError(
            f"{option}={wanted!r} was asked of {folder}, which was quantized with {option}={held!r}. Pass "
            f"{option}={held!r}, or load or quantize its source, {manifest.source.id}, with {option}={wanted!r}."
        )


def open_quantized(folder: Path, manifest: FolderManifest, options: LoadOptions) -> tuple[Any, dict[str, str]]:
    """Read the graph of a quantized folder of any kind, after checking runtime, precision and every hash.

    Returns:
        The graph, and the hashes of what its results depend on.

    Raises:
        QuantizedEmbeddingsError: As `Encoder.load` lists them.
    """
    refuse_other(folder, manifest, "runtime", options.runtime, manifest.runtime)
    refuse_other(folder, manifest, "precision", options.precision, manifest.precision)
    manifest.verify(folder)
    if manifest.method.attention == Precision.BF16.value and not has_bfloat16():
        logger.warning(
            "%s was quantized on a CPU with bfloat16 and computes attention in it, which this CPU only emulates: it is "
            "right and slow. Quantize its source, %s, on a CPU like this one",
            folder,
            manifest.source.id,
        )
    runtime = runtime_module(RuntimeName(options.runtime))
    hashes = {
        name: digest
        for name, digest in manifest.files.items()
        if name.startswith("encoder.") or name in ("config.json", TOKENIZER_FILE, *BESIDE)
    }
    try:
        return runtime.read_graph(folder / runtime.ENCODER_FILE), hashes
    except DamagedFilesError as exc:
        versions = ", ".join(f"{name} {version}" for name, version in manifest.library_versions.items())
        raise UnsupportedModelError(
            f"{exc} The file is whole: its hash is the manifest's. It was made with {versions}. If these are not newer "
            f"than what is installed here, a library that was loaded earlier may be in the way, as USearch is in "
            f"OpenVINO's: import openvino before it."
        ) from exc


def is_dynamic(manifest: FolderManifest) -> bool:
    """Whether activations are quantized batch by batch."""
    return manifest.method.name == MethodName.DYNAMIC.value


def _unquantized(
    source: ModelFolder, settings: ModelSettings, weights: WeightFiles, options: LoadOptions
) -> LoadedEmbedder | None:
    """Open a model folder at the precision of its weights; None when it must be quantized first."""
    precision = Precision(options.precision)
    embedder = runtime_module(RuntimeName(options.runtime)).build_graph(
        source.path, settings, name=source.name, allow_torchscript=options.allow_torchscript
    )
    if precision is Precision.INT8 and embedder.precision is not Precision.INT8:
        return None
    if precision is not Precision.INT8 and embedder.precision is Precision.INT8:
        raise OptionError(
            f"precision={precision.value!r} was asked of {source.name}, which was quantized and computes as int8. Pass "
            f"precision='int8'."
        )
    return LoadedEmbedder(
        graph=embedder.graph,
        folder=source.path,
        settings=settings,
        max_positions=embedder.max_positions,
        pad_token_id=embedder.pad_token_id,
        hashes=source_hashes(source, weights),
        dynamic=embedder.dynamic,
    )


def source_hashes(source: ModelFolder, weights: WeightFiles) -> dict[str, str]:
    """SHA-256 of what the results of a model depend on that is not quantized, by name."""
    files = [*weights.files, *(source.path / name for name in ("config.json", TOKENIZER_FILE, *BESIDE))]
    return {file.relative_to(source.path).as_posix(): file_sha256(file) for file in files if file.is_file()}
