"""The table of kinds of models, with the differences between embedders and cross-encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from intel_quantized_embeddings.int8_folder.fidelity import Fidelity, ScoreFidelity, summarize_cosines, summarize_scores
from intel_quantized_embeddings.int8_folder.manifest import CrossEncoderManifest, FolderManifest, Manifest
from intel_quantized_embeddings.int8_folder.model_card import write_cross_encoder_card, write_embedder_card
from intel_quantized_embeddings.int8_folder.probes import COUNT_OF_SCORES, COUNT_OF_VECTORS
from intel_quantized_embeddings.int8_folder.record import Drop
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.options import Pooling, RuntimeName
from intel_quantized_embeddings.quantization.calibration import Texts
from intel_quantized_embeddings.quantization.folder import write_cross_encoder_metadata, write_embedder_metadata
from intel_quantized_embeddings.quantization.inputs import Inputs, tokenized_pairs, tokenized_texts
from intel_quantized_embeddings.quantization.report import CrossEncoderReport, QuantizationReport, Report
from intel_quantized_embeddings.runtimes.base import ModelGraph
from intel_quantized_embeddings.runtimes.building import build_cross_encoder, build_embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from intel_quantized_embeddings.models.source import SourceModel
    from intel_quantized_embeddings.options import LoadOptions
    from intel_quantized_embeddings.quantization.subject import Settings, Subject


class _WritesMetadata(Protocol):
    def __call__(self, folder: Path, settings: Any, *, numbers: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of model.

    Attributes:
        inputs: Its inputs: "texts" or "pairs".
        scores_pairs: Whether it needs a runtime that runs cross-encoders.
        named: Its name in fingerprints.
        overridden: Options of loading that override its folder's settings.
        fixed: Options that are fixed in a quantized folder, and their values there.
        meaningless: Options that it does not have and that are refused.
        not_hashed: Settings that its results do not depend on.
        manifest_class: The class of its manifest.
        settings: Reads the settings of a model's folder, with the options that override them.
        build: Makes its fp32 graph; the last argument allows TorchScript.
        one_row: Whether the last layer computes only each text's first row.
        tokenized: Makes inputs of texts, in groups that are summarized apart.
        fidelity: Compares int8 rows with fp32's, group by group.
        measured: Describes a fidelity in lines of text.
        probes: The number of probes in a folder.
        report: Makes the report on a quantized model.
        manifest: Makes a manifest of the fields of all kinds and its own.
        write_metadata: Writes the files that sentence-transformers reads.
        write_card: Writes the model card.
    """

    inputs: str
    scores_pairs: bool
    named: Callable[[Any], str]
    overridden: tuple[str, ...]
    fixed: Mapping[str, Callable[[Any], object]] = field(default_factory=dict)
    meaningless: tuple[str, ...] = ()
    not_hashed: tuple[str, ...] = ()
    manifest_class: type[Manifest | CrossEncoderManifest]
    settings: Callable[[SourceModel, LoadOptions], Settings]
    build: Callable[[SourceModel, Any, RuntimeName, bool], ModelGraph]
    one_row: Callable[[Any], bool]
    tokenized: Callable[[Texts, Tokenizer, Any, int], tuple[Inputs, ...]]
    fidelity: Callable[[Sequence[NDArray[np.float32]], Sequence[NDArray[np.float32]]], Fidelity | ScoreFidelity]
    measured: Callable[[Any], list[str]]
    probes: int
    report: type[Report]
    manifest: Callable[[dict[str, Any], Subject, Drop | None], FolderManifest]
    write_metadata: _WritesMetadata
    write_card: Callable[[Path, Any], None]


def _cosines(fp32: Sequence[NDArray[np.float32]], int8: Sequence[NDArray[np.float32]]) -> Fidelity:
    documents, queries = (summarize_cosines(one, other) for one, other in zip(fp32, int8, strict=True))
    return Fidelity(documents=documents, queries=queries)


EMBEDDER = Kind(
    inputs="texts",
    scores_pairs=False,
    named=lambda settings: settings.pooling_name,
    overridden=("max_length", "query_instruction", "document_instruction"),
    fixed={"pooling": lambda settings: settings.pooling_name, "normalize": lambda settings: settings.normalize},
    not_hashed=("similarity", "default_instruction", "other_prompts"),
    manifest_class=Manifest,
    settings=lambda source, options: source.settings(
        pooling=options.pooling, normalize=options.normalize, default_max_length=options.max_length
    ),
    build=lambda source, settings, runtime, allow_torchscript: build_embedder(
        source, settings, runtime=runtime, allow_torchscript=allow_torchscript
    ),
    one_row=lambda settings: settings.poolings == (Pooling.CLS,),
    tokenized=tokenized_texts,
    fidelity=_cosines,
    measured=lambda fidelity: [
        f"cosine to fp32: documents {fidelity.documents}",
        f"cosine to fp32: queries {fidelity.queries}",
    ],
    probes=COUNT_OF_VECTORS,
    report=QuantizationReport,
    manifest=lambda fields, subject, drop: Manifest(**fields, dimension=subject.numbers, drop=drop),
    write_metadata=write_embedder_metadata,
    write_card=write_embedder_card,
)

CROSS_ENCODER = Kind(
    inputs="pairs",
    scores_pairs=True,
    named=lambda settings: "cross-encoder",
    overridden=("max_length",),
    meaningless=("pooling", "normalize", "query_instruction", "document_instruction", "truncate_dim"),
    manifest_class=CrossEncoderManifest,
    settings=lambda source, options: source.cross_encoder_settings(default_max_length=options.max_length),
    build=lambda source, settings, runtime, allow_torchscript: build_cross_encoder(source, runtime=runtime),
    one_row=lambda settings: True,
    tokenized=tokenized_pairs,
    fidelity=lambda fp32, int8: summarize_scores(fp32[0][:, 0], int8[0][:, 0]),
    measured=lambda fidelity: [f"scores beside fp32: {fidelity}"],
    probes=COUNT_OF_SCORES,
    report=CrossEncoderReport,
    manifest=lambda fields, subject, drop: CrossEncoderManifest(**fields, second_text=subject.model.second_text),
    write_metadata=write_cross_encoder_metadata,
    write_card=write_cross_encoder_card,
)
