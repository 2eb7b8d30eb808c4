"""What a model's results depend on, as a short string."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError


def fingerprint_digest(hashes: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """12 hexadecimal digits of a hash over the files' hashes and the settings."""
    depends_on = {"files": dict(hashes), "settings": dict(settings)}
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:12]


def refuse_another(found: str, *, pickled: str, model: str | os.PathLike[str]) -> None:
    """Check that what was loaded to unpickle a model is the model that was pickled.

    Raises:
        DamagedFilesError: Its fingerprint is another.
    """
    if found != pickled:
        raise DamagedFilesError(
            f"the model pickled as {pickled} loads as {found} here: the files of {model}, or the int8 model made from "
            f"them, are not the same, and so its results would not be. Pass revision= to keep to one commit, or the "
            f"path of one int8 folder."
        )
