"""The errors that this package raises.

    QuantizedEmbeddingsError
    ├── MissingExtraError         (ImportError)        an optional dependency is not installed
    ├── ModelFilesError           (FileNotFoundError)  a model or one of its files is not there, or not reachable
    ├── DamagedFilesError         (ValueError)         a file is there and is not what it should be
    ├── UnsupportedModelError     (ValueError)         the files are sound, and this package can't run them
    ├── OptionError               (ValueError)         an argument has a value that is not allowed
    ├── InvalidTextError          (TypeError)          something in the input is not text
    ├── HubUploadError            (OSError)            the hub did not take a folder, or could not be reached
    ├── EndpointError             (OSError)            a server of vectors can't be reached, or gives none
    ├── OtherEncoderError         (ValueError)         a collection holds the vectors of another encoder
    ├── VectorStoreError          (OSError)            a vector store can't be reached, read or written
    ├── QuantizationError         (RuntimeError)       making an int8 model failed
    └── ForkedProcessError        (RuntimeError)       a process was forked while a thread held what it needs

Each also inherits the builtin a caller would reach for, so `except ImportError` and
`except ValueError` keep working. Foreign errors are mapped where they enter (the hub in
`models/hub_client.py` and `int8_folder/push.py`, a runtime in its own module, a server of vectors in
`comparing/endpoint.py`, Chroma in `integrations/chroma_collections.py` and `ingestion/chroma_store.py`, LangChain's
stores in `ingestion/vector_store_calls.py`) and always chained.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class QuantizedEmbeddingsError(Exception):
    """Base of every error this package raises on purpose."""


class MissingExtraError(QuantizedEmbeddingsError, ImportError):
    """An optional dependency is needed and not installed.

    Attributes:
        package: The import name that was not found.
        extra: The extra of this distribution that brings it.
        name: The module whose import failed, where it is known: `package`, or one that `package` imports.
    """

    def __init__(self, *, package: str, extra: str, needed_for: str, name: str | None = None) -> None:
        super().__init__(
            f"{needed_for} needs {package!r}, which is not installed. "
            f"Install it with: pip install 'intel-quantized-embeddings[{extra}]'"
        )
        self.package = package
        self.extra = extra
        self.name = name

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_missing_extra, (self.package, self.extra, str(self)))


def one_line(error: BaseException) -> str:
    """Return an error's message without line breaks."""
    return " ".join(str(error).split())


@contextmanager
def needs(package: str, *, extra: str, needed_for: str, may_be_too_old: bool = False) -> Iterator[None]:
    """Import optional libraries inside the `with` block; a MissingExtraError names the extra that brings them.

    `needed_for` names the caller in the message. With `may_be_too_old` an AttributeError means that the installed
    version is too old.
    """
    try:
        yield
    except (ImportError, AttributeError) as exc:
        if isinstance(exc, AttributeError) and not may_be_too_old:
            raise
        name = exc.name if isinstance(exc, ImportError) else None
        raise MissingExtraError(package=package, extra=extra, needed_for=needed_for, name=name) from exc


class ModelFilesError(QuantizedEmbeddingsError, FileNotFoundError):
    """A model, a revision of it, or one of its files can't be found or reached."""


class DamagedFilesError(QuantizedEmbeddingsError, ValueError):
    """A file exists and can't be what it claims: unreadable, truncated, or its hash differs."""


class UnsupportedModelError(QuantizedEmbeddingsError, ValueError):
    """A sound model that this package does not run: architecture, pooling or module."""


class OptionError(QuantizedEmbeddingsError, ValueError):
    """An option has a value that is not allowed, or two options contradict each other."""


class InvalidTextError(QuantizedEmbeddingsError, TypeError):
    """An input that is not text: not a string, or one that has no UTF-8 form, or of which no token is made."""


class HubUploadError(QuantizedEmbeddingsError, OSError):
    """A folder could not be uploaded: no token, no permission, no connection, or refused by the hub."""


class EndpointError(QuantizedEmbeddingsError, OSError):
    """A server that should speak OpenAI's /v1/embeddings can't be reached, refuses, or answers with something else."""


class OtherEncoderError(QuantizedEmbeddingsError, ValueError):
    """A collection was filled by another encoder, or does not say by which: vectors would not compare."""


class VectorStoreError(QuantizedEmbeddingsError, OSError):
    """A vector store could not be reached, read or written: gone, full, in use, or not what it should be."""


class QuantizationError(QuantizedEmbeddingsError, RuntimeError):
    """Making an int8 model failed; no folder was left behind."""


class ForkedProcessError(QuantizedEmbeddingsError, RuntimeError):
    """A process was forked while another thread was in the middle of what this one needs, and would wait for ever."""


def _rebuild_missing_extra(package: str, extra: str, message: str) -> MissingExtraError:
    """Unpickle a MissingExtraError with the message it had."""
    error = MissingExtraError.__new__(MissingExtraError)
    error.package, error.extra, error.args = package, extra, (message,)
    return error
