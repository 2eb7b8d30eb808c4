"""Keep torch and its extensions from writing to the user's terminal and changing the process's logging."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("torchao", "neural_compressor", "torch.utils.cpp_extension")


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Keep messages of torch's and Intel's libraries (overridden kernels, CUDA, deprecations) off the terminal.

    These libraries also configure the root logger and the class of loggers when imported; that is restored.
    """
    root = logging.getLogger()
    handlers, root_level, logger_class = list(root.handlers), root.level, logging.getLoggerClass()
    # IPEX's logger must not be made here: IPEX relies on its own class.
    known = (*_LOGGERS, *(("IPEX",) if "IPEX" in logging.Logger.manager.loggerDict else ()))
    loggers = [logging.getLogger(name) for name in known]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        # Read once, when torch's C++ library or Neural Compressor is loaded.
        with environment(TORCH_CPP_LOG_LEVEL="ERROR", LOGLEVEL="ERROR"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        root.handlers[:], root.level = handlers, root_level
        logging.setLoggerClass(logger_class)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
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
