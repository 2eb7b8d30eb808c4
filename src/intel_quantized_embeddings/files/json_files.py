"""JSON files of a model's folder, which are not trusted, and hashes of files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError
from intel_quantized_embeddings.files.whole import reading

# The largest JSON file in bytes. The index of a model in a thousand parts has some 10 MB.
_LARGEST = 100_000_000


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, empty if the file is absent; anything else is a DamagedFilesError."""
    if not path.is_file():
        return {}
    value = parse_json(path)
    if not isinstance(value, dict):
        raise DamagedFilesError(f"{path} holds a JSON {type(value).__name__}; an object is expected.")
    return value


def parse_json(path: Path) -> Any:
    """Read any JSON; other content, or a file that is too large, is a DamagedFilesError."""
    try:
        with reading(path):
            if path.stat().st_size > _LARGEST:
                raise ValueError(f"it has {path.stat().st_size:,} bytes; at most {_LARGEST:,} are read")
            return json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise DamagedFilesError(f"{path} is not readable JSON: {exc}") from exc


def read_text(file: Path) -> str:
    """Read a file of UTF-8, whatever bytes its path has, which libraries written in Rust ask to be UTF-8 too."""
    try:
        with reading(file):
            return file.read_text("utf-8")
    except UnicodeDecodeError as exc:
        raise DamagedFilesError(f"{file} is not text in UTF-8: {exc}") from exc


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; one that can't be read is a ModelFilesError."""
    with reading(path), path.open("rb") as opened:
        digest = hashlib.sha256()
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_json(path: Path, content: object) -> None:
    """Write a JSON file of a model's folder, and the folder that it is in."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
