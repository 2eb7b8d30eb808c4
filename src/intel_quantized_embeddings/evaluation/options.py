"""The options of `iqe evaluate`, checked before anything is encoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.options import Precision, RuntimeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command's options, as `iqe evaluate --help` explains them.

    Without `runtimes` models run on their folders' own. `against` is "fp32" or "bf16" for the first model in that
    precision, or the model that int8 folders were made from, if their manifests do not name it on the hub.

    Raises:
        OptionError: A value is not allowed.
    """

    models: tuple[str, ...]
    datasets: tuple[Path, ...]
    runtimes: tuple[str, ...] = ()
    precision: str = Precision.INT8.value
    against: str = Precision.FP32.value
    max_length: int | None = None
    revision: str | None = None
    cache_folder: str | None = None
    local_files_only: bool = False
    allow_torchscript: bool = False
    output: Path = Path("iqe-evaluation")

    def __post_init__(self) -> None:
        """Make the checks that need no model."""
        for runtime in self.runtimes:
            RuntimeName.parse(runtime)
        Precision.parse(self.precision)
        if self.against == Precision.INT8.value:
            raise OptionError("--against 'int8' is not allowed; it is 'fp32', 'bf16', or a model that runs in fp32.")
        if self.revision is not None and len(self.models) > 1:
            raise OptionError(
                f"--revision {self.revision!r} is of one model, and {len(self.models)} are given; give one at a time."
            )
        if self.precision == self.against:
            raise OptionError(
                f"--precision {self.precision!r} would be compared with itself; pass another precision to --against."
            )

    @property
    def where(self) -> dict[str, Any]:
        """The options of `Encoder.load` on the place of files, the same for every model."""
        return {"cache_folder": self.cache_folder, "local_files_only": self.local_files_only}
