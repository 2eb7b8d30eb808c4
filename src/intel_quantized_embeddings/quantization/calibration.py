"""Choose the texts that an int8 model is calibrated on, and those held out to measure it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from intel_quantized_embeddings.errors import DamagedFilesError, InvalidTextError, ModelFilesError, OptionError
from intel_quantized_embeddings.texts import is_listed, shown, utf8

# Texts in each half. More calibrate little better (docs/quantization.md) and cost time.
MOST_DOCUMENTS = 105
MOST_QUERIES = 55
FEWEST = 10

# Texts of each kind if nothing is measured.
FEW = 6

_BUILT_IN = "calibration_texts.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Documents and queries, apart because each gets its own instruction."""

    documents: tuple[str, ...]
    queries: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.documents) + len(self.queries)

    @property
    def digest(self) -> str:
        """Return the SHA-256 over every text and its kind, in order."""
        content = json.dumps([self.documents, self.queries], ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSplit:
    """Texts that set ranges, and texts that measure the result.

    Attributes:
        calibrated: The texts that set the ranges.
        held_out: The texts that fidelity is measured on.
        trainable: All texts outside the held-out half, calibrated on or not.
    """

    calibrated: Texts
    held_out: Texts
    trainable: Texts


def built_in_texts() -> Texts:
    """Return the package's own texts: questions, sentences, paragraphs, passages, lists, code, other languages."""
    from importlib import resources  # imported late: it takes a while, and loading models does not need it

    content = resources.files(__package__).joinpath(_BUILT_IN).read_text("utf-8")
    entries = [json.loads(line) for line in content.split("\n") if line]
    return Texts(
        documents=tuple(e["text"] for e in entries if e["kind"] == "document"),
        queries=tuple(e["text"] for e in entries if e["kind"] == "query"),
    )


def calibration_set(documents: Sequence[str] | None = None, queries: Sequence[str] | None = None) -> Texts:
    """Take the caller's texts, and the package's own for a kind that is None; too few are an OptionError."""
    own = built_in_texts()
    return Texts(
        documents=own.documents if documents is None else _checked(documents, "calibration_texts"),
        queries=own.queries if queries is None else _checked(queries, "calibration_queries"),
    )


def split(texts: Texts) -> CalibrationSplit:
    """Halve each kind so that both halves have texts of every length.

    Sorted by length, every other text is held out; of more than needed, evenly spaced ones are
    taken. The same texts always give the same split, whatever their order.
    """
    documents, held_out_documents = _halves(texts.documents)
    queries, held_out_queries = _halves(texts.queries)
    return CalibrationSplit(
        calibrated=Texts(documents=_evenly(documents, MOST_DOCUMENTS), queries=_evenly(queries, MOST_QUERIES)),
        held_out=Texts(
            documents=_evenly(held_out_documents, MOST_DOCUMENTS), queries=_evenly(held_out_queries, MOST_QUERIES)
        ),
        trainable=Texts(documents=documents, queries=queries),
    )


def a_few(texts: Texts) -> Texts:
    """Return some texts of each kind: enough for probes, too few to measure on."""
    return Texts(documents=texts.documents[:FEW], queries=_evenly(texts.queries, FEW))


def read_texts(file: Path) -> list[str]:
    """Read calibration texts: one a line, or JSON objects with "text" (and "title") in a .jsonl file.

    Raises:
        OptionError: It is a .json file.
        ModelFilesError: There is no such file.
        DamagedFilesError: The file is not UTF-8, or a line of a .jsonl file has no text.
    """
    if file.suffix == ".json":
        raise OptionError(f'{file}: texts are one a line, or one {{"text": ...}} a line in a .jsonl file.')
    try:
        # Not splitlines(): it would also split at separators inside a JSON string.
        lines = [line for line in file.read_text("utf-8").split("\n") if line.strip()]
    except FileNotFoundError as exc:
        raise ModelFilesError(f"no file of texts {file}.") from exc
    except (UnicodeDecodeError, IsADirectoryError) as exc:
        raise DamagedFilesError(f"{file} is not a UTF-8 text file: {exc}") from exc
    if file.suffix != ".jsonl":
        return lines
    texts = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            texts.append(f"{entry.get('title', '')} {entry['text']}".strip())
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise DamagedFilesError(f'{file}, entry {number}: a JSON object with a "text" is expected.') from exc
    return texts


def _checked(texts: Sequence[str], argument: str) -> tuple[str, ...]:
    if not is_listed(texts):
        raise OptionError(f"{argument} is {shown(texts)}; a list of texts is expected.")
    texts = list(texts)
    for position, text in enumerate(texts):
        try:
            utf8(text, position=position)
        except InvalidTextError as exc:
            raise OptionError(f"{argument}: {exc}") from exc
    unique = tuple(dict.fromkeys(text for text in texts if text.strip()))
    if len(unique) < FEWEST:
        raise OptionError(
            f"{argument} has {len(unique)} different texts; at least {FEWEST} are needed, and 300 of every "
            f"length the model will see are better. Leave it out to use the package's own."
        )
    return unique


def _halves(texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    by_length = sorted(texts, key=lambda text: (len(text), text))
    return tuple(by_length[0::2]), tuple(by_length[1::2])


def _evenly(texts: Sequence[str], most: int) -> tuple[str, ...]:
    """Return at most `most` texts, spread over the whole sequence."""
    count = min(most, len(texts))
    return tuple(texts[i * len(texts) // count] for i in range(count))
