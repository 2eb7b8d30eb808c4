"""Options that several `iqe` commands share, and which of them were given."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _ActionsContainer
from typing import Any


def add_load_options(parser: ArgumentParser) -> None:
    """Add the options of `Encoder.load`, but for the model; `load_keywords` takes them from there."""
    group = parser.add_argument_group("the model", "as for Encoder.load; what its folder says when left out")
    group.add_argument("--runtime", help="openvino (the default) or ipex")
    group.add_argument("--precision", help="int8 (the default), bf16 or fp32")
    group.add_argument("--threads", type=int, metavar="N", dest="num_threads", help="for one call; one a core")
    add_settings(group)
    group.add_argument("--truncate-dim", type=int, metavar="N", help="keep that many first numbers of each vector")
    group.add_argument(
        "--allow-torchscript", action="store_true", help="open TorchScript, which is code, that others made"
    )
    add_hub_options(group)


def add_settings(parser: _ActionsContainer) -> None:
    """Add what otherwise the model's folder says."""
    parser.add_argument("--pooling", help="cls, mean or last, instead of what the model's folder says")
    parser.add_argument("--max-length", type=int, metavar="TOKENS", help="instead of what the model's folder says")
    parser.add_argument("--query-instruction", metavar="TEXT", help="put before every query")
    parser.add_argument("--document-instruction", metavar="TEXT", help="put before every document")


def add_hub_options(parser: _ActionsContainer) -> None:
    """Add where models come from and are kept."""
    parser.add_argument("--revision", help="branch, tag or commit on the hub")
    parser.add_argument("--cache-folder", metavar="DIR", help="where the hub's files and int8 models are kept")
    parser.add_argument("--local-files-only", action="store_true", help="never ask the hub")


def load_keywords(options: Namespace) -> dict[str, Any]:
    """The options of `Encoder.load` that were given."""
    from intel_quantized_embeddings.load_options import LoadKeywords

    return given(options, *LoadKeywords.__annotations__)


def given(options: Namespace, *names: str) -> dict[str, Any]:
    """Those of the named options that were given; the others are left to their defaults."""
    found = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None and value is not False}
