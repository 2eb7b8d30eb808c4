"""Documents -> records: pieces that the model reads whole, each under a hash of its text."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.errors import OptionError, needs
from intel_quantized_embeddings.ingestion.places import Document, Place
from intel_quantized_embeddings.options import integer_option

# About a paragraph or two: a vector of more text is less precise, and many models read no more.
_USUAL_TOKENS = 256
_OVERLAPS = 8  # the usual overlap is this part of a chunk
# Tokens alone do not limit length: an unknown word of any length is one token, and whitespace and invisible characters
# are often none. Prose and code have 2 to 7 characters a token.
_MOST_CHARACTERS_A_TOKEN = 16
_FEWEST_CHARACTERS = 256
# Counting takes most of the time of splitting, and a piece need not have the largest possible length.
_CLOSE_ENOUGH = 16
# Nothing is lost with it, and cutting there spares looking at each.
_BLANK = re.compile(r"(?<!\s)\s{1000,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A chunk as a collection holds it, under a hash of its text, with the documents that have it: at least one."""

    id: str
    text: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSize:
    """The lengths of chunks, in tokens of the model's own tokenizer."""

    tokens: int  # the most tokens, without special ones and the document instruction
    overlap: int  # the most tokens that two neighbours share

    @classmethod
    def settle(cls, encoder: Encoder, *, tokens: int | None, overlap: int | None) -> ChunkSize:
        """Settle the lengths: those asked for, else the defaults, within the model's longest input.

        Raises:
            OptionError: The model does not read such long chunks, or the overlap is not below the chunk.
        """
        tokens = integer_option("chunk_tokens", tokens, least=1)
        overlap = integer_option("overlap_tokens", overlap, least=0)
        taken = encoder.tokenizer.special_tokens + encoder.tokenizer.counter()(encoder.settings.document_instruction)
        room = encoder.max_length - taken
        if tokens is None:
            tokens = max(min(_USUAL_TOKENS - taken, room), 1)
        if tokens > room:
            raise OptionError(
                f"chunk_tokens={tokens} is not allowed: the model reads {encoder.max_length} tokens, {taken} of them "
                f"its own, so a chunk has at most {room}."
            )
        if overlap is None:
            overlap = tokens // _OVERLAPS
        if overlap >= tokens:
            raise OptionError(f"overlap_tokens={overlap} is not allowed; it is below the chunk's {tokens}.")
        return cls(tokens=tokens, overlap=overlap)


class Splitter:
    """LangChain's recursive splitter over the model's tokenizer: at headings, definitions, paragraphs, lines, words.

    Text without these is cut between characters: no chunk has more tokens or characters than its size allows, or a word
    that the model would take as unknown only because of its length.

    Args:
        count: Counts a text's tokens.
        size: The lengths of chunks.
        has_overlong_word: Whether a text has a word that is too long for the tokenizer.

    Raises:
        MissingExtraError: LangChain's splitter is not installed.
    """

    def __init__(
        self, count: Callable[[str], int], size: ChunkSize, *, has_overlong_word: Callable[[str], bool] | None = None
    ) -> None:
        with needs("langchain_text_splitters", extra="ingest", needed_for="splitting texts"):
            from langchain_text_splitters import Language, RecursiveCharacterTextSplitter
        self._count = count
        self._size = size
        self._has_overlong_word = has_overlong_word or (lambda text: False)
        self._most_characters = max(_MOST_CHARACTERS_A_TOKEN * size.tokens, _FEWEST_CHARACTERS)
        splitting = partial(
            RecursiveCharacterTextSplitter,
            chunk_size=size.tokens,
            chunk_overlap=size.overlap,
            length_function=self._length,
        )
        self._plain = splitting(separators=["\n\n", "\n", " "])
        self._by_ending = {}
        for ending, language in {".md": Language.MARKDOWN, ".rst": Language.RST, ".py": Language.PYTHON}.items():
            # Without the last separator, "", which counts single characters, not the tokens that they make together.
            separators = filter(None, RecursiveCharacterTextSplitter.get_separators_for_language(language))
            self._by_ending[ending] = splitting(separators=list(separators), is_separator_regex=True)

    def split(self, document: Document) -> list[str]:
        """Cut a document into chunks; a document without words has none."""
        splitter = self._by_ending.get(Path(document.source).suffix.lower(), self._plain)
        chunks = (
            cut.strip()
            for part in _BLANK.split(document.text)
            for chunk in splitter.split_text(part)
            for cut in self._cut(chunk)
        )
        return [chunk for chunk in chunks if chunk and self._count(chunk)]

    def _length(self, text: str) -> float:
        """Return a text's length in tokens, or that of its characters if it is larger."""
        if len(text) > self._most_characters:  # too long in any case: not worth counting
            return len(text) / self._most_characters * self._size.tokens
        if self._has_overlong_word(text):
            return self._size.tokens + 1
        return max(self._count(text), len(text) / self._most_characters * self._size.tokens)

    def _cut(self, text: str) -> Iterator[str]:
        """Cut a text that is too long between characters; neighbours share some."""
        if self._length(text) <= self._size.tokens:
            yield text
            return
        start, taken = 0, self._most_characters
        while True:
            taken = self._longest(text, start, guess=taken)
            end = _not_inside_a_character(text, start, start + taken)
            yield text[start:end]
            if end == len(text):
                return
            shared = (end - start) * self._size.overlap // self._size.tokens
            start = _not_inside_a_character(text, start, max(end - shared, start + 1))

    def _longest(self, text: str, start: int, *, guess: int) -> int:
        """Estimate how many characters from a place on fit, at least one."""
        most = min(self._most_characters, len(text) - start)
        fits, too_many, tried = 0, most + 1, min(guess, most)
        while fits == 0 or too_many - fits > fits // _CLOSE_ENOUGH + 1:
            if self._length(text[start : start + tried]) <= self._size.tokens or tried == 1:
                fits, tried = tried, tried + max(tried // _CLOSE_ENOUGH, 1)
            else:
                too_many, tried = tried, tried - max(tried // _CLOSE_ENOUGH, 1)
            if not fits < tried < too_many:
                tried = max((fits + too_many) // 2, 1)
        return fits


def _not_inside_a_character(text: str, start: int, end: int) -> int:
    """The place before accents and joined characters, so that a letter stays whole; where they don't end, the place."""
    place = end
    while start + 1 < place < len(text) and (
        unicodedata.category(text[place]).startswith("M") or "\u200d" in text[place - 1 : place + 1]
    ):
        place -= 1
        if end - place > 32:
            return end
    return place if place > start + 1 else end


def record_id(text: str) -> str:
    """Return the id of a text: 32 hexadecimal digits of its hash."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(slots=True)
class RecordMaker:
    """Makes the records of a run: each text once, with all the documents that have it.

    A record's id is a hash of its text: the same text in two files, or twice in one, is one record. Many equal vectors
    would keep an approximate index from finding others.
    """

    splitter: Splitter
    repeated: int = 0  # number of repeated texts
    _texts: dict[str, str] = field(default_factory=dict)
    _places: dict[str, dict[tuple[str, str], Place]] = field(default_factory=dict)

    def add(self, document: Document) -> None:
        """Split a document; if that fails, nothing of it is added."""
        where = document.source, json.dumps(dict(document.metadata), sort_keys=True)
        for number, text in enumerate(self.splitter.split(document)):
            id = record_id(text)
            self.repeated += id in self._texts
            self._texts.setdefault(id, text)
            place = Place(source=document.source, chunk=number, metadata=document.metadata)
            self._places.setdefault(id, {}).setdefault(where, place)

    def records(self) -> list[Record]:
        """Return all records, in the order in which their texts came first."""
        places = {id: sorted(its.values(), key=lambda place: place.source) for id, its in self._places.items()}
        return [Record(id=id, text=text, places=tuple(places[id])) for id, text in self._texts.items()]
