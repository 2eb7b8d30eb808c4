"""SOURCEs -> files, each once and under one name; and which stored texts a run answers for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion.documents import KINDS, Problem, kind


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFiles:
    """What there is to read.

    Attributes:
        roots: The SOURCEs as absolute paths, links resolved; a run answers for what is under them.
        files: Sorted; a file that several links or SOURCEs lead to comes once.
        passed_over: Files of other kinds, in folders.
        problems: Folders that can't be listed.
    """

    roots: tuple[Path, ...]
    files: tuple[Path, ...]
    passed_over: int
    problems: tuple[Problem, ...]


def find_files(sources: Iterable[str | os.PathLike[str]]) -> FoundFiles:
    """List the files of folders and take files as they are.

    Hidden files and folders are left out, and links to folders are not followed.

    Args:
        sources: Files and folders.

    Raises:
        OptionError: There is none, one is not there, or a file is of another kind.
    """
    roots = tuple(sorted({_root(source) for source in sources}))
    if not roots:
        raise OptionError("no SOURCE was given; a file or a folder is needed.")
    names: dict[Path, Path] = {}
    problems: list[Problem] = []
    passed_over: set[Path] = set()
    candidates = sorted({file for root in roots for file in _listed(root, problems)})
    # A file itself before links to it, so that a link made later does not rename it.
    for file in sorted(candidates, key=lambda file: (file.is_symlink(), file)):
        if kind(file) is None:
            passed_over.add(file)
        else:
            names.setdefault(Path(os.path.realpath(file)), file)
    return FoundFiles(
        roots=roots,
        files=tuple(sorted(names.values())),
        passed_over=len(passed_over),
        problems=tuple(dict.fromkeys(problems)),
    )


def covers(places: Sequence[str], source: str) -> bool:
    """Whether a file is one of these places or lies in one.

    Args:
        places: Absolute paths.
        source: An absolute path.
    """
    return any(source == place or source.startswith(place.rstrip("/") + "/") for place in places)


def _root(source: str | os.PathLike[str]) -> Path:
    path = Path(source).expanduser()
    if not path.exists():
        raise OptionError(f"there is no {os.fspath(source)!r} (looked for {path.absolute()}).")
    if path.is_file() and kind(path) is None:
        raise OptionError(f"{os.fspath(source)!r} is of no kind that is read; those end in {', '.join(KINDS)}.")
    return Path(os.path.realpath(path))


def _listed(root: Path, problems: list[Problem]) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return

    def unlisted(error: OSError) -> None:
        problems.append(Problem(place=str(error.filename), reason=error.strerror or str(error)))

    for folder, inner, names in os.walk(root, onerror=unlisted):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for file in (Path(folder, name) for name in names if not name.startswith(".")):
            if not _is_utf8(str(file)):
                problems.append(Problem(place=ascii(str(file)), reason="its name is not UTF-8"))
            elif file.is_file() or not file.exists():  # a link that leads nowhere is told when it is read
                yield file


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
