"""Writing a quantized cross-encoder's folder, with what other tools want to find in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from intel_quantized_embeddings.cross_encoder_settings import Activation
from intel_quantized_embeddings.quantization.config import QuantizationConfig
from intel_quantized_embeddings.quantization.cross_encoder_manifest import CrossEncoderManifest
from intel_quantized_embeddings.quantization.cross_encoder_subject import CrossEncoderAttempt, CrossEncoderSubject
from intel_quantized_embeddings.quantization.folder import card_head, copy_own_files, origin, write_json
from intel_quantized_embeddings.quantization.manifest import MODEL_CARD, Method, hash_files
from intel_quantized_embeddings.runtimes.table import runtime_module
from intel_quantized_embeddings.weight_files import WeightFiles

_RANGES = {
    Activation.SIGMOID: "between 0 and 1 (sigmoid)",
    Activation.IDENTITY: "any number",
}


def write_cross_encoder_folder(
    folder: Path,
    subject: CrossEncoderSubject,
    kept: CrossEncoderAttempt,
    *,
    method: Method,
    config: QuantizationConfig,
    weights: WeightFiles,
) -> CrossEncoderManifest:
    """Write everything, the manifest last.

    Args:
        folder: An empty one.
        subject: The model that was quantized.
        kept: What came of it.
        method: What the manifest says of how.
        config: What was asked for.
        weights: The model's files that it was made from.
    """
    runtime, settings = runtime_module(subject.runtime), subject.settings
    runtime.save_graph(kept.graph, folder / runtime.ENCODER_FILE)
    copy_own_files(subject.source.path, folder)
    write_json(
        folder / "config_sentence_transformers.json",
        {"model_type": "CrossEncoder", "activation_fn": f"torch.nn.modules.{_module(settings.activation)}"},
    )
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": settings.max_length, "do_lower_case": settings.lowercase},
    )
    manifest = CrossEncoderManifest(
        **origin(subject.source, weights, texts=subject.texts.calibrated, runtime=subject.runtime),
        method=method,
        config=config,
        settings=settings,
        second_text=subject.built.second_text,
        max_positions=subject.built.embedder.max_positions,
        pad_token_id=subject.built.embedder.pad_token_id,
        fidelity=kept.fidelity,
        probes=subject.probes(kept),
        files={},
    )
    _write_model_card(folder, manifest)
    manifest = replace(manifest, files=hash_files(folder))
    manifest.write(folder)
    return manifest


def _module(activation: Activation) -> str:
    """Where torch keeps it, as sentence-transformers writes it."""
    return f"linear.{activation.value}" if activation is Activation.IDENTITY else f"activation.{activation.value}"


def _write_model_card(folder: Path, manifest: CrossEncoderManifest) -> None:
    fidelity, settings = manifest.fidelity, manifest.settings
    numbers = (fidelity.rank_correlation, fidelity.mean_difference, fidelity.largest_difference, fidelity.spread)
    measured = [f"{number:.4f}" for number in numbers]
    (folder / MODEL_CARD).write_text(
        f"""{card_head(manifest, pipeline_tag="text-ranking", tag="cross-encoder")}
```python
from intel_quantized_embeddings import CrossEncoder

model = CrossEncoder.load("path/to/this/folder")
scores = model.score([("a query", "a document")])  # (1,) float32
```

Scores are {_RANGES[settings.activation]}; pairs have at most {settings.max_length} tokens.

Scores in int8 beside fp32, before any activation, on {fidelity.count} pairs that were not calibrated on:

| Spearman's correlation | mean difference | largest | standard deviation in fp32 |
|---|---|---|---|
| {" | ".join(measured)} |

The head that gives the score stays in floating point. `manifest.json` holds the source's hashes, the library
versions, and the SHA-256 of every file here; loading checks them.
""",
        "utf-8",
    )
