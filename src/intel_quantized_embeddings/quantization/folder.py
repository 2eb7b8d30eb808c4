"""Write a quantized folder, with the metadata that other tools read."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.architectures import hidden_size
from intel_quantized_embeddings.files.json_files import file_sha256, write_json
from intel_quantized_embeddings.int8_folder.config import QuantizationConfig
from intel_quantized_embeddings.int8_folder.fidelity import Fidelity, ScoreFidelity, SparseFidelity
from intel_quantized_embeddings.int8_folder.manifest import FolderManifest, hash_files
from intel_quantized_embeddings.int8_folder.record import Calibration, Drop, Method, Source
from intel_quantized_embeddings.models.config_file import read_config
from intel_quantized_embeddings.models.scoring import Activation, CrossEncoderSettings
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import DECIDING_FILES, SourceModel
from intel_quantized_embeddings.models.sparse import POOLING, SparseHead, SparseSettings
from intel_quantized_embeddings.options import Precision, RuntimeName
from intel_quantized_embeddings.quantization.calibration import Texts
from intel_quantized_embeddings.quantization.subject import Candidate, Subject
from intel_quantized_embeddings.quantization.table import quantizer_module
from intel_quantized_embeddings.runtimes.table import runtime_module


def write_folder(
    folder: Path,
    subject: Subject,
    kept: Candidate,
    *,
    method: Method,
    config: QuantizationConfig,
    fidelity: Fidelity | ScoreFidelity | SparseFidelity | None,
    drop: Drop | None,
) -> FolderManifest:
    """Write everything into an empty folder, the manifest last.

    `kept` is the candidate to write; `method`, `config` (as asked for), `fidelity` and `drop` go into the manifest.
    """
    kind, runtime = subject.kind, runtime_module(subject.runtime)
    runtime.save_graph(kept.graph, folder / runtime.ENCODER_FILE)
    for name in DECIDING_FILES:
        if (subject.source.path / name).is_file():
            shutil.copyfile(subject.source.path / name, folder / name)
    kind.write_metadata(folder, subject.settings, numbers=subject.numbers)
    manifest = kind.manifest(
        {
            **_origin(
                subject.source,
                *kind.more_weights(subject.source),
                texts=subject.texts.calibrated,
                runtime=subject.runtime,
            ),
            "method": method,
            "config": config,
            "settings": subject.settings,
            "max_positions": subject.model.max_positions,
            "pad_token_id": subject.model.pad_token_id,
            "fidelity": fidelity,
            "probes": subject.probes(kept),
            "files": {},
        },
        subject,
        drop,
    )
    kind.write_card(folder, manifest)
    manifest = replace(manifest, files=hash_files(folder))
    manifest.write(folder)
    return manifest


def _origin(source: SourceModel, *also: Path, texts: Texts, runtime: RuntimeName) -> dict[str, Any]:
    """Return the fields of a manifest on the source, the calibration texts and the library versions."""
    from importlib.metadata import version  # imported late: it takes a while, and loading folders does not need it

    libraries = ("intel-quantized-embeddings", *quantizer_module(runtime).LIBRARIES, "tokenizers")
    return {
        "source": Source(
            id=source.name,
            revision=source.revision,
            weights_sha256={source.relative(file): file_sha256(file) for file in (*source.weight_files, *also)},
        ),
        "runtime": runtime.value,
        "precision": Precision.INT8.value,
        "calibration": Calibration(digest=texts.digest, documents=len(texts.documents), queries=len(texts.queries)),
        "library_versions": {name: version(name) for name in libraries},
    }


def write_embedder_metadata(folder: Path, settings: ModelSettings, *, numbers: int) -> None:
    """Write the files that sentence-transformers reads of an embedding model with vectors of `numbers` numbers.

    The modules behind pooling are in the encoder, like its layers: they are in the list and have no files.
    """
    behind = [words.split()[0] for words in settings.modules] + (["Normalize"] if settings.normalize else [])
    kinds = ["Transformer", "Pooling", *behind]
    write_json(
        folder / "modules.json",
        [
            {
                "idx": i,
                "name": str(i),
                "path": f"{i}_{kind}" if i else "",
                "type": f"sentence_transformers.models.{kind}",
            }
            for i, kind in enumerate(kinds)
        ],
    )
    pooled = hidden_size(read_config(folder)) if settings.modules else None
    modes = [mode.value for mode in settings.poolings]
    write_json(
        folder / "1_Pooling" / "config.json",
        {
            "embedding_dimension": pooled or numbers // len(modes),
            "pooling_mode": modes[0] if len(modes) == 1 else modes,
        },
    )
    _write_limits(folder, settings)
    write_json(folder / "config_sentence_transformers.json", _prompts(settings))


def write_sparse_metadata(folder: Path, settings: SparseSettings, *, numbers: int) -> None:
    """Write what sentence-transformers reads of a sparse model, of a vocabulary of so many `numbers`."""
    _write_limits(folder, settings)
    if settings.head is SparseHead.TOKEN_WEIGHTS:  # which sentence-transformers has no module for
        return
    package = "sentence_transformers.sparse_encoder.modules"
    write_json(
        folder / "modules.json",
        [
            {"idx": 0, "name": "0", "path": "", "type": f"{package}.mlm_transformer.MLMTransformer"},
            {"idx": 1, "name": "1", "path": f"1_{POOLING}", "type": f"{package}.splade_pooling.{POOLING}"},
        ],
    )
    write_json(
        folder / f"1_{POOLING}" / "config.json",
        {
            "pooling_strategy": settings.pooling.value,
            "activation_function": settings.activation.value,
            "embedding_dimension": numbers,
        },
    )
    kept = {} if settings.max_active_dims is None else {"max_active_dims": settings.max_active_dims}
    write_json(
        folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder", **_prompts(settings), **kept}
    )


def _prompts(settings: ModelSettings | SparseSettings) -> dict[str, Any]:
    """Return what sentence-transformers' own configuration says of prompts and of comparing."""
    prompts = dict(settings.other_prompts)
    prompts |= {"query": settings.query_instruction, "document": settings.document_instruction}
    default = None
    if settings.default_instruction:
        default = next((name for name, text in prompts.items() if text == settings.default_instruction), "default")
        prompts[default] = settings.default_instruction
    return {"prompts": prompts, "default_prompt_name": default, "similarity_fn_name": settings.similarity.value}


def write_cross_encoder_metadata(folder: Path, settings: CrossEncoderSettings, *, numbers: int) -> None:
    """Write the files that sentence-transformers reads of a cross-encoder; a score is one number."""
    write_json(
        folder / "config_sentence_transformers.json",
        {"model_type": "CrossEncoder", "activation_fn": f"torch.nn.modules.{_module(settings.activation)}"},
    )
    _write_limits(folder, settings)


def _write_limits(folder: Path, settings: ModelSettings | CrossEncoderSettings | SparseSettings) -> None:
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": settings.max_length, "do_lower_case": settings.lowercase},
    )


def _module(activation: Activation) -> str:
    """Return torch's dotted name of an activation, as sentence-transformers writes it."""
    return f"linear.{activation.value}" if activation is Activation.IDENTITY else f"activation.{activation.value}"
