"""Import Intel Extension for PyTorch: late, quietly, and with one error for each way it can go wrong."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from intel_quantized_embeddings.errors import MissingExtraError, QuantizedEmbeddingsError

_LOGGERS = ("torchao", "neural_compressor", "torch.utils.cpp_extension")

_INSTALL = "pip install 'intel-quantized-embeddings[ipex]'"


def import_ipex() -> None:
    """Import torch and Intel Extension for PyTorch.

    Raises:
        MissingExtraError: They are not installed.
        QuantizedEmbeddingsError: They are installed and don't work together.
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
        # On another torch than its own, it calls sys.exit.
        raise QuantizedEmbeddingsError(
            f"Intel Extension for PyTorch is installed and does not import: {type(exc).__name__}: "
            f"{' '.join(str(exc).split())}. Install the versions that work together: {_INSTALL}"
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
def quiet_torch() -> Iterator[None]:
    """Keep off the terminal what torch's and Intel's libraries say of overridden kernels, CUDA and their own age.

    They also configure the root logger and the class of loggers when imported; that is put back.
    """
    root = logging.getLogger()
    handlers, root_level, logger_class = list(root.handlers), root.level, logging.getLoggerClass()
    # IPEX's own must not be made here: it relies on being of its own class.
    known = (*_LOGGERS, *(("IPEX",) if "IPEX" in logging.Logger.manager.loggerDict else ()))
    loggers = [logging.getLogger(name) for name in known]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        # Read once, when torch's C++ library or Neural Compressor is loaded.
        with _environment(TORCH_CPP_LOG_LEVEL="ERROR", LOGLEVEL="ERROR"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        root.handlers[:], root.level = handlers, root_level
        logging.setLoggerClass(logger_class)


@contextmanager
def _no_compile_workers() -> Iterator[None]:
    """Import without torch's compiler starting a process of several hundred MB for each core, which nothing here uses.

    It starts them when it is imported, as IPEX does. The setting is put back for a host that compiles, which then gets
    its workers when it first does.
    """
    if "torch._inductor.config" in sys.modules or "TORCHINDUCTOR_COMPILE_THREADS" in os.environ:
        yield
        return
    with _environment(TORCHINDUCTOR_COMPILE_THREADS="1"):
        yield
    config: Any = sys.modules.get("torch._inductor.config")
    if config is not None:
        config.compile_threads = config.decide_compile_threads()


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
