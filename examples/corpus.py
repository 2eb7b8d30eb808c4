"""Texts for the examples: docstrings of Python's standard library's everyday modules, or a folder of your own.

Nothing is imported or run to read docstrings, only parsed. The same files always give the same
entries, in the same order and with the same ids.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

PROSE = (".md", ".txt", ".rst")
FEWEST_WORDS = 3
# One piece of prose: about what a small model reads before it cuts (256 tokens).
PIECE_CHARACTERS, OVERLAP_CHARACTERS = 1000, 100

_NOT_DOCUMENTATION = {
    *("site-packages", "dist-packages", "node_modules", "__pycache__"),
    *("test", "tests"),
}

# Of the standard library: its public modules of one file, and of its packages these, so that a first run is done in
# seconds. What Debian packs apart, such as tkinter, is left out with the others.
_PACKAGES = ("asyncio", "collections", "concurrent", "json", "re")
_APART = ("turtle",)

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A text to be searched.

    Attributes:
        id: A hash of the source and the text: a changed text is another entry.
        text: The docstring, or a piece of the file.
        source: "json.decoder.JSONDecoder" for a docstring, "guide/start.md" for a file.
    """

    id: str
    text: str
    source: str

    @property
    def titled(self) -> str:
        """The text under its source: a one-line docstring is found far better with its name."""
        return f"{self.source}\n\n{self.text}"


def read_corpus(docs: Path | None = None) -> list[Entry]:
    """Read a folder of .md, .txt, .rst and .py files; the standard library's docstrings when None."""
    return _unique(_standard_library() if docs is None else _documents(docs))


def standard_library_entries(data: Path) -> list[Entry]:
    """Read the standard library's docstrings; parsing takes seconds, so the first call leaves them in a folder."""
    kept = data / f"everyday-docstrings-{platform.python_version()}.json"
    if kept.is_file():
        return [Entry(**entry) for entry in json.loads(kept.read_text("utf-8"))]
    entries = read_corpus()
    data.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_text(json.dumps([asdict(entry) for entry in entries]), "utf-8")
    part.replace(kept)  # whole or not at all
    return entries


def _standard_library() -> Iterator[tuple[str, str]]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    modules = [file for file in sorted(folder.glob("[!_]*.py")) if file.stem not in _APART]
    packages = (_files(folder / name, (".py",)) for name in _PACKAGES)
    yield from _docstrings(folder, chain(modules, *packages))


def _documents(folder: Path) -> Iterator[tuple[str, str]]:
    """Every docstring of a folder's .py files, then its prose in pieces."""
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(chunk_size=PIECE_CHARACTERS, chunk_overlap=OVERLAP_CHARACTERS)
    yield from _docstrings(folder, _files(folder, (".py",)))
    for file in _files(folder, PROSE):
        for piece in splitter.split_text(file.read_text("utf-8", errors="replace")):
            yield file.relative_to(folder).as_posix(), piece


def _docstrings(folder: Path, files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """The docstrings of modules, public classes and public functions, with their dotted names."""
    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # their escapes are not ours to judge
                tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):  # not this version's Python; nothing to document
            continue
        parts = file.relative_to(folder).with_suffix("").parts
        yield from _in_tree(tree, ".".join(part for part in parts if part != "__init__") or folder.name)


def _in_tree(node: _Documented, name: str) -> Iterator[tuple[str, str]]:
    docstring = ast.get_docstring(node)
    if docstring and len(docstring.split()) >= FEWEST_WORDS:
        yield name, docstring
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return  # what is inside a function is its own business
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield from _in_tree(child, f"{name}.{child.name}")


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files with these endings, sorted; hidden ones, tests and installed packages left out."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NOT_DOCUMENTATION and not name.startswith(".")]
        found += [Path(place, name) for name in names if name.endswith(endings) and not name.startswith(".")]
    return sorted(file for file in found if file.is_file())


def _unique(texts: Iterable[tuple[str, str]]) -> list[Entry]:
    """One entry a text: the first source of it counts."""
    sources: dict[str, str] = {}
    for source, text in texts:
        sources.setdefault(text, source)
    return [
        Entry(id=hashlib.sha256(f"{source}\n{text}".encode()).hexdigest()[:32], text=text, source=source)
        for text, source in sources.items()
    ]
