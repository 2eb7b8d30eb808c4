"""`README.md` of a quantized folder, as the hub shows it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from intel_quantized_embeddings.int8_folder.config import MethodName
from intel_quantized_embeddings.int8_folder.fidelity import STRONGEST, Fidelity, ScoreFidelity, SparseFidelity
from intel_quantized_embeddings.int8_folder.manifest import (
    MODEL_CARD,
    CrossEncoderManifest,
    FolderManifest,
    Manifest,
    SparseManifest,
)
from intel_quantized_embeddings.models.scoring import Activation
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.sparse import SparseHead, SparseSettings

_METHODS = {
    MethodName.STATIC: "Static int8",
    MethodName.DYNAMIC: "Dynamic int8",
    MethodName.WEIGHT_ONLY: "Weight-only int8",
    MethodName.PER_TOKEN: "int8 by token",
    MethodName.QAT: "Static int8 after quantization-aware training",
}
_RANGES = {
    Activation.SIGMOID: "between 0 and 1 (sigmoid)",
    Activation.IDENTITY: "any number",
}


def write_embedder_card(folder: Path, manifest: Manifest) -> None:
    """Write `README.md` of an embedding model."""
    settings = manifest.settings
    promise = f"\nLimited: {manifest.drop}.\n" if manifest.drop else ""
    quoted = partial(json.dumps, ensure_ascii=False)
    (folder / MODEL_CARD).write_text(
        f"""{_head(manifest, pipeline_tag="sentence-similarity", tag="embeddings")}
```python
from intel_quantized_embeddings import Encoder

encoder = Encoder.load("path/to/this/folder")
vectors = encoder.encode_documents(["some text"])  # (1, {manifest.dimension}) float32
```

{settings.pooling_name} pooling, {_behind(settings)}{"unit length" if settings.normalize else "not normalized"},
{manifest.dimension} dimensions, at most {settings.max_length} tokens; compared by {settings.similarity.value}.
Query instruction: {quoted(settings.query_instruction)}. Document instruction: {quoted(settings.document_instruction)}.

{_cosines(manifest.fidelity)}
{promise}
Pooling and what follows it are inside the encoder. `manifest.json` holds the source's hashes, the library
versions, and the SHA-256 of every file here; loading checks them.
""",
        "utf-8",
    )


def _behind(settings: ModelSettings) -> str:
    """Return the modules between pooling and length 1, in words."""
    return f"then {'; '.join(settings.modules)}; " if settings.modules else ""


def _cosines(fidelity: Fidelity | None) -> str:
    """Return the table of cosines to fp32."""
    if fidelity is None:
        return "Its vectors were not measured beside fp32's."
    rows = "\n".join(
        f"| {kind} | {s.mean:.4f} | {s.percentile_1:.4f} | {s.worst:.4f} | {s.count} |"
        for kind, s in (("documents", fidelity.documents), ("queries", fidelity.queries))
    )
    return f"""Cosine between int8 and fp32 vectors, on texts that were not calibrated on:

| texts | mean | 1st percentile | worst | count |
|---|---|---|---|---|
{rows}"""


def _scores(fidelity: ScoreFidelity | None) -> str:
    """Return the table of scores beside fp32's."""
    if fidelity is None:
        return "Its scores were not measured beside fp32's."
    numbers = (fidelity.rank_correlation, fidelity.mean_difference, fidelity.largest_difference, fidelity.spread)
    measured = " | ".join(f"{number:.4f}" for number in numbers)
    return f"""Scores in int8 beside fp32, before any activation, on {fidelity.count} pairs that were not calibrated on:

| Spearman's correlation | mean difference | largest | standard deviation in fp32 |
|---|---|---|---|
| {measured} |"""


def _head(manifest: FolderManifest, *, pipeline_tag: str, tag: str) -> str:
    """Return the beginning of every model card: the hub's table, a title, and how the model was made."""
    source = manifest.source
    layers = manifest.method.floating_point_layers
    in_float = f"\nLayers in floating point: {', '.join(layers)}." if layers else ""
    choice = f"\n\nOf two methods the better was kept. {manifest.method.choice}." if manifest.method.choice else ""
    revision = f" at revision {source.revision}" if source.revision else ""
    from_hub = "/" in source.id or source.revision is not None
    base = f"base_model: {source.id}\nbase_model_relation: quantized\n" if from_hub else ""
    return f"""---
{base}library_name: intel-quantized-embeddings
pipeline_tag: {pipeline_tag}
tags: [int8, {manifest.runtime}, {tag}, cpu]
---
# {source.id} in int8

{_METHODS[MethodName(manifest.method.name)]} of {source.id}{revision}, for the
{manifest.runtime} runtime of intel-quantized-embeddings. {_how(manifest)}{in_float}{choice}
"""


def _how(manifest: FolderManifest) -> str:
    """Return a sentence on how the ranges of activations were set."""
    if manifest.method.name == MethodName.WEIGHT_ONLY.value:
        return "Weights are kept in int8,\none range for each output channel; activations stay in floating point."
    if manifest.method.name == MethodName.DYNAMIC.value:
        return "Activations are quantized batch by batch,\nso a text's vector depends a little on its company."
    if manifest.method.name == MethodName.PER_TOKEN.value:
        return "Every token's activations have a scale\nof their own: nothing was calibrated."
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
    """Return a sentence on the CPUs on which the weights are as faithful as here, if the bits were a choice."""
    if manifest.method.weight_bits == 7:
        return "\nWeights in 7 bits: as faithful on every CPU."
    if manifest.method.weight_bits == 8:
        return "\nWeights in 8 bits: for CPUs with VNNI or AMX; less faithful on others."
    return ""


def write_cross_encoder_card(folder: Path, manifest: CrossEncoderManifest) -> None:
    """Write `README.md` of a cross-encoder."""
    settings = manifest.settings
    (folder / MODEL_CARD).write_text(
        f"""{_head(manifest, pipeline_tag="text-ranking", tag="cross-encoder")}
```python
from intel_quantized_embeddings import CrossEncoder

model = CrossEncoder.load("path/to/this/folder")
scores = model.score([("a query", "a document")])  # (1,) float32
```

Scores are {_RANGES[settings.activation]}; pairs have at most {settings.max_length} tokens.

{_scores(manifest.fidelity)}

The head that gives the score stays in floating point. `manifest.json` holds the source's hashes, the library
versions, and the SHA-256 of every file here; loading checks them.
""",
        "utf-8",
    )


def write_sparse_card(folder: Path, manifest: SparseManifest) -> None:
    """Write `README.md` of a sparse model."""
    settings = manifest.settings
    quoted = partial(json.dumps, ensure_ascii=False)
    kept = f"at most {settings.max_active_dims}" if settings.max_active_dims else "all"
    (folder / MODEL_CARD).write_text(
        f"""{_head(manifest, pipeline_tag="feature-extraction", tag="sparse-encoder")}
```python
from intel_quantized_embeddings import SparseEncoder

encoder = SparseEncoder.load("path/to/this/folder")
vectors = encoder.encode_documents(["some text"])  # SciPy's CSR, (1, {manifest.vocabulary}) float32
```

Weights of {manifest.vocabulary} tokens, {kept} that are not zero: {_way(settings)}.
Texts have at most {settings.max_length} tokens; compared by {settings.similarity.value}.
Query instruction: {quoted(settings.query_instruction)}. Document instruction: {quoted(settings.document_instruction)}.

{_sparse(manifest.fidelity)}

`manifest.json` holds the source's hashes, the library versions, and the SHA-256 of every file here; loading checks
them.
""",
        "utf-8",
    )


def _way(settings: SparseSettings) -> str:
    if settings.head is SparseHead.TOKEN_WEIGHTS:
        return "those of a text's own tokens"
    return f"the {settings.pooling.value} over a text's tokens"


def _sparse(fidelity: SparseFidelity | None) -> str:
    """Return the table of sparse vectors beside fp32's."""
    if fidelity is None:
        return "Its vectors were not measured beside fp32's."
    rows = "\n".join(
        f"| {kind} | {s.mean:.4f} | {s.percentile_1:.4f} | {s.worst:.4f} | {s.overlap:.1%} | {s.count} |"
        for kind, s in (("documents", fidelity.documents), ("queries", fidelity.queries))
        if s is not None
    )
    return f"""Cosine between int8 and fp32 vectors, and how many of fp32's {STRONGEST} largest weights are among
int8's, on texts that were not calibrated on:

| texts | mean | 1st percentile | worst | largest weights | count |
|---|---|---|---|---|---|
{rows}"""
