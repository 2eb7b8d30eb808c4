"""`python -m bench [MODEL]`: what `iqe benchmark` measures, and other people's libraries where they are installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from bench.systems import SYSTEMS
from intel_quantized_embeddings.cli import parser, run_command
from intel_quantized_embeddings.cli.jobs import run_benchmark


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the options and the status are those of `iqe benchmark`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(["benchmark", *given])
    options.run = partial(run_benchmark, systems=SYSTEMS, command=["python", "-m", "bench", *given])
    return run_command(options)


if __name__ == "__main__":
    sys.exit(main())
