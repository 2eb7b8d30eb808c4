"""Check the names of files that a model's files list: they must be inside the folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from intel_quantized_embeddings.errors import DamagedFilesError


def path_inside(folder: Path, name: object, *, listed_in: Path) -> Path:
    """Return the file or folder, existing or not, of a relative path that a file of a model's folder lists.

    The hub's cache keeps the files of a snapshot and of its folders as links to the `blobs` beside its `snapshots`, so
    those are inside too. A name or a link that leads out of the folder is a DamagedFilesError.
    """
    if not isinstance(name, str):
        raise DamagedFilesError(f"{listed_in} lists {name!r}; the name of a file in the folder is expected.")
    parts = {*PurePosixPath(name).parts, *PureWindowsPath(name).parts}
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or ".." in parts:
        raise DamagedFilesError(f"{listed_in} lists {name!r}, which is outside the folder.")
    path = folder / name
    try:
        real, own = path.resolve(), folder.resolve()
        path.is_file()
    except (OSError, ValueError, RuntimeError) as exc:  # too long, a NUL, half of a surrogate pair, a ring of links
        raise DamagedFilesError(f"{listed_in} lists {name[:80]!r}, which can't be the name of a file.") from exc
    snapshots = [parent for parent in own.parents if parent.name == "snapshots"]
    if not any(real.is_relative_to(allowed) for allowed in (own, *(each.parent / "blobs" for each in snapshots))):
        raise DamagedFilesError(
            f"{path} is a link to {real}, outside the folder, and {listed_in.name} lists it. If you made that link, "
            f"put the file itself there."
        )
    return path
