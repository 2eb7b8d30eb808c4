"""A cross-encoder's folder -> the graph to compile: quantized, quantized on first use, or as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.cross_encoder_settings import CrossEncoderSettings, read_cross_encoder_settings
from intel_quantized_embeddings.embedders import is_dynamic, naming_the_cache, open_quantized, source_hashes
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.load_options import LoadOptions
from intel_quantized_embeddings.model_files import ModelFolder, find_model
from intel_quantized_embeddings.model_settings import read_json
from intel_quantized_embeddings.quantization.cross_encoder_manifest import CrossEncoderManifest
from intel_quantized_embeddings.quantization.manifest import MANIFEST_FILE, FolderManifest
from intel_quantized_embeddings.runtimes.base import Precision, RuntimeName
from intel_quantized_embeddings.runtimes.forks import importing
from intel_quantized_embeddings.runtimes.tokenizer_threads import refuse_lost_threads
from intel_quantized_embeddings.weight_files import find_weight_files

# What is said of an embedding model's vectors and means nothing to a score.
_OF_EMBEDDINGS = ("pooling", "normalize", "query_instruction", "document_instruction", "truncate_dim")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCrossEncoder:
    """A graph and what is needed to drive it.

    Attributes:
        graph: What its runtime compiles.
        folder: Where its tokenizer is.
        settings: What the folder and the caller say.
        second_text: What the ids of a pair's second text are raised by.
        pad_token_id: What padding must hold.
        hashes: SHA-256 of the files that the scores depend on.
        dynamic: Whether activations are quantized batch by batch.
        manifest: Of a folder that `quantize_cross_encoder` wrote; None for what others made.
    """

    graph: Any
    folder: Path
    settings: CrossEncoderSettings
    second_text: int
    pad_token_id: int
    hashes: dict[str, str]
    dynamic: bool = False
    manifest: FolderManifest | None = None


def load_cross_encoder(options: LoadOptions) -> LoadedCrossEncoder:
    """Open what `CrossEncoder.load` was asked for.

    Raises:
        QuantizedEmbeddingsError: As `CrossEncoder.load` lists them.
    """
    require_openvino(options.runtime)
    for name in _OF_EMBEDDINGS:
        value = getattr(options, name)
        if value is not None:
            raise OptionError(f"{name}={value!r} is for models that make embeddings; {options.model} scores pairs.")
    refuse_lost_threads()
    source = find_model(
        options.model,
        revision=options.revision,
        cache_folder=options.cache_folder,
        local_files_only=options.local_files_only,
    )
    if (source.path / MANIFEST_FILE).is_file():
        return _quantized(source.path, options)
    settings = read_cross_encoder_settings(source.path, name=source.name, default_max_length=options.max_length)
    if options.precision != Precision.INT8.value:
        return _unquantized(source, settings, options)
    with importing():
        from intel_quantized_embeddings.quantization.cross_encoder import cross_encoder_on_first_use

    folder = cross_encoder_on_first_use(source, settings, cache_folder=options.cache_folder)
    with naming_the_cache(folder):
        return _quantized(folder, options)


def require_openvino(runtime: str) -> None:
    """Check the runtime that a cross-encoder is to run on.

    Raises:
        OptionError: It is IPEX.
    """
    if runtime != RuntimeName.OPENVINO.value:
        raise OptionError(
            f"runtime={runtime!r} can't be had for a cross-encoder: they run on {RuntimeName.OPENVINO.value!r} only."
        )


def _quantized(folder: Path, options: LoadOptions) -> LoadedCrossEncoder:
    manifest = CrossEncoderManifest.read(folder)
    graph, hashes = open_quantized(folder, manifest, options)
    return LoadedCrossEncoder(
        graph=graph,
        folder=folder,
        settings=manifest.settings.override(max_length=options.max_length, max_positions=manifest.max_positions),
        second_text=manifest.second_text,
        pad_token_id=manifest.pad_token_id,
        hashes=hashes,
        dynamic=is_dynamic(manifest),
        manifest=manifest,
    )


def _unquantized(source: ModelFolder, settings: CrossEncoderSettings, options: LoadOptions) -> LoadedCrossEncoder:
    with importing():
        from intel_quantized_embeddings.runtimes.openvino import build_cross_encoder

    built = build_cross_encoder(source.path, max_length=settings.max_length, name=source.name)
    weights = find_weight_files(source.path, read_json(source.path / "config.json"))
    return LoadedCrossEncoder(
        graph=built.embedder.graph,
        folder=source.path,
        settings=settings.override(max_length=options.max_length, max_positions=built.embedder.max_positions),
        second_text=built.second_text,
        pad_token_id=built.embedder.pad_token_id,
        hashes=source_hashes(source, weights),
    )
