"""The folder of a quantized SetFit model: `setfit.json`, the head's numbers, and the body's own folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, UnsupportedModelError
from intel_quantized_embeddings.files.json_files import file_sha256, read_json, write_json
from intel_quantized_embeddings.integrations.classification_head import ClassificationHead, read_head, write_head
from intel_quantized_embeddings.models.source import MANIFEST_FILE

FORMAT_VERSION = 2
# Version 1 had integers and strings; its integers are numbers of labels.
_READABLE = (1, FORMAT_VERSION)
DESCRIPTION_FILE = "setfit.json"
HEAD_FILE = "head.safetensors"
BODY_FOLDER = "body"


def write_classifier(folder: Path, head: ClassificationHead, labels: Sequence[Any] | None) -> None:
    """Write a head and the names of its classes beside the body, which exists already."""
    described = write_head(head, folder / HEAD_FILE)
    content = {
        "format_version": FORMAT_VERSION,
        "labels": labels,
        "head": {**described, "sha256": file_sha256(folder / HEAD_FILE)},
        # The manifest holds the hashes of the body's files: a head is never used with the body of another.
        "body": {"manifest_sha256": file_sha256(folder / BODY_FOLDER / MANIFEST_FILE)},
    }
    write_json(folder / DESCRIPTION_FILE, content)


def read_classifier(folder: Path) -> tuple[ClassificationHead, list[Any] | None]:
    """Read the files of `write_classifier`.

    Raises:
        ModelFilesError: A file is missing.
        DamagedFilesError: A file was changed after it was written; the message names it.
        UnsupportedModelError: A newer version wrote the folder.
    """
    description = _read_description(folder)
    _check_hash(folder / HEAD_FILE, description["head"]["sha256"])
    _check_hash(folder / BODY_FOLDER / MANIFEST_FILE, description["body"]["manifest_sha256"])
    head, labels = read_head(folder / HEAD_FILE, description["head"]), description["labels"]
    try:
        head.names(labels)
    except ValueError as exc:
        raise DamagedFilesError(f"{folder / DESCRIPTION_FILE} does not name every class: {exc}.") from exc
    return head, labels


def _check_hash(file: Path, expected: str) -> None:
    if not file.is_file():
        raise ModelFilesError(f"{file} is missing. Run quantize_setfit again.")
    seen = file_sha256(file)
    if seen != expected:
        raise DamagedFilesError(
            f"{file} has changed since it was written: SHA-256 {seen}, {DESCRIPTION_FILE} says {expected}. Copy the "
            f"folder again or run quantize_setfit again."
        )


def _read_description(folder: Path) -> dict[str, Any]:
    file = folder / DESCRIPTION_FILE
    if not file.is_file():
        raise ModelFilesError(f"{folder} has no {DESCRIPTION_FILE}: it is not a folder that quantize_setfit wrote.")
    description = read_json(file)
    if description.get("format_version") not in _READABLE:
        raise UnsupportedModelError(
            f"{file} has format version {description.get('format_version')!r}; this version reads "
            f"{' and '.join(map(str, _READABLE))}. "
            f"Run quantize_setfit again, or upgrade intel-quantized-embeddings."
        )
    head, body, labels = (description.get(part) for part in ("head", "body", "labels"))
    if not isinstance(head, dict) or not {"link", "classes", "sha256"} <= head.keys():
        raise DamagedFilesError(f"{file} does not describe a head.")
    if not isinstance(body, dict) or "manifest_sha256" not in body:
        raise DamagedFilesError(f"{file} does not describe a body.")
    classes = head["classes"]
    if not isinstance(classes, list) or not all(isinstance(name, (str, int, float)) for name in classes):
        raise DamagedFilesError(f"{file}: classes is {classes!r}; a list of names or numbers is expected.")
    head.setdefault("numbered", not any(isinstance(name, str) for name in classes))
    if not isinstance(head["numbered"], bool):
        raise DamagedFilesError(f"{file}: numbered is {head['numbered']!r}; true or false is expected.")
    if labels is not None and not (isinstance(labels, list) and all(map(is_plain, labels))):
        raise DamagedFilesError(f"{file}: labels is {labels!r}; a list of names is expected.")
    return description


def is_plain(label: object) -> bool:
    """Return whether a label survives JSON unchanged."""
    return isinstance(label, (str, int, float))
