"""`manifest.json`: the record of a quantized folder, its source, and the hash of every file."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from intel_quantized_embeddings.architectures.config import MOST_TOKENS
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, UnsupportedModelError
from intel_quantized_embeddings.files.field_types import made_of
from intel_quantized_embeddings.files.inside import path_inside
from intel_quantized_embeddings.files.json_files import file_sha256, read_json
from intel_quantized_embeddings.int8_folder.config import QuantizationConfig
from intel_quantized_embeddings.int8_folder.fidelity import Fidelity, ScoreFidelity, SparseFidelity
from intel_quantized_embeddings.int8_folder.probes import Probe, SparseProbe, rows_of
from intel_quantized_embeddings.int8_folder.record import Calibration, Drop, Method, Source
from intel_quantized_embeddings.models.config_file import read_config
from intel_quantized_embeddings.models.scoring import CrossEncoderSettings
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import MANIFEST_FILE
from intel_quantized_embeddings.models.sparse import SparseSettings
from intel_quantized_embeddings.models.tokenizer_files import BESIDE, TOKENIZER_FILE
from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.runtimes.table import RUNTIMES

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)

MODEL_CARD = "README.md"

# Kinds of models that a folder may hold; a manifest without a kind is an embedder's.
EMBEDDER = "embedder"
CROSS_ENCODER = "cross-encoder"
SPARSE = "sparse"

_LOADERS = {
    EMBEDDER: "Encoder.load, or Reranker.load",
    CROSS_ENCODER: "CrossEncoder.load, or Reranker.load",
    SPARSE: "SparseEncoder.load",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderManifest:
    """The record of a quantized folder with any kind of model.

    Attributes:
        config: The settings that were asked for; `method` has those that were chosen.
        probes: Inputs with their rows in fp32 and int8, to check that int8 is as faithful where the folder is loaded.
    """

    KIND: ClassVar[str]
    FORMAT: ClassVar[int]  # the format version that is read and written

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

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a folder's manifest.

        Raises:
            ModelFilesError: There is no manifest.
            UnsupportedModelError: It is of another kind of model, or of a format or runtime that this version lacks.
            DamagedFilesError: The file is not a manifest.
        """
        path = folder / MANIFEST_FILE
        if not path.is_file():
            raise ModelFilesError(f"{folder} has no {MANIFEST_FILE}: it is not a folder that `quantize` wrote.")
        content = read_json(path)
        held = content.pop("kind", EMBEDDER)
        if held != cls.KIND:
            how = f"load it with {_LOADERS[held]}" if held in list(_LOADERS) else "update intel-quantized-embeddings"
            raise UnsupportedModelError(f"{folder} holds a quantized {_named(held)} and no {_named(cls.KIND)}: {how}.")
        version = content.get("format_version")
        if version != cls.FORMAT:
            raise UnsupportedModelError(
                f"{path} has format version {version!r}; this version reads {cls.FORMAT}. "
                f"Quantize the model again, or upgrade intel-quantized-embeddings."
            )
        if content.get("runtime") not in [name.value for name in RUNTIMES]:
            raise UnsupportedModelError(
                f"{path} is for the runtime {content.get('runtime')!r}, which this version does not have. Quantize the "
                f"model again, or upgrade intel-quantized-embeddings."
            )
        try:
            manifest: Self = made_of(cls, content)
            manifest.require_sound()
        except (TypeError, ValueError) as exc:
            raise DamagedFilesError(f"{path} is not a manifest: {type(exc).__name__}: {exc}") from exc
        return manifest

    @property
    def numbers(self) -> int:
        """Numbers in a row of the encoder's output."""
        raise NotImplementedError

    @property
    def spread(self) -> float | None:
        """Standard deviation of fp32's scores on held-out pairs; None for vectors, or if it was not measured."""
        return None

    def require_sound(self) -> None:
        """Check the limits of a batch, the probes, and that the files which results depend on are listed.

        Raises:
            ValueError: A number is impossible, or a file is not listed.
        """
        # Files that results depend on: the hash of each must be listed, so that a fingerprint covers them.
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
        parts["files"] = parts.pop("files")  # last, because it is the longest part
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
        self._check_probes(read_config(folder).get("vocab_size"), folder)
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
        # The vocabulary's size is added to the ids of a pair's second text.
        if isinstance(vocabulary, int) and largest >= (2 if self.numbers == 1 else 1) * vocabulary:
            raise DamagedFilesError(
                f"{folder / MANIFEST_FILE} has a probe with the token id {largest}, and the model knows {vocabulary}. "
                f"Copy the folder again or quantize the model again."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(FolderManifest):
    """The record of a quantized embedding model's folder.

    Attributes:
        fidelity: Cosines to fp32 on held-out texts; None if they were not measured.
        drop: The loss against fp32; None if no limit was set.
    """

    KIND: ClassVar[str] = EMBEDDER
    FORMAT: ClassVar[int] = 3

    format_version: int = FORMAT
    settings: ModelSettings
    dimension: int
    fidelity: Fidelity | None
    drop: Drop | None = None

    @property
    def numbers(self) -> int:
        """Numbers in a vector."""
        return self.dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEncoderManifest(FolderManifest):
    """The record of a quantized cross-encoder's folder.

    Attributes:
        second_text: Number added to the token ids of a pair's second text so that the graph can tell the two apart.
        fidelity: Its scores compared with fp32's; None if they were not measured.
    """

    KIND: ClassVar[str] = CROSS_ENCODER
    FORMAT: ClassVar[int] = 2

    kind: str = KIND
    format_version: int = FORMAT
    settings: CrossEncoderSettings
    second_text: int
    fidelity: ScoreFidelity | None

    @property
    def numbers(self) -> int:
        """The number of scores: 1."""
        return 1

    @property
    def spread(self) -> float | None:
        """Standard deviation of fp32's scores on held-out pairs; None if it was not measured."""
        return None if self.fidelity is None else self.fidelity.spread


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseManifest(FolderManifest):
    """The record of a quantized sparse model's folder.

    Attributes:
        vocabulary: Numbers in a row, zeros included.
        fidelity: Its vectors compared with fp32's; None if they were not measured.
    """

    KIND: ClassVar[str] = SPARSE
    FORMAT: ClassVar[int] = 1

    kind: str = KIND
    format_version: int = FORMAT
    settings: SparseSettings
    probes: tuple[SparseProbe, ...]
    vocabulary: int
    fidelity: SparseFidelity | None

    @property
    def numbers(self) -> int:
        """Numbers in a row, zeros included."""
        return self.vocabulary


_KINDS: dict[str, type[FolderManifest]] = {one.KIND: one for one in (Manifest, CrossEncoderManifest, SparseManifest)}


def read_manifest(folder: Path) -> FolderManifest:
    """Read the manifest of a folder of any kind; raises what `FolderManifest.read` does."""
    kind = read_json(folder / MANIFEST_FILE).get("kind", EMBEDDER)
    return _KINDS.get(kind if isinstance(kind, str) else "", Manifest).read(folder)


def _named(kind: object) -> str:
    return "sparse model" if kind == SPARSE else str(kind)


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder but the manifest itself, by relative path."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST_FILE)
    return {file.relative_to(folder).as_posix(): file_sha256(file) for file in files}
