"""SOURCEs -> files, each once and under one name; and the places whose missing files count as gone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion.documents import KINDS, kind
from intel_quantized_embeddings.ingestion.problems import Problem
from intel_quantized_embeddings.options import require_path
from intel_quantized_embeddings.texts import is_utf8


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFiles:
    """The files to read.

    Attributes:
        roots: The SOURCEs as absolute paths, links resolved.
        files: The files, sorted; a file that several links or SOURCEs lead to comes once.
        passed_over: Files of other kinds in folders, and pipes, sockets and devices.
        problems: Folders that can't be listed, and names that are not UTF-8.
        unlisted: The paths of folders that can't be listed.
    """

    roots: tuple[Path, ...]
    files: tuple[Path, ...]
    passed_over: int
    problems: tuple[Problem, ...]
    unlisted: tuple[str, ...]


def find_files(sources: Iterable[str | os.PathLike[str]]) -> FoundFiles:
    """List the files of folders and take files as they are.

    Hidden files and folders are left out, and links to folders are not followed.

    Raises:
        OptionError: No source is given, a source does not exist, or a file is of another kind.
    """
    listed = list(sources)
    for source in listed:
        if not isinstance(source, (str, os.PathLike)):
            raise OptionError(f"a SOURCE is {source!r}; a file or a folder is expected.")
        require_path("SOURCE", source)
    roots = tuple(sorted({_root(source) for source in listed}))
    if not roots:
        raise OptionError("no SOURCE was given; a file or a folder is needed.")
    names: dict[str, Path] = {}
    problems: list[Problem] = []
    unlisted: dict[Path, OSError] = {}
    passed_over: set[Path] = set()
    candidates = sorted({file for root in roots for file in _listed(root, unlisted)})
    # A file comes before links to it, so that a link made later does not rename it.
    for file in sorted(candidates, key=lambda file: (os.path.islink(file), file)):
        if not is_utf8(str(file)):
            problems.append(Problem(place=ascii(str(file)), reason="its name is not UTF-8"))
        elif kind(file) is None or _is_special(file):
            passed_over.add(file)
        else:
            names.setdefault(_real(file), file)
    return FoundFiles(
        roots=roots,
        files=tuple(sorted(names.values())),
        passed_over=len(passed_over),
        problems=(*(Problem.of(folder, exc) for folder, exc in unlisted.items()), *problems),
        unlisted=tuple(map(str, unlisted)),
    )


class Places:
    """Files and folders, as absolute paths, that cover others."""

    def __init__(self, places: Iterable[str]) -> None:
        self._places = {PurePath(place) for place in places}

    def cover(self, source: str) -> bool:
        """Return whether a file, by its absolute path, is one of these places or is in one."""
        path = PurePath(source)
        return path in self._places or any(folder in self._places for folder in path.parents)


def _root(source: str | os.PathLike[str]) -> Path:
    try:
        path = Path(source).expanduser()
        mode = path.stat().st_mode
    except FileNotFoundError as exc:
        raise OptionError(f"there is no {os.fspath(source)!r} (looked for {path.absolute()}).") from exc
    except (OSError, ValueError, RuntimeError) as exc:  # RuntimeError: ~name of an unknown user
        raise OptionError(f"{os.fspath(source)!r} can't be looked at: {exc}") from exc
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OptionError(f"{os.fspath(source)!r} is a pipe, a socket or a device; a SOURCE is a file or a folder.")
    if stat.S_ISREG(mode) and kind(path) is None:
        raise OptionError(f"{os.fspath(source)!r} is of no kind that is read; those end in {', '.join(KINDS)}.")
    # The file itself may be a link to a name without an ending, as in the hub's cache or git-annex.
    return Path(os.path.realpath(path.parent), path.name) if stat.S_ISREG(mode) else Path(os.path.realpath(path))


def _listed(root: Path, unlisted: dict[Path, OSError]) -> Iterator[Path]:
    """List the files under a folder at any depth, or a file itself. Folders that can't be listed go into `unlisted`."""
    if not os.path.isdir(root):
        yield root
        return
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                inside = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as exc:
            unlisted[folder] = exc
            continue
        for entry in inside:
            path = folder / entry.name
            if _is_folder(entry):
                folders.append(path)
            elif not os.path.isdir(path):  # a link to a folder
                yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_special(file: Path) -> bool:
    """Return whether a path is not a regular file; a dangling link counts as one, and is reported when it is read."""
    try:
        return not stat.S_ISREG(os.stat(file).st_mode)
    except OSError:
        return False


def _real(file: Path) -> str:
    try:
        return os.path.realpath(file)
    except OSError:  # removed meanwhile, which is reported when it is read
        return str(file)
