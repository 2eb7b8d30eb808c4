"""Options that several `iqe` commands share, and which of them were given."""

from __future__ import annotations

import dataclasses
from argparse import Namespace, _ActionsContainer
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# What otherwise the model's folder says, and where models come from and are kept: options that other jobs take too.
SETTINGS = ("pooling", "max_length", "query_instruction", "document_instruction")
HUB = ("revision", "cache_folder", "local_files_only")


@dataclass(frozen=True)
class Command:
    """A command of `iqe`.

    Attributes:
        run: What it does with its options; what it returns is the exit status, None standing for 0.
        rows: Its options, in order. A row is a flag, a type (bool where it takes no value), a unit, the help, and
            perhaps its other name or what more argparse is told; or an option of `Encoder.load`, by its name.
        loads: Whether it has all the options of `Encoder.load` too, but for the model; `load_keywords` takes them.
    """

    name: str
    run: Callable[[Namespace], int | None]
    help: str
    rows: tuple[str | tuple[Any, ...], ...]
    description: str | None = None
    epilog: str | None = None
    loads: bool = False

    def add_to(self, commands: Any) -> None:
        """Add it to argparse's subparsers."""
        command = commands.add_parser(self.name, help=self.help, description=self.description, epilog=self.epilog)
        _add_rows(command, self.rows)
        if self.loads:
            group = command.add_argument_group("the model", "as for Encoder.load; what its folder says when left out")
            names = ("runtime", "precision", "num_threads", *SETTINGS, "truncate_dim", "allow_torchscript", *HUB)
            _add_rows(group, names)
        command.set_defaults(run=self.run)


def _add_rows(parser: _ActionsContainer, rows: tuple[str | tuple[Any, ...], ...]) -> None:
    """Add options; what is left out is None, or False of a flag."""
    for row in rows:
        flag, kind, unit, text, *rest = _of_loading(row) if isinstance(row, str) else row
        taken = {"action": "store_true"} if kind is bool else {"type": kind, "metavar": unit}
        for more in rest:
            taken |= {"dest": more} if isinstance(more, str) else more
        parser.add_argument(flag, help=text, **taken)


def _of_loading(name: str) -> tuple[Any, ...]:
    from intel_quantized_embeddings.options import LoadOptions

    option = next(one for one in dataclasses.fields(LoadOptions) if one.name == name)
    kind = bool if option.type == "bool" else int if "int" in str(option.type) else str
    flag = option.metadata["flag"] or f"--{name.replace('_', '-')}"
    return flag, kind, option.metadata["unit"], option.metadata["help"], name


def load_keywords(options: Namespace) -> dict[str, Any]:
    """The options of `Encoder.load` that were given."""
    from intel_quantized_embeddings.options import LoadKeywords

    return given(options, *LoadKeywords.__annotations__)


def given(options: Namespace, *names: str) -> dict[str, Any]:
    """Return the named options that were given; the others are left to their defaults."""
    found = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None and value is not False}
