"""Write a folder whole or not at all."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from intel_quantized_embeddings.errors import OptionError, QuantizedEmbeddingsError
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.options import require_bool, require_path

_PARTIAL = ".partial"

# Files by which a folder is known as this package's; only such folders are overwritten. Others have a manifest.json,
# too: it must have the key that ours has in every version. That of a Router is in the folders of its routes.
_EXPORTED = "openvino/openvino_model.xml"
_DESCRIPTIONS = ("manifest.json", "setfit.json")
_OWN_KEY = "format_version"
_ROUTER = "router_config.json"


def output_folder(output_dir: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the path of a folder to write, after checking, before any work, that it may be written there."""
    require_bool("overwrite", overwrite)
    if not isinstance(output_dir, (str, os.PathLike)):
        raise OptionError(f"output_dir={output_dir!r} is not allowed; it is the path of the folder to write.")
    require_path("output_dir", output_dir)
    try:
        output = Path(output_dir).expanduser().resolve()
        output.exists()
    except (OSError, ValueError, RuntimeError) as exc:  # too long, a NUL, ~name of nobody, a folder of another user
        raise OptionError(f"output_dir={os.fspath(output_dir)[:200]!r} can't be looked at: {exc}") from exc
    _require_place(output)
    refuse_existing(output, overwrite=overwrite)
    return output


def _require_place(output: Path) -> None:
    """Check that a folder can be made: what is there of the path above it is a folder that may be written."""
    above = next((parent for parent in output.parents if parent.exists()), output)
    if not above.is_dir():
        raise OptionError(f"output_dir={str(output)!r} can't be a folder: {above} is a file. Choose another place.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise OptionError(
            f"output_dir={str(output)!r} can't be made: this process may not write in {above}. Choose another place."
        )


def refuse_existing(output: Path, *, overwrite: bool, source: Path | None = None) -> None:
    """Check that `output` may be written, before any work and again before the result is moved there.

    A missing or empty folder is allowed, one that this package wrote with `overwrite`, the source never.

    Raises:
        OptionError: `output` exists and may not be replaced.
    """
    if source is not None and (source.resolve() == output or output in source.resolve().parents):
        raise OptionError(f"{output} is or holds the source model; choose another folder.")
    if os.path.ismount(output):
        raise OptionError(f"{output} is where another file system is mounted; choose a folder inside it.")
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not overwrite:
        raise OptionError(
            f"{output} exists. Choose another folder, or pass overwrite=True (--overwrite) to replace it."
        )
    if not _is_ours(output):
        raise OptionError(f"{output} exists and is not a model folder that was written here; choose another folder.")


def _is_ours(folder: Path) -> bool:
    """Return whether this package wrote a folder; of one whose description can't be read that is not known."""
    described = [folder / name for name in _DESCRIPTIONS]
    if (folder / _ROUTER).is_file():
        described += folder.glob(f"*/{_DESCRIPTIONS[0]}")
    with suppress(QuantizedEmbeddingsError):
        return (folder / _EXPORTED).is_file() or any(_OWN_KEY in read_json(file) for file in described)
    return False


@contextmanager
def atomic_folder(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder that becomes `output` when the block ends well, and vanishes otherwise.

    It lies beside `output`, so that renaming it is one step of the file system, and its process holds a lock on it: the
    next process removes the folder of a killed one.

    Raises:
        OptionError: Meanwhile something was written to `output` that may not be replaced.
    """
    from filelock import FileLock

    output.parent.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(output)
    temporary = output.with_name(f".{output.name}.{secrets.token_hex(4)}{_PARTIAL}")
    lock = Path(f"{temporary}.lock")
    lock.touch()  # which fails at once where nothing can be written; the lock may wait for ever
    with FileLock(lock):
        temporary.mkdir(mode=0o700)
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            refuse_existing(output, overwrite=overwrite)
            if output.exists() and any(output.iterdir()):
                _replace(output, temporary)
            else:
                temporary.rename(output)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _clear_abandoned(output: Path) -> None:
    """Remove the temporary folders for `output` that no process has a lock on.

    A folder that was being replaced when its process was killed is put back if nothing took its place.
    """
    from filelock import FileLock, Timeout

    for lock in output.parent.glob(f".{glob.escape(output.name)}.????????{_PARTIAL}.lock"):
        temporary = lock.with_suffix("")
        try:
            with FileLock(lock, blocking=False):
                shutil.rmtree(temporary, ignore_errors=True)
                old = _old(temporary)
                if old.is_dir() and not output.exists():
                    old.rename(output)
                shutil.rmtree(old, ignore_errors=True)
                lock.unlink(missing_ok=True)
        except (Timeout, OSError):
            continue  # of a process at work, or of another user


def _replace(output: Path, temporary: Path) -> None:
    """Put a folder in another's place; if that fails, the other is put back."""
    old = _old(temporary)
    output.rename(old)
    try:
        temporary.rename(output)
    except OSError:
        old.rename(output)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _old(temporary: Path) -> Path:
    """Return the path where a folder waits while it is being replaced."""
    return temporary.with_name(temporary.name + ".old")


def _umask() -> int:
    """Return the process's umask: mkdtemp's 0700 is too strict to keep.

    Linux shows it. Other systems show it only by setting another one, which files of other threads get for a moment.
    """
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
        return int(next(line for line in status.splitlines() if line.startswith("Umask:")).split()[1], base=8)
    except (OSError, StopIteration, ValueError, IndexError):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask
