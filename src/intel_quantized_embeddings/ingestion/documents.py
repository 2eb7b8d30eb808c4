"""Files -> documents: what each kind of file holds, and why a file could not be read."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from intel_quantized_embeddings.errors import MissingExtraError
from intel_quantized_embeddings.ingestion.jsonl import json_lines

Scalar = str | int | float | bool

# What HTML puts on lines of its own; all else runs on within a line.
_BLOCKS = (
    *("address", "article", "aside", "blockquote", "body", "dd", "details", "div", "dl", "dt", "figcaption", "footer"),
    *("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section"),
    *("summary", "table", "td", "th", "title", "tr", "ul"),
)
_NOT_TEXT = ("script", "style", "noscript", "template")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text with a place of its own: a file, a page of a PDF, or a line of a JSONL file.

    Attributes:
        text: All of it, as it will be split.
        source: The file's path.
        key: Its id within the file, empty where the file gives none.
        metadata: What is kept with each of its chunks.
    """

    text: str
    source: str
    key: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What could not be read, and why.

    Attributes:
        place: A file, a folder, or `file:line`.
        reason: For a person.
    """

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class UnreadableError(Exception):
    """A file, or a part of it, is not what its name says; never leaves this package."""


def read_file(file: Path) -> Iterator[Document | Problem]:
    """Read one file; what goes wrong comes as a problem, and what can be read still comes.

    Args:
        file: With an ending that `KINDS` has.

    Raises:
        MissingExtraError: What reads this kind is not installed.
    """
    try:
        yield from KINDS[file.suffix.lower()](file)
    except OSError as exc:
        yield Problem(place=str(file), reason=exc.strerror or str(exc))
    except UnreadableError as exc:
        yield Problem(place=str(file), reason=str(exc))


def decode(content: bytes) -> str:
    """UTF-8, with or without a byte order mark; line ends become those of Unix.

    Raises:
        UnreadableError: It is something else, which is not guessed at.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UnreadableError(
            f"not UTF-8: byte {content[exc.start]:#04x} at {exc.start:,}; `iconv -t UTF-8` converts it"
        ) from exc
    if "\0" in text:
        raise UnreadableError("not text: it has zero bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _text(file: Path) -> Iterator[Document]:
    yield Document(text=decode(file.read_bytes()), source=str(file), metadata={"source": str(file)})


def _html(file: Path) -> Iterator[Document]:
    """A page's text, in the encoding that it declares, UTF-8 where it declares none."""
    try:
        from bs4 import BeautifulSoup
        from bs4.dammit import EncodingDetector
    except ImportError as exc:
        raise MissingExtraError(package="bs4", extra="ingest", needed_for="reading HTML") from exc
    content = file.read_bytes()
    declared = EncodingDetector.find_declared_encoding(content, is_html=True)
    try:
        markup = content.decode(declared) if declared else decode(content)
    except (UnicodeDecodeError, LookupError) as exc:
        raise UnreadableError(f"not in the encoding {declared} that it declares: {exc}") from exc
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it suspects the page to be, which is nobody's to change here
        page = BeautifulSoup(markup, "html.parser")
    title = " ".join(page.title.get_text().split()) if page.title else ""
    for element in page(_NOT_TEXT):
        element.decompose()
    for element in page("br"):
        element.replace_with("\n")
    for element in page(_BLOCKS):
        element.insert_before("\n\n")
        element.insert_after("\n\n")
    lines = (" ".join(line.split()) for line in page.get_text().split("\n"))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    named = {"title": title} if title else {}
    yield Document(text=text, source=str(file), metadata={"source": str(file), **named})


def _pdf(file: Path) -> Iterator[Document | Problem]:
    """A document a page, so that an answer can name it."""
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError as exc:
        raise MissingExtraError(package="pypdf", extra="ingest", needed_for="reading PDF") from exc
    found = False
    try:
        reader = PdfReader(file)
        for number, page in enumerate(reader.pages, start=1):
            text = page.extract_text().encode("utf-8", "replace").decode()
            found = found or (not text.isspace() and bool(text))
            yield Document(text=text, source=str(file), metadata={"source": str(file), "page": number})
    except OSError:
        raise
    # pypdf raises plain errors of many kinds on what is no PDF inside.
    except (PyPdfError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as exc:
        raise UnreadableError(f"not a PDF that can be read: {type(exc).__name__}: {exc}") from exc
    except NotImplementedError as exc:
        raise UnreadableError(f"a PDF of a kind that can't be read: {exc}") from exc
    if not found:
        yield Problem(place=str(file), reason="a PDF without text; scanned pages want OCR first")


def _jsonl(file: Path) -> Iterator[Document | Problem]:
    for number, line in json_lines(file):
        if isinstance(line, str):
            yield Problem(place=f"{file}:{number}", reason=line)
        else:
            metadata = {"source": str(file), **line.metadata}
            yield Document(text=line.text, source=str(file), key=line.key, metadata=metadata)


# How each kind of file is read, by its ending.
KINDS: Mapping[str, Callable[[Path], Iterator[Document | Problem]]] = {
    **dict.fromkeys((".md", ".txt", ".rst", ".py"), _text),
    **dict.fromkeys((".html", ".htm"), _html),
    ".pdf": _pdf,
    ".jsonl": _jsonl,
}


def kind(file: str | os.PathLike[str]) -> str | None:
    """A file's ending if files of it are read, else None."""
    ending = Path(file).suffix.lower()
    return ending if ending in KINDS else None
