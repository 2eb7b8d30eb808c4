"""Check int8 on the CPU where it is loaded: run the folder's probes, and warn where int8 is worse than it should be."""

from __future__ import annotations

import logging

import numpy as np

from intel_quantized_embeddings.encoding.pipeline import encode_token_ids
from intel_quantized_embeddings.int8_folder.config import MethodName
from intel_quantized_embeddings.int8_folder.manifest import FolderManifest
from intel_quantized_embeddings.int8_folder.probes import ProbeResult, compare
from intel_quantized_embeddings.options import LoadOptions, Precision, RuntimeName
from intel_quantized_embeddings.runtimes.base import Runtime
from intel_quantized_embeddings.runtimes.int8_products import int8_is_faster, sums_are_exact
from intel_quantized_embeddings.runtimes.table import RUNTIMES

logger = logging.getLogger(__name__)


def run_probes(runtime: Runtime, manifest: FolderManifest) -> ProbeResult:
    """Run a folder's probes, each alone like a query, and compare the results with those where the folder was made."""
    rows = [
        encode_token_ids(
            runtime, [[probe.token_ids]], pad_token_id=manifest.pad_token_id, max_length=manifest.max_positions
        )
        for probe in manifest.probes
    ]
    return compare(manifest.probes, np.concatenate(rows), spread=manifest.spread)


def report_int8(
    compiled: Runtime, manifest: FolderManifest | None, options: LoadOptions, *, runtime: RuntimeName
) -> None:
    """Log one line where int8 is clearly less faithful on this CPU than where it was made, or slower than fp32.

    Args:
        compiled: The model, with rows of full length.
        manifest: The folder's manifest; None for a model that others quantized.
        options: The options of loading. Nothing is checked unless the precision is int8.
        runtime: The runtime that compiled it.
    """
    if options.precision != Precision.INT8.value:
        return
    told = []
    result = run_probes(compiled, manifest) if manifest is not None else None
    if manifest is not None and result is not None and result.worse:
        told.append(f"it is less faithful on this CPU: {result}. {_advice(manifest)}")
    elif manifest is None and not sums_are_exact() and not RUNTIMES[runtime].same_everywhere:
        told.append(
            "it was quantized by others, and sums of 8-bit weights saturate on this CPU, which has neither VNNI nor "
            "AMX: results may be less faithful than where it was made. Its fp32 model is exact here"
        )
    if runtime is RuntimeName.OPENVINO and not int8_is_faster() and not _is_weight_only(manifest):
        source = "the fp32 model that it was made from" if manifest is None else manifest.source.id
        told.append(
            f"int8 is slower than fp32 on this CPU, which has neither VNNI nor AVX-512 (docs/benchmarks.md): {source} "
            f"with precision='fp32' is faster here"
        )
    if told:
        logger.warning("%s: %s", options.model, ". ".join(told))


def _is_weight_only(manifest: FolderManifest | None) -> bool:
    """Return whether int8 weights are multiplied in floating point, in which nothing saturates."""
    return manifest is not None and manifest.method.name == MethodName.WEIGHT_ONLY.value


def _advice(manifest: FolderManifest) -> str:
    source = manifest.source.id
    exact = sums_are_exact() or RUNTIMES[RuntimeName(manifest.runtime)].same_everywhere
    if exact or _is_weight_only(manifest) or manifest.method.weight_bits == 7:
        versions = ", ".join(f"{name} {version}" for name, version in manifest.library_versions.items())
        return f"It was made with {versions}: use these versions, or quantize {source} again here"
    again = (
        f"quantize {source} with weight_bits=7 (`iqe quantize --weight-bits 7`), which is as faithful on every CPU, or "
        if manifest.runtime == RuntimeName.OPENVINO.value
        else ""
    )
    return (
        f"It has neither VNNI nor AMX, so that sums of 8-bit weights saturate: {again}load {source} with "
        f"precision='fp32'"
    )
