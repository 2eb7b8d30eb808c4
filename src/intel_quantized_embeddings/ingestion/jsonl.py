"""JSONL files: a document in each line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from intel_quantized_embeddings.ingestion.opened_files import open_file
from intel_quantized_embeddings.ingestion.places import Document, Scalar
from intel_quantized_embeddings.ingestion.problems import Problem, printable

# Prefixes of keys that `iqe ingest` and Chroma use themselves.
RESERVED = ("iqe_", "chroma:", "#", "$")
_LARGEST = 2**63
# With some thousands of keys in one record, Chroma 1.5 can never read or write the collection again.
MOST_KEYS = 1000
LONGEST_LINE = 2**26


def read_jsonl(file: Path) -> Iterator[Document | Problem]:
    """Read a file in UTF-8 line by line, without empty lines: yield a document, or the problem of a line."""
    first_line_of: dict[object, int] = {}
    with open_file(file) as opened:
        for number, content in enumerate(_lines(opened), start=1):
            stripped = content.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else content.strip()
            if not stripped:
                continue
            try:
                text, metadata = _line(stripped)
                key = metadata.get("id")
                if key and (first := first_line_of.setdefault(key, number)) != number:
                    raise ValueError(f"its id {key!r} is that of line {first}")
            except ValueError as exc:
                yield Problem(place=f"{file}:{number}", reason=printable(str(exc)))
            except BaseException as exc:  # noqa: BLE001 - `Problem.of` raises what is not the line's
                yield Problem(place=f"{file}:{number}", reason=Problem.of(file, exc).reason)
            else:
                yield Document(text=text, source=str(file), metadata={"source": str(file), **metadata})


def _lines(opened: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file, and only the beginning, itself too long, of a line that is too long."""
    while line := opened.readline(LONGEST_LINE + 1):
        yield line
        while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            line = opened.readline(LONGEST_LINE + 1)


def _line(content: bytes) -> tuple[str, dict[str, Scalar]]:
    """Return a line's text, and its other keys, with its id as text."""
    if len(content) > LONGEST_LINE:
        raise ValueError(f"longer than {LONGEST_LINE:,} bytes, which is the most of a line")
    try:
        found = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise ValueError(f"not UTF-8: byte {content[exc.start]:#04x} at {exc.start:,} of the line") from exc
    except (json.JSONDecodeError, RecursionError) as exc:
        raise ValueError(f"not JSON: {exc}") from exc
    if not isinstance(found, dict) or not isinstance(found.get("text"), str):
        raise ValueError('not an object with a "text"')
    key = found.pop("id", None)
    if key is not None and (isinstance(key, bool) or not isinstance(key, (str, int))):
        raise ValueError(f"its id {key!r} is neither text nor an integer")
    text = found.pop("text")
    if len(found) > MOST_KEYS:
        raise ValueError(f"it has {len(found):,} keys beside its text; at most {MOST_KEYS:,} are kept")
    metadata: dict[str, Scalar] = {} if key is None else {"id": str(key)}
    metadata |= {name: _scalar(name, value) for name, value in found.items() if value is not None}
    for kept in (text, *metadata, *metadata.values()):
        _check_text(kept)
    return text, metadata


def _scalar(name: str, value: Any) -> Scalar:
    """Return a value that Chroma can keep: lists and objects become JSON."""
    if not name or name.startswith(RESERVED):
        raise ValueError(f"its key {name!r} is not allowed: names that begin with {', '.join(RESERVED)} are taken")
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"its {name!r} is {value}, which is not a number that can be kept")
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        return str(value)
    scalar: Scalar = value
    return scalar


def _check_text(value: object) -> None:
    """Refuse half of a surrogate pair, which JSON can spell and UTF-8 can't."""
    try:
        str(value).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ValueError(f"it has a lone surrogate, {str(value)[exc.start]!a}") from exc
