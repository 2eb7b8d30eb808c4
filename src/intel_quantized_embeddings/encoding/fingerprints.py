"""Fingerprints: short strings of everything that a model's results depend on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Container, Mapping
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError


def hashed_settings(settings: Any, *, leave_out: Container[str] = ()) -> dict[str, Any]:
    """Return the settings for a fingerprint or a cache's name, without those to `leave_out`.

    Settings at their default are left out. So a setting that a later version adds changes no fingerprint of a model
    that does not use it, and no index has to be made again for it.
    """
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in leave_out
        and (field.default is dataclasses.MISSING or getattr(settings, field.name) != field.default)
    }


def fingerprint_digest(hashes: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits of a hash over the files' hashes and the settings."""
    depends_on = {"files": dict(hashes), "settings": dict(settings)}
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:12]


def refuse_another(found: str, *, pickled: str, model: str | os.PathLike[str]) -> None:
    """Check that the model loaded by unpickling is the model that was pickled."""
    if found != pickled:
        raise DamagedFilesError(
            f"the model pickled as {pickled} loads as {found} here: the files of {model}, or the int8 model made from "
            f"them, are not the same, and so its results would not be. Pass revision= to keep to one commit, or the "
            f"path of one int8 folder."
        )
