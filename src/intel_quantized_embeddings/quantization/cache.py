"""The cache of int8 models made on first use, in which one process makes each model."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from intel_quantized_embeddings.encoding.fingerprints import hashed_settings
from intel_quantized_embeddings.errors import OptionError, QuantizedEmbeddingsError
from intel_quantized_embeddings.int8_folder.config import QuantizationConfig
from intel_quantized_embeddings.models.source import MANIFEST_FILE, SourceModel
from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.process.forks import importing
from intel_quantized_embeddings.quantization.calibration import built_in_texts, split
from intel_quantized_embeddings.quantization.job import quantize_folder
from intel_quantized_embeddings.quantization.kinds import Kind
from intel_quantized_embeddings.quantization.subject import Settings
from intel_quantized_embeddings.quantization.table import quantizer_module

logger = logging.getLogger(__name__)


def quantized_on_first_use(
    source: SourceModel,
    settings: Settings,
    *,
    kind: Kind,
    runtime: RuntimeName,
    cache_folder: str | os.PathLike[str] | None,
) -> Path:
    """Find the int8 form of a model in the cache, or make it with the built-in calibration texts; see `made_once`."""

    def make(folder: Path) -> str:
        report = quantize_folder(
            source,
            folder,
            kind=kind,
            runtime=runtime,
            settings=settings,
            texts=split(built_in_texts()),
            config=QuantizationConfig(),
            overwrite=False,
            say=logger.info,
        )
        return "; ".join(kind.measured(report.fidelity))

    return made_once(
        source, settings, make, runtime=runtime, format_version=kind.manifest_class.FORMAT, cache_folder=cache_folder
    )


def made_once(
    source: SourceModel,
    settings: Settings,
    make: Callable[[Path], str],
    *,
    runtime: RuntimeName,
    format_version: int,
    cache_folder: str | os.PathLike[str] | None,
) -> Path:
    """Find a model's int8 folder in the cache, or have it made: the same files and settings give the same folder.

    If several processes ask at once, one makes it and the others wait. `make` writes the folder and returns a line on
    its fidelity; `format_version` is that of such models' manifest. A cache folder that can't be written is an
    OptionError.
    """
    with importing():
        from filelock import FileLock, Timeout

    folder = _cached(source, settings, runtime=runtime, format_version=format_version, cache_folder=cache_folder)
    if os.path.isfile(folder / MANIFEST_FILE):  # False if the cache may not be read, which is reported below
        return folder
    quantizer_module(runtime).require_quantizer()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{folder}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            logger.warning("another process is quantizing %s; waiting for it", source.name)
            lock.acquire()
    except OSError as exc:
        raise _not_kept(source, folder, exc) from exc
    started = time.perf_counter()
    try:
        if (folder / MANIFEST_FILE).is_file():  # another process made it while this one waited for the lock
            return folder
        _clear_half(folder)
        logger.warning(
            "quantizing %s to int8: once, a minute for a small model and some for a large one; kept in %s",
            source.name,
            folder,
        )
        try:
            fidelity = make(folder)
        except OSError as exc:
            if isinstance(exc, QuantizedEmbeddingsError):
                raise
            raise _not_kept(source, folder, exc) from exc
    finally:
        lock.release()
    logger.warning("quantized %s in %.0f s; %s", source.name, time.perf_counter() - started, fidelity)
    return folder


def _not_kept(source: SourceModel, folder: Path, exc: OSError) -> OptionError:
    return OptionError(
        f"the int8 form of {source.name} can't be kept in {folder.parent} ({exc}). Pass cache_folder= with a folder "
        f"that can be written and has room, or quantize the model into a folder and load that."
    )


def quantized_before(
    source: SourceModel,
    settings: Settings,
    *,
    kind: Kind,
    runtime: RuntimeName,
    cache_folder: str | os.PathLike[str] | None,
) -> Path | None:
    """Find a model's int8 folder in the cache, None if it was not made yet; see `made_once`."""
    folder = _cached(
        source, settings, runtime=runtime, format_version=kind.manifest_class.FORMAT, cache_folder=cache_folder
    )
    return folder if os.path.isfile(folder / MANIFEST_FILE) else None  # a cache that can't be read has no folder


def _clear_half(folder: Path) -> None:
    """Remove an incomplete folder, such as half a copy, from the place where one is to be made."""
    if not (folder.exists() or folder.is_symlink()):
        return
    logger.warning("%s has no %s: it is not a complete int8 model, and is made again", folder, MANIFEST_FILE)
    try:
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink()
    except OSError as exc:
        raise OptionError(f"{folder} is not a complete int8 model and can't be removed ({exc}). Delete it.") from exc


def cache_root(cache_folder: str | os.PathLike[str] | None) -> Path:
    """Return the folder of the int8 models made on first use."""
    if cache_folder is not None:
        return Path(cache_folder).expanduser() / "int8"
    with importing():
        import platformdirs

    return Path(platformdirs.user_cache_dir("intel-quantized-embeddings")) / "int8"


def _cached(
    source: SourceModel,
    settings: Settings,
    *,
    runtime: RuntimeName,
    format_version: int,
    cache_folder: str | os.PathLike[str] | None,
) -> Path:
    """Return the path of a model's int8 folder: its name ends in a digest of everything the model is made from."""
    quantizer = quantizer_module(runtime)
    made_from = {
        "weights": [source.relative(file) for file in source.weight_files],
        # A commit of the hub stands for the content of its files.
        "files": source.revision or source.hashes(),
        "name": source.name,
        "settings": hashed_settings(settings),
        "calibration": built_in_texts().digest,
        # Machines with other CPUs may share the cache.
        "attention": quantizer.attention_precision(),
        "weight_bits": quantizer.weight_bits(None),
        "recipe": quantizer.RECIPE_VERSION,
        "format": format_version,
    }
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:12]
    return cache_root(cache_folder) / f"{source.name.replace('/', '--')}-{runtime.value}-{digest}"
