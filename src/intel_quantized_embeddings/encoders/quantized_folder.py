"""Open a folder that `quantize` wrote: check it against the options, and read its graph."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.int8_folder.config import MethodName
from intel_quantized_embeddings.int8_folder.manifest import CrossEncoderManifest, FolderManifest
from intel_quantized_embeddings.models.source import DECIDING_FILES
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.options import LoadOptions, Precision, RuntimeName
from intel_quantized_embeddings.quantization.kinds import Kind
from intel_quantized_embeddings.runtimes.bfloat16 import has_bfloat16
from intel_quantized_embeddings.runtimes.building import require_instruction_sets, require_precision
from intel_quantized_embeddings.runtimes.table import RUNTIMES, runtime_module

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A graph, with its tokenizer and settings.

    Attributes:
        runtime: The runtime that runs it: as asked for, or its folder's. None for a table, which has no layers.
        graph: The graph that the runtime compiles; a static model runs as it is.
        folder: The folder of the tokenizer.
        settings: The caller's settings, else the folder's.
        pad_token_id: The id of padding.
        hashes: SHA-256 of the files that results depend on.
        dynamic: Whether activations are quantized batch by batch.
        second_text: Number added to the token ids of a pair's second text.
        manifest: The manifest of a folder that this package wrote; None for other folders.
        tokenizer: The tokenizer of a table; None for the folder's usual one.
    """

    runtime: RuntimeName | None
    graph: Any
    folder: Path
    settings: Any
    pad_token_id: int
    hashes: dict[str, str]
    dynamic: bool = False
    second_text: int = 0
    manifest: FolderManifest | None = None
    tokenizer: Tokenizer | None = None


def require_able(runtime: RuntimeName, kind: Kind, options: LoadOptions) -> None:
    """Check that a runtime can do what the options ask; the OptionError names the runtimes that can."""
    kind.require_runtime(runtime)
    require_precision(runtime, Precision(options.precision))
    require_instruction_sets(runtime, options.instruction_set)


def settle_runtime(options: LoadOptions, kind: Kind, runtime: RuntimeName) -> LoadOptions:
    """Return the options with a model's own runtime if none was asked for; raises the errors of `require_able`."""
    if options.runtime is not None:
        return options
    require_able(runtime, kind, options)
    return replace(options, runtime=runtime.value)


def open_quantized(folder: Path, kind: Kind, options: LoadOptions, *, from_hub: str | None = None) -> Loaded:
    """Open a folder that `quantize` wrote, after checking that it is whole and what was asked for.

    `from_hub` is the commit of a folder from the hub. A manifest proves that files are unchanged, not who wrote them.
    """
    manifest = kind.manifest_class.read(folder)
    options = settle_runtime(options, kind, RuntimeName(manifest.runtime))
    is_code = manifest.runtime == options.runtime and RUNTIMES[RuntimeName(options.runtime)].folders_are_code
    if from_hub and is_code and not options.allow_torchscript:
        raise OptionError(
            f"{options.model} is an int8 model for IPEX from the hub: TorchScript, which is code that would run here. "
            f"If you trust who made it, load it with allow_torchscript=True, and with revision={from_hub!r} to keep to "
            f"what you looked at."
        )
    for name, held in kind.fixed.items():
        _refuse_other(folder, manifest, name, getattr(options, name), held(manifest.settings))
    graph, hashes = _open_graph(folder, manifest, options)
    return Loaded(
        runtime=RuntimeName(options.runtime),
        graph=graph,
        folder=folder,
        settings=overridden(manifest.settings, kind, options, max_positions=manifest.max_positions),
        pad_token_id=manifest.pad_token_id,
        hashes=hashes,
        dynamic=is_dynamic(manifest),
        second_text=manifest.second_text if isinstance(manifest, CrossEncoderManifest) else 0,
        manifest=manifest,
    )


def overridden(settings: Any, kind: Kind, options: LoadOptions, *, max_positions: int) -> Any:
    """Return a folder's settings with the options that override them."""
    asked = {name: getattr(options, name) for name in kind.overridden}
    return settings.override(**asked, max_positions=max_positions)


def _refuse_other(folder: Path, manifest: FolderManifest, option: str, wanted: object, held: object) -> None:
    """Check that an option is not given, or has the value that a quantized folder was made with."""
    if wanted is not None and wanted != held:
        raise OptionError(
            f"{option}={wanted!r} was asked of {folder}, which was quantized with {option}={held!r}. Pass "
            f"{option}={held!r}, or load or quantize its source, {manifest.source.id}, with {option}={wanted!r}."
        )


def _open_graph(folder: Path, manifest: FolderManifest, options: LoadOptions) -> tuple[Any, dict[str, str]]:
    """Read the graph of a quantized folder, after checking runtime, precision and every hash.

    Returns the graph, and the hashes of the files that its results depend on.
    """
    _refuse_other(folder, manifest, "runtime", options.runtime, manifest.runtime)
    _refuse_other(folder, manifest, "precision", options.precision, manifest.precision)
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
        name: digest for name, digest in manifest.files.items() if name.startswith("encoder.") or name in DECIDING_FILES
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
    """Return whether activations are quantized batch by batch."""
    return manifest.method.name == MethodName.DYNAMIC.value
