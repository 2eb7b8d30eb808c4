"""Documents -> records: pieces that the model reads whole, each under an id made of what it is."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.encoder import Encoder
from intel_quantized_embeddings.errors import MissingExtraError, OptionError
from intel_quantized_embeddings.ingestion.documents import Document, Scalar
from intel_quantized_embeddings.load_options import whole_number

# Kept with each record, beside the metadata of its document.
SOURCE, CHUNK = "iqe_source", "iqe_chunk"

# About a paragraph or two: more blurs what a vector says, and many models read no more.
_USUAL_TOKENS = 256
_OVERLAPS = 8  # the usual overlap is this part of a chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A chunk as a collection holds it."""

    id: str
    text: str
    metadata: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSize:
    """How long chunks are, in tokens of the model's own tokenizer.

    Attributes:
        tokens: At most; special tokens and the document instruction come on top.
        overlap: How many two neighbours share, at most.
    """

    tokens: int
    overlap: int

    @classmethod
    def settle(cls, encoder: Encoder, *, tokens: int | None, overlap: int | None) -> ChunkSize:
        """What was asked for, or what is usual, within what the model reads.

        Raises:
            OptionError: The model does not read so much, or the overlap is not below the chunk.
        """
        tokens = whole_number("chunk_tokens", tokens, least=1)
        overlap = whole_number("overlap_tokens", overlap, least=0)
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

    Raises:
        MissingExtraError: It is not installed.
    """

    def __init__(self, count: Callable[[str], int], size: ChunkSize) -> None:
        try:
            from langchain_text_splitters import Language, RecursiveCharacterTextSplitter
        except ImportError as exc:
            raise MissingExtraError(
                package="langchain_text_splitters", extra="ingest", needed_for="splitting texts"
            ) from exc
        options: dict[str, Any] = {
            "chunk_size": size.tokens,
            "chunk_overlap": size.overlap,
            "length_function": count,
        }
        languages = {".md": Language.MARKDOWN, ".rst": Language.RST, ".py": Language.PYTHON}
        self._plain = RecursiveCharacterTextSplitter(**options)
        self._by_ending = {
            ending: RecursiveCharacterTextSplitter.from_language(language, **options)
            for ending, language in languages.items()
        }

    def split(self, document: Document) -> list[str]:
        """Cut a document; one without words gives none."""
        splitter = self._by_ending.get(Path(document.source).suffix.lower(), self._plain)
        return [chunk for chunk in splitter.split_text(document.text) if chunk.strip()]


@dataclass(slots=True)
class RecordMaker:
    """Makes the records of a run, and counts what repeats.

    A record's id is a hash of its file, its document's id, its text, and how many times that text came before in the
    document's file. So the same text in two files, or twice in one, is two records; a file read twice gives the same
    ones; and a chunk whose neighbours changed stays what it was.
    """

    splitter: Splitter
    _seen: Counter[str] = field(default_factory=Counter)

    def records(self, documents: Iterable[Document]) -> Iterator[Record]:
        """Split documents, in order."""
        for document in documents:
            for place, text in enumerate(self.splitter.split(document)):
                identity = (document.source, document.key, text)
                digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
                again = self._seen[digest]
                self._seen[digest] += 1
                yield Record(
                    id=f"{digest}-{again}" if again else digest,
                    text=text,
                    metadata={**document.metadata, SOURCE: document.source, CHUNK: place},
                )
