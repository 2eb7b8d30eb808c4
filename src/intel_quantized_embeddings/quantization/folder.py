"""Writing a quantized folder: whole or not at all, with what other tools want to find in it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.model_files import TOKENIZER_FILE, ModelFolder, file_sha256
from intel_quantized_embeddings.model_settings import ModelSettings
from intel_quantized_embeddings.quantization.calibration import Texts
from intel_quantized_embeddings.quantization.config import MethodName, QuantizationConfig
from intel_quantized_embeddings.quantization.drop import Drop
from intel_quantized_embeddings.quantization.manifest import (
    MODEL_CARD,
    Calibration,
    FolderManifest,
    Manifest,
    Method,
    Source,
    hash_files,
)
from intel_quantized_embeddings.quantization.subject import Attempt, Subject
from intel_quantized_embeddings.quantization.table import quantizer_module
from intel_quantized_embeddings.runtimes.base import Precision, RuntimeName
from intel_quantized_embeddings.runtimes.table import runtime_module
from intel_quantized_embeddings.tokenizer_files import BESIDE
from intel_quantized_embeddings.weight_files import WeightFiles

_KINDS = {
    MethodName.STATIC: "Static int8",
    MethodName.DYNAMIC: "Dynamic int8",
    MethodName.QAT: "Static int8 after quantization-aware training",
}
_COPIED = ("config.json", TOKENIZER_FILE, *BESIDE)


def write_folder(
    folder: Path,
    subject: Subject,
    kept: Attempt,
    *,
    method: Method,
    config: QuantizationConfig,
    drop: Drop | None,
    weights: WeightFiles,
) -> Manifest:
    """Write everything, the manifest last.

    Args:
        folder: An empty one.
        subject: The model that was quantized.
        kept: What came of it.
        method: What the manifest says of how.
        config: What was asked for.
        drop: What it loses against fp32, where that was limited.
        weights: The model's files that it was made from.
    """
    source, embedder, calibrated = subject.source, subject.embedder, subject.texts.calibrated
    runtime = runtime_module(subject.runtime)
    runtime.save_graph(kept.graph, folder / runtime.ENCODER_FILE)
    write_metadata(source.path, folder, subject.settings, dimension=subject.dimension)
    manifest = Manifest(
        **origin(source, weights, texts=calibrated, runtime=subject.runtime),
        method=method,
        config=config,
        settings=subject.settings,
        dimension=subject.dimension,
        max_positions=embedder.max_positions,
        pad_token_id=embedder.pad_token_id,
        fidelity=kept.fidelity,
        drop=drop,
        probes=subject.probes(kept),
        files={},
    )
    write_model_card(folder, manifest)
    manifest = replace(manifest, files=hash_files(folder))
    manifest.write(folder)
    return manifest


def origin(source: ModelFolder, weights: WeightFiles, *, texts: Texts, runtime: RuntimeName) -> dict[str, Any]:
    """What a manifest of any kind says of what a folder was made from and with, by the names of its fields."""
    libraries = ("intel-quantized-embeddings", *quantizer_module(runtime).LIBRARIES, "tokenizers")
    return {
        "source": Source(
            id=source.name,
            revision=source.revision,
            weights_sha256={file.relative_to(source.path).as_posix(): file_sha256(file) for file in weights.files},
        ),
        "runtime": runtime.value,
        "precision": Precision.INT8.value,
        "calibration": Calibration(digest=texts.digest, documents=len(texts.documents), queries=len(texts.queries)),
        "library_versions": {name: version(name) for name in libraries},
    }


def copy_own_files(source: Path, folder: Path) -> None:
    """Copy the tokenizer and the configuration."""
    for name in _COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def write_metadata(source: Path, folder: Path, settings: ModelSettings, *, dimension: int) -> None:
    """Write the tokenizer, the configuration and sentence-transformers' files."""
    copy_own_files(source, folder)
    modules = ["", "1_Pooling", *(["2_Normalize"] if settings.normalize else [])]
    kinds = ("Transformer", "Pooling", "Normalize")
    write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(zip(modules, kinds, strict=False))
        ],
    )
    write_json(
        folder / "1_Pooling" / "config.json",
        {"embedding_dimension": dimension, "pooling_mode": settings.pooling.value},
    )
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": settings.max_length, "do_lower_case": settings.lowercase},
    )
    prompts = dict(settings.other_prompts)
    prompts |= {"query": settings.query_instruction, "document": settings.document_instruction}
    default = None
    if settings.default_instruction:
        default = next((name for name, text in prompts.items() if text == settings.default_instruction), "default")
        prompts[default] = settings.default_instruction
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "prompts": prompts,
            "default_prompt_name": default,
            "similarity_fn_name": settings.similarity.value,
        },
    )


def write_model_card(folder: Path, manifest: Manifest) -> None:
    """Write `README.md`, as the hub shows it."""
    fidelity, settings = manifest.fidelity, manifest.settings
    rows = "\n".join(
        f"| {kind} | {s.mean:.4f} | {s.percentile_1:.4f} | {s.worst:.4f} | {s.count} |"
        for kind, s in (("documents", fidelity.documents), ("queries", fidelity.queries))
    )
    promise = f"\nLimited: {manifest.drop}.\n" if manifest.drop else ""
    quoted = partial(json.dumps, ensure_ascii=False)
    runtime = "" if manifest.runtime == "openvino" else f", runtime={manifest.runtime!r}"
    (folder / MODEL_CARD).write_text(
        f"""{card_head(manifest, pipeline_tag="sentence-similarity", tag="embeddings")}
```python
from intel_quantized_embeddings import Encoder

encoder = Encoder.load("path/to/this/folder"{runtime})
vectors = encoder.encode_documents(["some text"])  # (1, {manifest.dimension}) float32
```

{settings.pooling.value} pooling, {"unit length" if settings.normalize else "not normalized"},
{manifest.dimension} dimensions, at most {settings.max_length} tokens; compared by {settings.similarity.value}.
Query instruction: {quoted(settings.query_instruction)}. Document instruction: {quoted(settings.document_instruction)}.

Cosine between int8 and fp32 vectors, on texts that were not calibrated on:

| texts | mean | 1st percentile | worst | count |
|---|---|---|---|---|
{rows}
{promise}
Pooling and normalization are inside the encoder. `manifest.json` holds the source's hashes, the library
versions, and the SHA-256 of every file here; loading checks them.
""",
        "utf-8",
    )


def card_head(manifest: FolderManifest, *, pipeline_tag: str, tag: str) -> str:
    """What a model card of any kind begins with: the hub's table, a title, and how the model was made."""
    source = manifest.source
    layers = manifest.method.floating_point_layers
    in_float = f"\nLayers in floating point: {', '.join(layers)}." if layers else ""
    revision = f" at revision {source.revision}" if source.revision else ""
    from_hub = "/" in source.id or source.revision is not None
    base = f"base_model: {source.id}\nbase_model_relation: quantized\n" if from_hub else ""
    return f"""---
{base}library_name: intel-quantized-embeddings
pipeline_tag: {pipeline_tag}
tags: [int8, {manifest.runtime}, {tag}, cpu]
---
# {source.id} in int8

{_KINDS[MethodName(manifest.method.name)]} of {source.id}{revision}, for the
{manifest.runtime} runtime of intel-quantized-embeddings. {_how(manifest)}{in_float}
"""


def _how(manifest: FolderManifest) -> str:
    """What set the ranges of activations."""
    if manifest.method.name == MethodName.DYNAMIC.value:
        return "Activations are quantized batch by batch,\nso a text's vector depends a little on its company."
    alpha, calibration, training = manifest.method.smooth_quant_alpha, manifest.calibration, manifest.method.training
    how = (
        f"SmoothQuant {'off' if alpha is None else alpha}; calibrated on\n"
        f"{calibration.documents} documents and {calibration.queries} queries."
        f"{_weights(manifest)}"
    )
    if training is None:
        return how
    return (
        f"{how} Weights fine-tuned for {training.steps} steps on\n{training.texts} texts, without labels: mean "
        f"cosine to fp32 {training.score_before:.4f} before, {training.score_after:.4f} after."
    )


def _weights(manifest: FolderManifest) -> str:
    """Say on which CPUs the weights are as faithful as here, where there is a choice."""
    if manifest.method.weight_bits == 7:
        return "\nWeights in 7 bits: as faithful on every CPU."
    if manifest.method.weight_bits == 8:
        return "\nWeights in 8 bits: for CPUs with VNNI or AMX; less faithful on others."
    return ""


def write_json(path: Path, content: object) -> None:
    """Write a file of a model folder."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
