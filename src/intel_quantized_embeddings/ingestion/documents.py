"""Files -> documents: a reader for each kind of file, and problems of files that can't be read."""

from __future__ import annotations

import codecs
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from intel_quantized_embeddings.errors import needs
from intel_quantized_embeddings.ingestion.jsonl import read_jsonl
from intel_quantized_embeddings.ingestion.opened_files import open_whole_file, read_bytes
from intel_quantized_embeddings.ingestion.places import Document
from intel_quantized_embeddings.ingestion.problems import Problem, UnreadableError

# Elements that HTML puts on lines of their own; all others run on within a line.
_BLOCKS = (
    *("address", "article", "aside", "blockquote", "body", "dd", "details", "div", "dl", "dt", "figcaption", "footer"),
    *("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section"),
    *("summary", "table", "td", "th", "title", "tr", "ul"),
)
_NOT_TEXT = ("script", "style", "noscript", "template")
# Encodings that Python knows and no page is written in.
_NOT_OF_PAGES = ("idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape")
# Browsers read pages that declare Latin-1 or ASCII as Windows-1252, with Latin-1 for bytes that it lacks.
_WINDOWS_1252 = {code: bytes([code]).decode("cp1252", "ignore") or chr(code) for code in range(0x80, 0xA0)}
_SURROGATES = re.compile("[\ud800-\udfff]")


def read_file(file: Path) -> Iterator[Document | Problem]:
    """Read one file of a kind in `KINDS`; yield documents, and a problem for an error.

    Raises:
        MissingExtraError: The library that reads this kind is not installed.
    """
    found: list[Document | Problem] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of readers about the file, which the user can't change
            for item in KINDS[file.suffix.lower()](file):
                found.append(_storable(item) if isinstance(item, Document) else item)
    except BaseException as exc:  # noqa: BLE001 - `Problem.of` raises what is not the file's
        found.append(Problem.of(file, exc))
    return iter(found)


def _storable(document: Document) -> Document:
    """Remove halves of surrogate pairs from a document: PDF and HTML can spell them, encodings of Unicode can't."""
    texts = (document.text, *(value for value in document.metadata.values() if isinstance(value, str)))
    if not any(map(_SURROGATES.search, texts)):
        return document
    metadata = {
        name: _SURROGATES.sub("\ufffd", value) if isinstance(value, str) else value
        for name, value in document.metadata.items()
    }
    return replace(document, text=_SURROGATES.sub("\ufffd", document.text), metadata=metadata)


def decode(content: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark, with line ends as on Unix; other encodings are not guessed."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UnreadableError(
            f"not UTF-8: byte {content[exc.start]:#04x} at {exc.start:,}; `iconv -t UTF-8` converts it"
        ) from exc
    return _plain(text)


def _plain(text: str) -> str:
    if "\0" in text:
        raise UnreadableError("not text: it has zero bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _text(file: Path) -> Iterator[Document]:
    yield Document(text=decode(read_bytes(file)), source=str(file), metadata={"source": str(file)})


def _html(file: Path) -> Iterator[Document]:
    """Return a page's text, in the encoding of its byte order mark or declaration, else in UTF-8."""
    with needs("bs4", extra="ingest", needed_for="reading HTML"):
        from bs4 import BeautifulSoup
        from bs4.builder import ParserRejectedMarkup
        from bs4.dammit import EncodingDetector
    content = read_bytes(file)
    markup = _decode_page(content, declared=EncodingDetector.find_declared_encoding(content, is_html=True))
    try:
        page = BeautifulSoup(markup, "html.parser")
    except (ParserRejectedMarkup, AssertionError):
        page = BeautifulSoup(_without_declarations(markup), "html.parser")
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


def _decode_page(content: bytes, *, declared: str | None) -> str:
    """Decode as browsers do (the WHATWG's Encoding and HTML standards)."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return _plain(content.decode("utf-16"))
        except UnicodeError as exc:
            raise UnreadableError(f"not in UTF-16, which its byte order mark says: {exc}") from exc
    if declared is None or content.startswith(codecs.BOM_UTF8):
        return decode(content)
    try:
        name = codecs.lookup(declared).name.replace("-", "_")
        if name in _NOT_OF_PAGES:
            raise LookupError("no page is written in it")
        if name.startswith(("utf_16", "utf_32")):  # a readable declaration is in neither of these
            return decode(content)
        if name in ("iso8859_1", "ascii"):
            return _plain(content.decode("latin-1").translate(_WINDOWS_1252))
        return _plain(content.decode(declared))
    except (UnicodeError, LookupError) as exc:
        raise UnreadableError(f"not in the encoding {declared} that it declares: {exc}") from exc


def _without_declarations(markup: str) -> str:
    """Remove declarations, marked sections and internal subsets, which browsers ignore.

    Python's parser may reject them. The time is linear in the text: the end of a section is searched only if it is
    known to come.
    """
    last_end, last_bracket, last_comment = markup.rfind(">"), markup.rfind("]"), markup.rfind("-->")
    kept, place = [], 0
    while 0 <= (start := markup.find("<!", place)) < last_end:
        if markup.startswith("<!--", start):
            # A section without an end is left to the parser.
            end = markup.find("-->", start + 2) + 3 if start < last_comment else start + 4
            kept.append(markup[place:end])
            place = end
            continue
        end = markup.find(">", start)
        bracket = markup.find("[", start, end)
        if 0 <= bracket < last_bracket and (closes := markup.find("]", bracket)) < last_end:
            end = markup.find(">", closes)
        kept += [markup[place:start], " "]
        place = end + 1
    return "".join([*kept, markup[place:]])


def _pdf(file: Path) -> Iterator[Document | Problem]:
    """Return a document for each page, so that an answer can name it; encrypted files must open without a password."""
    with needs("pypdf", extra="ingest", needed_for="reading PDF"):
        from pypdf import PdfReader
        from pypdf.errors import DependencyError, FileNotDecryptedError
    found = False
    with open_whole_file(file) as opened:
        try:
            reader = PdfReader(opened)
            pages = len(reader.pages)
        except FileNotDecryptedError as exc:
            raise UnreadableError("an encrypted PDF that asks for a password; write it again without one") from exc
        except DependencyError as exc:
            raise UnreadableError(f"an encrypted PDF, to which a package is missing: {exc}") from exc
        # pypdf raises errors of many kinds for a damaged PDF.
        except Exception as exc:
            raise UnreadableError(f"not a PDF that can be read: {Problem.of(file, exc).reason}") from exc
        broken: dict[str, list[int]] = {}
        for number in range(1, pages + 1):
            try:
                text = reader.pages[number - 1].extract_text()
            except BaseException as exc:  # noqa: BLE001 - `Problem.of` raises what is not the page's
                broken.setdefault(Problem.of(file, exc).reason, []).append(number)
                continue
            found = found or (not text.isspace() and bool(text))
            yield Document(text=text, source=str(file), metadata={"source": str(file), "page": number})
    for reason, numbers in broken.items():
        yield Problem(place=str(file), reason=f"{_listed(numbers)} can't be read: {reason}")
    if not found and not broken:
        yield Problem(place=str(file), reason="a PDF without text; scanned pages need OCR first")


def _listed(pages: list[int]) -> str:
    few = ", ".join(map(str, pages[:5])) + (f" and {len(pages) - 5} more" if len(pages) > 5 else "")
    return f"page{'s' if len(pages) > 1 else ''} {few}"


# By ending, the reader of a kind of file.
KINDS: Mapping[str, Callable[[Path], Iterator[Document | Problem]]] = {
    **dict.fromkeys((".md", ".txt", ".rst", ".py"), _text),
    **dict.fromkeys((".html", ".htm"), _html),
    ".pdf": _pdf,
    ".jsonl": read_jsonl,
}


def kind(file: str | os.PathLike[str]) -> str | None:
    """Return a file's ending if such files are read, else None."""
    ending = Path(file).suffix.lower()
    return ending if ending in KINDS else None
