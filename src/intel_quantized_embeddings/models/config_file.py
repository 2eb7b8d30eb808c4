"""The reader of a model's `config.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from intel_quantized_embeddings.architectures import text_part
from intel_quantized_embeddings.files.json_files import read_json


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's `config.json`, empty if there is none.

    Of a model that takes images or sounds too the sizes of its encoder of texts are among it (`text_part`).
    """
    return text_part(read_json(folder / "config.json"))
