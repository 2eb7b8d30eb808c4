"""`manifest.json`: what a quantized folder is, where it came from, and what every file must hash to."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from intel_quantized_embeddings.architectures.config import MOST_TOKENS
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, UnsupportedModelError
from intel_quantized_embeddings.files.field_types import require_types
from intel_quantized_embeddings.files.inside import path_inside
from intel_quantized_embeddings.files.json_files import file_sha256, read_json
from intel_quantized_embeddings.int8_folder.config import QuantizationConfig
from intel_quantized_embeddings.int8_folder.fidelity import CosineSummary, Fidelity
from intel_quantized_embeddings.int8_folder.loss import Drop, SpeedCost
from intel_quantized_embeddings.int8_folder.probes import Probe, rows_of
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import MANIFEST_FILE
from intel_quantized_embeddings.models.tokenizer_files import BESIDE, TOKENIZER_FILE
from intel_quantized_embeddings.options import Pooling, RuntimeName
from intel_quantized_embeddings.runtimes.table import RUNTIMES
from intel_quantized_embeddings.similarity import Similarity

logger = logging.getLogger(__name__)

MODEL_CARD = "README.md"
FORMAT_VERSION = 3

# What a folder may hold; a manifest that names no kind is an embedder's.
EMBEDDER = "embedder"
CROSS_ENCODER = "cross-encoder"

_Kind = TypeVar("_Kind", bound="FolderManifest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The fp32 model: its id or folder name, the hub's commit, the hash of each weights file."""

    id: str
    revision: str | None
    weights_sha256: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The fine-tuning of weights before they were rounded (quantization-aware training).

    Attributes:
        texts: How many it could learn from.
        steps: Batches it learned from.
        score_before: What the weights had without it once they were rounded: the mean cosine on the texts held out.
        score_after: What they have with it, every linear layer in int8 that can be.
    """

    texts: int
    steps: int
    score_before: float
    score_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """The way a folder was quantized.

    Attributes:
        name: One of `MethodName`.
        smooth_quant_alpha: SmoothQuant's strength in [0, 1]; None is without it.
        alphas_tried: The held-out score of each strength that was compared.
        attention: The arithmetic of attention, "fp32" or "bf16"; None where the quantizer decides.
        activation_ranges: "mean" of the texts' extremes or the "widest"; None where it was not recorded.
        floating_point_layers: Linear layers that are not int8.
        training: What was done to the weights before; None unless it is quantization-aware training.
        weight_bits: Bits of int8 weights, 8 or 7; None where the quantizer has no choice.
    """

    name: str
    smooth_quant_alpha: float | None
    alphas_tried: dict[str, float]
    attention: str | None = None
    activation_ranges: str | None = None
    floating_point_layers: tuple[str, ...] = ()
    training: Training | None = None
    weight_bits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The texts that set the ranges: their digest, and the number of each kind."""

    digest: str
    documents: int
    queries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderManifest:
    """The record of a quantized folder, whatever kind of model it holds.

    Attributes:
        config: The settings it was asked for with; `method` is what came of them.
        probes: Inputs with their rows in fp32 and int8, to see whether int8 is as good where the folder is loaded.
    """

    format_version: int
    source: Source
    runtime: str
    precision: str
    method: Method
    config: QuantizationConfig
    calibration: Calibration
    max_positions: int
    pad_token_id: int
    library_versions: dict[str, str]
    probes: tuple[Probe, ...]
    files: dict[str, str]

    @property
    def numbers(self) -> int:
        """Numbers in a row of the encoder's output."""
        raise NotImplementedError

    @property
    def spread(self) -> float | None:
        """Standard deviation of fp32's scores on held-out pairs; None of vectors, or where it was not measured."""
        return None

    def require_sound(self) -> None:
        """Check the numbers that a batch is made by, the probes, and that the files which results depend on are listed.

        Raises:
            ValueError: A number is impossible, or a file is not listed.
        """
        # What results depend on: the hash of each must be listed, so that a fingerprint covers them.
        for name in (*RUNTIMES[RuntimeName(self.runtime)].encoder_files, TOKENIZER_FILE):
            if name not in self.files:
                raise ValueError(f"files does not list {name!r}, whose hash must be checked")
        if not self.probes:
            raise ValueError("there are no probes")
        if rows_of(self.probes)[0].shape[1] != self.numbers:
            raise ValueError(f"probes do not have {self.numbers} numbers")
        if any(not ids or not 0 <= min(ids) <= max(ids) < MOST_TOKENS for ids in (p.token_ids for p in self.probes)):
            raise ValueError("a probe has no token ids, or impossible ones")
        if (longest := max(len(probe.token_ids) for probe in self.probes)) > self.max_positions:
            raise ValueError(f"a probe has {longest} token ids and the model {self.max_positions} positions")
        if self.max_positions < 1 or not 0 <= self.pad_token_id < MOST_TOKENS:
            raise ValueError(f"max_positions={self.max_positions} with pad_token_id={self.pad_token_id} is impossible")

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into a folder."""
        parts = {**dataclasses.asdict(self), "config": self.config.to_mapping()}
        parts["files"] = parts.pop("files")  # the longest part comes last
        content = json.dumps(parts, indent=2, ensure_ascii=False)
        (folder / MANIFEST_FILE).write_text(content + "\n", "utf-8")

    def verify(self, folder: Path) -> None:
        """Check every file's hash. A model card may be edited, which is logged.

        Raises:
            ModelFilesError: A file is missing.
            DamagedFilesError: A file differs from what was written, a name or a link leaves the folder, there is a
                file that decides token ids and is not listed, or a probe has ids that the model does not know.
        """
        for name in ("config.json", TOKENIZER_FILE, *BESIDE):
            if name not in self.files and (folder / name).exists():
                raise DamagedFilesError(
                    f"{folder / name} is not listed in {MANIFEST_FILE}, and would change how texts are tokenized: it "
                    f"was added since. Remove it, or quantize the model again."
                )
        self._check_probes(read_json(folder / "config.json").get("vocab_size"), folder)
        for name, expected in self.files.items():
            path = path_inside(folder, name, listed_in=folder / MANIFEST_FILE)
            if not path.is_file():
                raise ModelFilesError(f"{path} is missing; {MANIFEST_FILE} lists it. Quantize the model again.")
            seen = file_sha256(path)
            if seen != expected and name == MODEL_CARD:
                logger.warning("%s was edited since it was written; nothing else of the folder was", path)
            elif seen != expected:
                raise DamagedFilesError(
                    f"{path} has changed since it was written: SHA-256 {seen}, {MANIFEST_FILE} says {expected}. "
                    f"Copy the folder again or quantize the model again."
                )

    def _check_probes(self, vocabulary: object, folder: Path) -> None:
        largest = max(max(probe.token_ids) for probe in self.probes)
        # Ids of a pair's second text are raised by the vocabulary's size.
        if isinstance(vocabulary, int) and largest >= (2 if self.numbers == 1 else 1) * vocabulary:
            raise DamagedFilesError(
                f"{folder / MANIFEST_FILE} has a probe with the token id {largest}, and the model knows {vocabulary}. "
                f"Copy the folder again or quantize the model again."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(FolderManifest):
    """Everything known of a quantized embedding model's folder.

    Attributes:
        fidelity: Cosines to fp32 on texts that were not calibrated on; None where they were not measured.
        drop: What it loses against fp32; None where no limit was set.
    """

    format_version: int = FORMAT_VERSION
    settings: ModelSettings
    dimension: int
    fidelity: Fidelity | None
    drop: Drop | None = None

    @property
    def numbers(self) -> int:
        """Numbers in a vector."""
        return self.dimension

    @staticmethod
    def read(folder: Path) -> Manifest:
        """Read a folder's manifest.

        Raises:
            ModelFilesError: There is none.
            UnsupportedModelError: It is of another format than this version's, or of a cross-encoder.
            DamagedFilesError: It is not a manifest.
        """
        return read_as(folder, _from_json, kind=EMBEDDER, readable=FORMAT_VERSION)


def read_as(folder: Path, build: Callable[[dict[str, Any]], _Kind], *, kind: str, readable: int) -> _Kind:
    """Read a folder's manifest, once it is seen to be of a kind and a version.

    Args:
        folder: The quantized folder.
        build: Makes the manifest of what the file says, without its kind.
        kind: Which kind of model is expected.
        readable: The format version of that kind.

    Raises:
        ModelFilesError: There is no manifest.
        UnsupportedModelError: It is of another kind of model, or of a format or runtime that this version lacks.
        DamagedFilesError: It is not a manifest.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise ModelFilesError(f"{folder} has no {MANIFEST_FILE}: it is not a folder that `quantize` wrote.")
    content = read_json(path)
    held = content.pop("kind", EMBEDDER)
    if held != kind:
        loader = "CrossEncoder.load" if held == CROSS_ENCODER else "Encoder.load"
        raise UnsupportedModelError(
            f"{folder} holds a quantized {held} and no {kind}: load it with {loader}, or either with Reranker.load."
        )
    version = content.get("format_version")
    if version != readable:
        raise UnsupportedModelError(
            f"{path} has format version {version!r}; this version reads {readable}. "
            f"Quantize the model again, or upgrade intel-quantized-embeddings."
        )
    if content.get("runtime") not in [name.value for name in RUNTIMES]:
        raise UnsupportedModelError(
            f"{path} is for the runtime {content.get('runtime')!r}, which this version does not have. Quantize the "
            f"model again, or upgrade intel-quantized-embeddings."
        )
    try:
        manifest = build(content)
        require_types(manifest)
        manifest.require_sound()
    except (TypeError, KeyError, ValueError, AttributeError) as exc:
        raise DamagedFilesError(f"{path} is not a manifest: {type(exc).__name__}: {exc}") from exc
    return manifest


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder but the manifest itself, by relative path."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST_FILE)
    return {file.relative_to(folder).as_posix(): file_sha256(file) for file in files}


def _from_json(content: dict[str, Any]) -> Manifest:
    settings = dict(content["settings"])
    settings["pooling"] = Pooling(settings["pooling"])
    settings["similarity"] = Similarity(settings.get("similarity", Similarity.COSINE))  # which was not kept at first
    settings["more_poolings"] = tuple(Pooling(mode) for mode in settings.get("more_poolings", ()))
    settings["modules"] = tuple(settings.get("modules", ()))
    settings["other_prompts"] = tuple((name, text) for name, text in settings.get("other_prompts", ()))
    fidelity = content["fidelity"] and Fidelity(
        documents=CosineSummary(**content["fidelity"]["documents"]),
        queries=CosineSummary(**content["fidelity"]["queries"]),
    )
    parts = {"settings": ModelSettings(**settings), "fidelity": fidelity, "drop": _drop(content.get("drop"))}
    return Manifest(**{**content, **shared_parts(content), **parts})


def shared_parts(content: dict[str, Any]) -> dict[str, Any]:
    """Return source, method, settings and calibration of a manifest of any kind, as their types."""
    method = Method(**content["method"])
    training = method.training and Training(**content["method"]["training"])
    return {
        "source": Source(**content["source"]),
        "method": dataclasses.replace(
            method, floating_point_layers=tuple(method.floating_point_layers), training=training
        ),
        "config": QuantizationConfig.from_mapping(content["config"], where=MANIFEST_FILE),
        "probes": tuple(Probe.from_json(probe) for probe in content["probes"]),
        "calibration": Calibration(**content["calibration"]),
    }


def _drop(content: dict[str, Any] | None) -> Drop | None:
    if content is None:
        return None
    speed = content["speed"] and SpeedCost(**content["speed"])
    return Drop(**{**content, "put_back": tuple(content["put_back"]), "speed": speed})
