"""Import Intel Extension for PyTorch: late, quietly, and with one error for each kind of failure."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from intel_quantized_embeddings.errors import MissingExtraError, QuantizedEmbeddingsError, one_line
from intel_quantized_embeddings.process.quiet import environment, quiet_torch

_INSTALL = "pip install 'intel-quantized-embeddings[ipex]'"


def import_ipex() -> None:
    """Import torch and Intel Extension for PyTorch.

    Raises:
        MissingExtraError: They are not installed.
        QuantizedEmbeddingsError: The installed versions don't work together.
    """
    if "intel_extension_for_pytorch" in sys.modules:
        return
    for package in ("torch", "intel_extension_for_pytorch"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package=package, extra="ipex", needed_for="runtime='ipex'")
    _check_versions()
    try:
        with quiet_torch(), _no_compile_workers():
            import intel_extension_for_pytorch  # noqa: F401
    except (ImportError, OSError, RuntimeError, AttributeError, SystemExit) as exc:
        # With another torch than its own, it calls sys.exit.
        raise QuantizedEmbeddingsError(
            f"Intel Extension for PyTorch is installed and does not import: {type(exc).__name__}: "
            f"{one_line(exc)}. Install the versions that work together: {_INSTALL}"
        ) from exc


def _check_versions() -> None:
    try:
        torch, ipex = version("torch"), version("intel-extension-for-pytorch")
    except PackageNotFoundError:  # built from source without metadata: its own check follows
        return
    if torch.split(".")[:2] != ipex.split(".")[:2]:
        raise QuantizedEmbeddingsError(
            f"torch {torch} is installed, and Intel Extension for PyTorch {ipex} works with torch "
            f"{'.'.join(ipex.split('.')[:2])} only. Install the versions that work together: {_INSTALL}"
        )


@contextmanager
def _no_compile_workers() -> Iterator[None]:
    """Keep torch's compiler from starting a process of several hundred MB for each core, which nothing here uses.

    It starts them when it is imported, which IPEX does. The setting is restored afterwards, so that a host that
    compiles gets its workers at the first use.
    """
    if "torch._inductor.config" in sys.modules or "TORCHINDUCTOR_COMPILE_THREADS" in os.environ:
        yield
        return
    with environment(TORCHINDUCTOR_COMPILE_THREADS="1"):
        yield
    config: Any = sys.modules.get("torch._inductor.config")
    if config is not None:
        config.compile_threads = config.decide_compile_threads()
