"""Options that several `iqe` commands share, and which of them were given."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser, Namespace, _ActionsContainer
from typing import Any

# What otherwise the model's folder says, and where models come from and are kept: options that other jobs take too.
_SETTINGS = ("pooling", "max_length", "query_instruction", "document_instruction")
_HUB = ("revision", "cache_folder", "local_files_only")


def add_load_options(parser: ArgumentParser) -> None:
    """Add the options of `Encoder.load`, but for the model; `load_keywords` takes them from there."""
    group = parser.add_argument_group("the model", "as for Encoder.load; what its folder says when left out")
    add_options(group, "runtime", "precision", "num_threads", *_SETTINGS, "truncate_dim", "allow_torchscript", *_HUB)


def add_settings(parser: _ActionsContainer) -> None:
    """Add what otherwise the model's folder says."""
    add_options(parser, *_SETTINGS)


def add_hub_options(parser: _ActionsContainer) -> None:
    """Add where models come from and are kept."""
    add_options(parser, *_HUB)


def add_options(parser: _ActionsContainer, *names: str) -> None:
    """Add options of `Encoder.load`; what is left out is None, or False of a flag."""
    from intel_quantized_embeddings.options import LoadOptions

    known = {option.name: option for option in dataclasses.fields(LoadOptions)}
    for name in names:
        option = known[name]
        flag = option.metadata["flag"] or f"--{name.replace('_', '-')}"
        if option.type == "bool":
            parser.add_argument(flag, dest=name, action="store_true", help=option.metadata["help"])
        else:
            kind = int if "int" in str(option.type) else str
            parser.add_argument(
                flag, dest=name, type=kind, metavar=option.metadata["unit"], help=option.metadata["help"]
            )


def load_keywords(options: Namespace) -> dict[str, Any]:
    """The options of `Encoder.load` that were given."""
    from intel_quantized_embeddings.options import LoadKeywords

    return given(options, *LoadKeywords.__annotations__)


def given(options: Namespace, *names: str) -> dict[str, Any]:
    """Return the named options that were given; the others are left to their defaults."""
    found = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None and value is not False}
