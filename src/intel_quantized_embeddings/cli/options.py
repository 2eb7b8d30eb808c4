"""Options that several `iqe` commands share."""

from __future__ import annotations

import dataclasses
from argparse import Namespace, _ActionsContainer
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Options that other jobs take too: overrides of the model's folder, and the place of its files.
SETTINGS = ("pooling", "max_length", "query_instruction", "document_instruction")
HUB = ("revision", "cache_folder", "local_files_only")


@dataclass(frozen=True)
class Command:
    """A command of `iqe`.

    Attributes:
        run: Its function, which takes the options and returns the exit status, None for 0.
        rows: Its options, in order. A row is a flag, a type (bool for a flag without a value), a unit, the help, and
            perhaps another name or further arguments for argparse; or the name of an option of `Encoder.load`.
        loads: Whether it has all the options of `Encoder.load` too, but for the model; `load_keywords` returns them.
    """

    name: str
    run: Callable[[Namespace], int | None]
    help: str
    rows: tuple[str | tuple[Any, ...], ...]
    description: str | None = None
    epilog: str | None = None
    loads: bool = False

    def add_to(self, commands: Any) -> None:
        """Add the command to argparse's subparsers."""
        command = commands.add_parser(self.name, help=self.help, description=self.description, epilog=self.epilog)
        _add_rows(command, self.rows)
        if self.loads:
            group = command.add_argument_group("the model", "as for Encoder.load; what its folder says when left out")
            names = ("runtime", "precision", "num_threads", *SETTINGS, "truncate_dim", "allow_torchscript", *HUB)
            _add_rows(group, names)
        command.set_defaults(run=self.run)


def _add_rows(parser: _ActionsContainer, rows: tuple[str | tuple[Any, ...], ...]) -> None:
    """Add options; an option that is not given is None, a flag False."""
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
    """Return the options of `Encoder.load` that were given."""
    from intel_quantized_embeddings.options import LoadKeywords

    return given(options, *LoadKeywords.__annotations__)


def given(options: Namespace, *names: str) -> dict[str, Any]:
    """Return the named options that were given; the others keep their defaults."""
    found = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None and value is not False}
