"""`iqe info`: facts about a folder and, for an int8 one, the results of its probes on this CPU."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from typing import Any

from intel_quantized_embeddings.architectures.config import EncoderConfig, exported_limits
from intel_quantized_embeddings.architectures.table import is_built_in
from intel_quantized_embeddings.cli.settings_lines import settings_lines
from intel_quantized_embeddings.encoders.quantized_folder import is_dynamic
from intel_quantized_embeddings.encoding.probing import run_probes
from intel_quantized_embeddings.errors import ModelFilesError, QuantizedEmbeddingsError, UnsupportedModelError
from intel_quantized_embeddings.int8_folder.config import WITHOUT_CALIBRATION, MethodName
from intel_quantized_embeddings.int8_folder.manifest import (
    CrossEncoderManifest,
    FolderManifest,
    Manifest,
    SparseManifest,
    read_manifest,
)
from intel_quantized_embeddings.int8_folder.probes import ProbeResult
from intel_quantized_embeddings.models.endings import load_ending
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.models.routes import DOCUMENT, QUERY, Routes
from intel_quantized_embeddings.models.scoring import CrossEncoderSettings
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import MANIFEST_FILE, SourceModel
from intel_quantized_embeddings.models.sparse import SparseSettings
from intel_quantized_embeddings.models.static import StaticTokenizer, read_table
from intel_quantized_embeddings.models.weight_files import WeightFiles, WeightKind
from intel_quantized_embeddings.models.weight_table import read_weight_table
from intel_quantized_embeddings.options import Precision, RuntimeName
from intel_quantized_embeddings.reporting.terminal import labelled, megabytes
from intel_quantized_embeddings.runtimes.building import load_any_head, load_vocabulary
from intel_quantized_embeddings.runtimes.table import RUNTIMES, runtime_module


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The findings.

    Attributes:
        facts: The findings for scripts; can be written as JSON.
        text: The findings for people.
        problem: The reason why the folder can't be loaded as it is; None if it can.
    """

    facts: dict[str, Any]
    text: str
    problem: QuantizedEmbeddingsError | None

    @property
    def json(self) -> str:
        """Return the facts as JSON."""
        return json.dumps(self.facts, indent=2)


def inspect_folder(model: str | os.PathLike[str]) -> Inspection:
    """Inspect a folder, quantized or not, or a hub id's files on this machine; nothing is downloaded."""
    return _inspect(find_model(model, local_files_only=True))


def _inspect(found: SourceModel) -> Inspection:
    if found.routes is not None:
        return _router(found, found.routes)
    return _quantized(found) if found.is_quantized else _unquantized(found)


def _router(found: SourceModel, routes: Routes) -> Inspection:
    """Inspect both models of a Router."""
    parts = {
        name: _inspect(found.route(folder)) for name, folder in ((QUERY, routes.query), (DOCUMENT, routes.document))
    }
    facts = {
        "folder": str(found.path),
        "kind": "router",
        "default_route": routes.default,
        "routes": {name: part.facts for name, part in parts.items()},
        "problem": next((str(part.problem) for part in parts.values() if part.problem), None),
    }
    head = labelled({"folder": [str(found.path)], "routes": [f"two models; else {routes.default}"]})
    texts = [f"\n{name}:\n{part.text}" for name, part in parts.items()]
    problem = next((part.problem for part in parts.values() if part.problem), None)
    return Inspection(facts=facts, text="\n".join([*head, *texts]), problem=problem)


def _quantized(found: SourceModel) -> Inspection:
    manifest, problem = read_manifest(found.path), None
    try:
        manifest.verify(found.path)
    except QuantizedEmbeddingsError as exc:
        problem = exc
    size = sum(file.stat().st_size for file in found.path.rglob("*") if file.is_file())
    probed = None if problem else _probed(found, manifest)
    source, method, calibration = manifest.source, manifest.method, manifest.calibration
    how = [f"{method.name} int8"]
    if MethodName(method.name) not in WITHOUT_CALIBRATION:
        alpha = "off" if method.smooth_quant_alpha is None else f"{method.smooth_quant_alpha:g}"
        how[0] += f", SmoothQuant {alpha}"
        how.append(f"calibrated on {calibration.documents} documents and {calibration.queries} queries")
    if method.training:
        how.append(f"weights fine-tuned on {method.training.texts} texts, {method.training.steps} steps")
    if method.weight_bits:
        how.append(f"weights in {method.weight_bits} bits")
    if method.attention:
        how.append(f"attention in {method.attention}")
    if method.choice:
        how.append(f"the better of two by {method.choice}")
    if method.floating_point_layers:
        how.append(f"in floating point: {', '.join(method.floating_point_layers)}")
    text = labelled(
        {
            "folder": [str(found.path)],
            "size": [megabytes(size)],
            "made from": [source.id, *([f"revision {source.revision}"] if source.revision else [])],
            "for": [f"runtime={manifest.runtime!r}, precision={manifest.precision!r}"],
            "method": how,
            **_measured_lines(manifest),
            "on this CPU": _probed_lines(probed),
            "written with": [", ".join(f"{name} {version}" for name, version in manifest.library_versions.items())],
            "hashes": ["every file is as it was written" if problem is None else "NOT as written"],
        }
    )
    facts = {
        "folder": str(found.path),
        "kind": "quantized",
        "bytes": size,
        "hashes_verify": problem is None,
        "problem": problem and str(problem),
        "probes": dataclasses.asdict(probed) if isinstance(probed, ProbeResult) else None,
        "manifest": json.loads((found.path / MANIFEST_FILE).read_text("utf-8")),
    }
    return Inspection(facts=facts, text="\n".join(text), problem=problem)


def _probed(found: SourceModel, manifest: FolderManifest) -> ProbeResult | str:
    """Run the folder's probes, or give the reason why not: its runtime is not installed, or the folder may run code."""
    if found.revision and RUNTIMES[RuntimeName(manifest.runtime)].folders_are_code:
        return "not run: TorchScript from the hub is code"
    try:
        module = runtime_module(RuntimeName(manifest.runtime))
        compiled = module.compile_graph(
            module.read_graph(found.path / module.ENCODER_FILE), precision=Precision.INT8, dynamic=is_dynamic(manifest)
        )
        return run_probes(compiled, manifest)
    except QuantizedEmbeddingsError as exc:
        return f"not run: {exc}"


def _probed_lines(probed: ProbeResult | str | None) -> list[str]:
    if not isinstance(probed, ProbeResult):
        return [probed] if probed else []
    worse = ["LESS FAITHFUL than where it was made; loading says what to do"] if probed.worse else []
    return [str(probed), f"no number differs by more than {probed.moved:.2g} from where it was made", *worse]


def _measured_lines(manifest: FolderManifest) -> dict[str, list[str]]:
    """Return lines on the folder's closeness to fp32, and on its settings."""
    if isinstance(manifest, CrossEncoderManifest):
        scores = "not measured" if manifest.fidelity is None else str(manifest.fidelity)
        return {"scores beside fp32": [scores], **settings_lines(manifest.settings)}
    if isinstance(manifest, SparseManifest):
        near = manifest.fidelity
        return {
            "beside fp32": ["not measured"]
            if near is None
            else [f"documents: {near.documents}", f"queries: {near.queries}"],
            **settings_lines(manifest.settings),
            "vocabulary": [f"{manifest.vocabulary} tokens"],
        }
    assert isinstance(manifest, Manifest)  # there are three kinds
    fidelity = manifest.fidelity
    return {
        "cosine to fp32": ["not measured"]
        if fidelity is None
        else [f"documents: {fidelity.documents}", f"queries: {fidelity.queries}"],
        "limit": [str(manifest.drop)] if manifest.drop else [],
        **settings_lines(manifest.settings),
        "dimension": [str(manifest.dimension)],
    }


def _unquantized(found: SourceModel) -> Inspection:
    config = found.config
    weights, dimension, problem = WeightFiles((), WeightKind.SAFETENSORS), None, None
    settings: ModelSettings | CrossEncoderSettings | SparseSettings | None = None
    scores, sparse = found.is_cross_encoder, False
    try:
        sparse = found.is_sparse
        weights = found.weights
        if found.static is not None:
            dimension = int(read_table(found.static).rows.shape[1])
        elif found.weight_table is not None:
            dimension = len(read_weight_table(found.weight_table))
        elif is_built_in(config) or weights.kind is WeightKind.SAFETENSORS:  # an export may be of any architecture
            exported = weights.kind is not WeightKind.SAFETENSORS
            dimension = EncoderConfig.from_hf(config, where=found.name, exported=exported).output_size
        settings = _settings_of(found)
        if found.static is not None:
            StaticTokenizer(found.static, max_length=settings.max_length)
        else:
            settings.tokenizer(found.weight_table or found.path)
        if not weights.files:
            raise ModelFilesError(f"{found.path} has no weights that can be read: no safetensors and no export.")
        dimension = _width(found, settings, dimension)
    except QuantizedEmbeddingsError as exc:
        problem = exc
    table = found.static or found.weight_table
    size = sum(file.stat().st_size for file in weights.files)
    names = ", ".join(found.relative(file) for file in weights.files)
    architecture = "static" if table is not None else str(config.get("model_type"))
    text = labelled(
        {
            "folder": [str(found.path)],
            "name": [found.name, *([f"revision {found.revision}"] if found.revision else [])],
            "architecture": [
                architecture if table is not None or is_built_in(config) else f"{architecture}, not built in"
            ],
            "weights": [f"{names}, {megabytes(size)}" if names else "none that can be read"],
            **(settings_lines(settings) if settings else {}),
            "vocabulary" if sparse else "dimension": [str(dimension)] if dimension and not scores else [],
            "int8": [_int8(weights, static=table is not None)] if not problem else [],
        }
    )
    facts = {
        "folder": str(found.path),
        "kind": "model",
        "gives": "scores" if scores else "sparse vectors" if sparse else "vectors",
        "name": found.name,
        "revision": found.revision,
        "architecture": "static" if table is not None else config.get("model_type"),
        "dimension": None if scores else dimension,
        "weights": {
            "kind": weights.kind.value if weights.files else None,
            "files": [found.relative(file) for file in weights.files],
            "bytes": size,
        },
        "settings": settings and dataclasses.asdict(settings),
        "problem": problem and str(problem),
    }
    return Inspection(facts=facts, text="\n".join(text), problem=problem)


def _settings_of(found: SourceModel) -> ModelSettings | CrossEncoderSettings | SparseSettings:
    """Read the settings of a model of any kind."""
    if found.is_sparse:
        return _sparse_settings(found)
    return _scoring_settings(found) if found.is_cross_encoder else _embedding_settings(found)


def _width(
    found: SourceModel, settings: ModelSettings | CrossEncoderSettings | SparseSettings, hidden: int | None
) -> int | None:
    """Return the numbers in a row, once what loading finds out last is seen: what follows the layers."""
    if found.weight_table is not None:
        return hidden
    if isinstance(settings, SparseSettings):
        load_vocabulary(found, settings)
        return EncoderConfig.from_hf(found.config, where=found.name).vocab_size
    if isinstance(settings, CrossEncoderSettings):
        _require_one_score(found)
        return hidden
    if found.static is not None or not hidden:
        return hidden
    return load_ending(found.path, settings).widths(hidden, where=found.name)[-1]


def _embedding_settings(found: SourceModel) -> ModelSettings:
    settings = found.settings()
    if found.static is not None:
        return settings
    return settings.override(max_positions=exported_limits(found.config, default_max_length=settings.max_length)[0])


def _require_one_score(found: SourceModel) -> None:
    """Check the head of a cross-encoder, the only weights that are read, as loading would do last."""
    if found.weights.kind is not WeightKind.SAFETENSORS:
        raise UnsupportedModelError(
            f"{found.name} holds an export; cross-encoders are built from model.safetensors only."
        )
    load_any_head(found, EncoderConfig.from_hf(found.config, where=found.name))


def _scoring_settings(found: SourceModel) -> CrossEncoderSettings:
    encoder = EncoderConfig.from_hf(found.config, where=found.name)
    return found.cross_encoder_settings().override(max_length=None, max_positions=encoder.max_length)


def _sparse_settings(found: SourceModel) -> SparseSettings:
    if found.weight_table is not None:
        return found.sparse_settings()
    encoder = EncoderConfig.from_hf(found.config, where=found.name)
    return found.sparse_settings().override(max_positions=encoder.max_length)


def _int8(weights: WeightFiles, *, static: bool) -> str:
    if static:
        return "nothing to quantize: a table, read as it is kept"
    if weights.kind is WeightKind.TORCHSCRIPT:
        return "TorchScript of others: opens with runtime='ipex', allow_torchscript=True"
    if weights.kind is WeightKind.EXPORT:
        return "as exported, if it is an int8 export; quantized on first use otherwise, or with `iqe quantize`"
    return "quantized as it is read, or with `iqe quantize`"
