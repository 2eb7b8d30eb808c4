"""The manifest of a quantized cross-encoder's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.int8_folder.fidelity import ScoreFidelity
from intel_quantized_embeddings.int8_folder.manifest import (
    CROSS_ENCODER,
    FolderManifest,
    Manifest,
    read_as,
    shared_parts,
)
from intel_quantized_embeddings.models.scoring import Activation, CrossEncoderSettings
from intel_quantized_embeddings.models.source import MANIFEST_FILE

FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEncoderManifest(FolderManifest):
    """Everything known of a quantized cross-encoder's folder.

    Attributes:
        second_text: What the ids of a pair's second text are raised by before they enter the graph.
        fidelity: Its scores beside those in fp32; None where they were not measured.
    """

    kind: str = CROSS_ENCODER
    format_version: int = FORMAT_VERSION
    settings: CrossEncoderSettings
    second_text: int
    fidelity: ScoreFidelity | None

    @property
    def numbers(self) -> int:
        """A score."""
        return 1

    @property
    def spread(self) -> float | None:
        """Standard deviation of fp32's scores on held-out pairs; None where it was not measured."""
        return None if self.fidelity is None else self.fidelity.spread

    @staticmethod
    def read(folder: Path) -> CrossEncoderManifest:
        """Read a folder's manifest.

        Raises:
            ModelFilesError: There is none.
            UnsupportedModelError: It is of another format than this version's, or of an embedding model.
            DamagedFilesError: It is not a manifest.
        """
        return read_as(folder, _from_json, kind=CROSS_ENCODER, readable=FORMAT_VERSION)


def read_manifest(folder: Path) -> FolderManifest:
    """Read the manifest of a folder of either kind.

    Raises:
        QuantizedEmbeddingsError: As `Manifest.read` lists them.
    """
    is_one = read_json(folder / MANIFEST_FILE).get("kind") == CROSS_ENCODER
    return CrossEncoderManifest.read(folder) if is_one else Manifest.read(folder)


def _from_json(content: dict[str, Any]) -> CrossEncoderManifest:
    settings = {**content["settings"], "modules": tuple(content["settings"].get("modules", ()))}
    parts = {
        "settings": CrossEncoderSettings(**{**settings, "activation": Activation(settings["activation"])}),
        "fidelity": content["fidelity"] and ScoreFidelity(**content["fidelity"]),
    }
    return CrossEncoderManifest(**{**content, **shared_parts(content), **parts})
