"""The table of kinds of models, with the differences between embedders, sparse models and cross-encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from intel_quantized_embeddings.encoding.pipeline import encode_token_ids
from intel_quantized_embeddings.encoding.sparse import encode_sparse
from intel_quantized_embeddings.int8_folder.fidelity import (
    Fidelity,
    ScoreFidelity,
    SparseFidelity,
    summarize_cosines,
    summarize_scores,
    summarize_sparse,
)
from intel_quantized_embeddings.int8_folder.manifest import (
    CrossEncoderManifest,
    FolderManifest,
    Manifest,
    SparseManifest,
)
from intel_quantized_embeddings.int8_folder.model_card import (
    write_cross_encoder_card,
    write_embedder_card,
    write_sparse_card,
)
from intel_quantized_embeddings.int8_folder.probes import COUNT_OF_SCORES, COUNT_OF_VECTORS, Probe, SparseProbe
from intel_quantized_embeddings.int8_folder.record import Drop
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.options import Pooling, RuntimeName
from intel_quantized_embeddings.quantization.calibration import Texts
from intel_quantized_embeddings.quantization.folder import (
    write_cross_encoder_metadata,
    write_embedder_metadata,
    write_sparse_metadata,
)
from intel_quantized_embeddings.quantization.inputs import Inputs, tokenized_pairs, tokenized_texts
from intel_quantized_embeddings.quantization.report import CrossEncoderReport, QuantizationReport, Report, SparseReport
from intel_quantized_embeddings.runtimes.base import ModelGraph
from intel_quantized_embeddings.runtimes.building import (
    build_cross_encoder,
    build_embedder,
    build_sparse,
    require_scoring,
    require_sparse,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from intel_quantized_embeddings.models.source import SourceModel
    from intel_quantized_embeddings.options import LoadOptions
    from intel_quantized_embeddings.quantization.subject import Settings, Subject


class _WritesMetadata(Protocol):
    def __call__(self, folder: Path, settings: Any, *, numbers: int) -> None: ...


def _probe(token_ids: Sequence[int], fp32: Any, int8: Any) -> Probe:
    return Probe.of(token_ids, fp32=fp32[0], int8=int8[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of model.

    Attributes:
        inputs: Its inputs: "texts" or "pairs".
        does: The end of a sentence on a model of it: "makes embeddings".
        scores_pairs: Whether it scores pairs of texts.
        require_runtime: Checks that a runtime runs such models; the OptionError names the runtimes that do.
        named: Its name in fingerprints.
        overridden: Options of loading that override its folder's settings.
        fixed: Options that are fixed in a quantized folder, and their values there.
        meaningless: Options that it does not have and that are refused.
        not_hashed: Settings that its results do not depend on.
        manifest_class: The class of its manifest.
        settings: Reads the settings of a model's folder, with the options that override them.
        build: Makes its fp32 graph; the last argument allows TorchScript.
        more_weights: The files with weights that it has beside the encoder's.
        one_row: Whether the last layer computes only each text's first row.
        tokenized: Makes inputs of texts, in groups that are summarized apart.
        encode: Makes rows of tokenized inputs; called as `encode_token_ids`.
        joined: Concatenates the rows of several groups.
        probe: Makes a probe of token ids and of a row in fp32 and in int8, each of the shape (1, numbers).
        fidelity: Compares int8 rows with fp32's, group by group.
        measured: Describes a fidelity in lines of text.
        probes: The number of probes in a folder.
        report: Makes the report on a quantized model.
        manifest: Makes a manifest of the fields of all kinds and its own.
        write_metadata: Writes the files that sentence-transformers reads.
        write_card: Writes the model card.
    """

    inputs: str
    does: str
    scores_pairs: bool = False
    require_runtime: Callable[[RuntimeName], None] = lambda runtime: None
    named: Callable[[Any], str]
    overridden: tuple[str, ...]
    fixed: Mapping[str, Callable[[Any], object]] = field(default_factory=dict)
    meaningless: tuple[str, ...] = ()
    not_hashed: tuple[str, ...] = ()
    manifest_class: type[Manifest | CrossEncoderManifest | SparseManifest]
    settings: Callable[[SourceModel, LoadOptions], Settings]
    build: Callable[[SourceModel, Any, RuntimeName, bool], ModelGraph]
    more_weights: Callable[[SourceModel], tuple[Path, ...]] = lambda source: ()
    one_row: Callable[[Any], bool]
    tokenized: Callable[[Texts, Tokenizer, Any, int], tuple[Inputs, ...]]
    encode: Callable[..., Any] = encode_token_ids
    joined: Callable[[Sequence[Any]], Any] = np.concatenate
    probe: Callable[[Sequence[int], Any, Any], Probe] = _probe
    fidelity: Callable[[Sequence[Any], Sequence[Any]], Fidelity | ScoreFidelity | SparseFidelity]
    measured: Callable[[Any], list[str]]
    probes: int
    report: type[Report]
    manifest: Callable[[dict[str, Any], Subject, Drop | None], FolderManifest]
    write_metadata: _WritesMetadata
    write_card: Callable[[Path, Any], None]


def _cosines(fp32: Sequence[Any], int8: Sequence[Any]) -> Fidelity:
    documents, queries = (summarize_cosines(one, other) for one, other in zip(fp32, int8, strict=True))
    return Fidelity(documents=documents, queries=queries)


def _sparse_fidelity(fp32: Sequence[csr_array], int8: Sequence[csr_array]) -> SparseFidelity:
    documents, queries = (summarize_sparse(one, other) for one, other in zip(fp32, int8, strict=True))
    return SparseFidelity(documents=documents, queries=queries)


def _sparse_probe(token_ids: Sequence[int], fp32: csr_array, int8: csr_array) -> SparseProbe:
    return SparseProbe.of(token_ids, fp32=fp32.toarray()[0], int8=int8.toarray()[0])


def _stacked(rows: Sequence[csr_array]) -> csr_array:
    from scipy.sparse import vstack

    return vstack(list(rows), format="csr")


EMBEDDER = Kind(
    inputs="texts",
    does="makes embeddings",
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
    does="scores pairs",
    scores_pairs=True,
    require_runtime=require_scoring,
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

SPARSE = Kind(
    inputs="texts",
    does="makes sparse vectors",
    require_runtime=require_sparse,
    named=lambda settings: "sparse",
    overridden=("max_length", "query_instruction", "document_instruction"),
    meaningless=("pooling", "normalize", "truncate_dim"),
    not_hashed=("similarity", "default_instruction", "other_prompts"),
    manifest_class=SparseManifest,
    settings=lambda source, options: source.sparse_settings(default_max_length=options.max_length),
    build=lambda source, settings, runtime, allow_torchscript: build_sparse(source, settings, runtime=runtime),
    more_weights=lambda source: source.sparse_weights,
    one_row=lambda settings: False,
    tokenized=tokenized_texts,
    encode=encode_sparse,
    joined=_stacked,
    probe=_sparse_probe,
    fidelity=_sparse_fidelity,
    measured=lambda fidelity: [
        f"sparse vectors beside fp32: documents {fidelity.documents}",
        f"sparse vectors beside fp32: queries {fidelity.queries}",
    ],
    probes=COUNT_OF_VECTORS,
    report=SparseReport,
    manifest=lambda fields, subject, drop: SparseManifest(**fields, vocabulary=subject.numbers),
    write_metadata=write_sparse_metadata,
    write_card=write_sparse_card,
)
