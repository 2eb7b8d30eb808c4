"""Reader of the configuration of sentence-transformers' Pooling module, in the spelling of any version."""

from __future__ import annotations

from pathlib import Path

from intel_quantized_embeddings.errors import UnsupportedModelError
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.models.modules import refuse_unknown_keys
from intel_quantized_embeddings.options import Pooling

_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_POOLING_KEYS = ("pooling_mode", "include_prompt", "embedding_dimension", "word_embedding_dimension", *_POOLING_FLAGS)
# Alternative spellings of pooling modes.
_POOLING_NAMES = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}


def read_poolings(path: Path) -> tuple[Pooling, ...]:
    """Read the configuration of a Pooling module: one mode, or several whose rows are concatenated."""
    check_pooling(path)
    config = read_json(path)
    asked = config.get("pooling_mode")
    if asked is None:  # versions before 6: one flag a mode; none is the mean
        asked = [mode for flag, mode in _POOLING_FLAGS.items() if config.get(flag)] or ["mean"]
    listed = asked if isinstance(asked, list) else [asked]
    modes = [_POOLING_NAMES.get(str(mode), str(mode)) for mode in listed]
    allowed = [mode.value for mode in Pooling]
    if not modes or not set(modes) <= set(allowed):
        keys = ", ".join(key for key in config if key.startswith("pooling_mode") and config[key])
        raise UnsupportedModelError(f"{path} asks for the pooling {asked!r} ({keys}); built in are {allowed}.")
    return tuple(Pooling(mode) for mode in modes)


def check_pooling(path: Path) -> None:
    """Check the configuration of a Pooling module, but for the mode, which a caller may choose."""
    config = read_json(path)
    refuse_unknown_keys(config, _POOLING_KEYS, path)
    include = config.get("include_prompt", True)
    if include is not True:
        raise UnsupportedModelError(
            f"{path} has include_prompt={str(include).lower()} (the instruction's tokens are left out of pooling), "
            f"which is not built in."
        )
