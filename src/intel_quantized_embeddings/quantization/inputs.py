"""The tokenized inputs that a model is calibrated and measured on: an embedder's texts, a cross-encoder's pairs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from intel_quantized_embeddings.models.scoring import CrossEncoderSettings
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.sparse import SparseSettings
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.quantization.calibration import Texts
from intel_quantized_embeddings.texts import shown

_FIRST_SENTENCE = re.compile(r".*?[.!?。？！](?=\s|$)|.+", re.DOTALL)
_LONGEST_SENTENCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Tokenized inputs of one group.

    Attributes:
        token_ids: The token ids of each input.
        named: Function from an input's place to its name in errors.
    """

    token_ids: Sequence[Sequence[int]]
    named: Callable[[int], str]

    def every(self, step: int) -> Inputs:
        """Take every so many-th input."""
        return Inputs(token_ids=self.token_ids[::step], named=lambda place: self.named(place * step))


def tokenized_texts(
    texts: Texts, tokenizer: Tokenizer, settings: ModelSettings | SparseSettings, second_text: int = 0
) -> tuple[Inputs, Inputs]:
    """Tokenize documents and queries, each with its instruction and cut to the maximum length; `second_text` is 0."""

    def group(some: Sequence[str], instruction: str) -> Inputs:
        token_ids = tokenizer.encode(some, instruction=instruction).token_ids
        # A place among sorted halves would mean nothing to the caller.
        return Inputs(token_ids=token_ids, named=lambda place: f"the text {shown(some[place])}")

    return group(texts.documents, settings.document_instruction), group(texts.queries, settings.query_instruction)


def tokenized_pairs(
    texts: Texts, tokenizer: Tokenizer, settings: CrossEncoderSettings, second_text: int
) -> tuple[Inputs]:
    """Tokenize the pairs that are made of texts; `second_text` is added to the ids of a pair's second text."""
    token_ids = tokenizer.encode_pairs(pairs_of(texts), second_text=second_text).token_ids
    return (Inputs(token_ids=token_ids, named="the held-out pair {}".format),)


def pairs_of(texts: Texts) -> list[tuple[str, str]]:
    """Pair documents with queries until all of both are used, and every other document with its own first sentence.

    A document with a query that was not written for it is a pair that does not match; with its own sentence it matches.
    A cross-encoder reads both kinds, and its activations differ between them.
    """
    count = max(len(texts.documents), len(texts.queries))
    foreign = list(islice(zip(cycle(texts.queries), cycle(texts.documents), strict=False), count))
    own = [(_first_sentence(document), document) for document in texts.documents[::2]]
    return foreign + own


def _first_sentence(document: str) -> str:
    found = _FIRST_SENTENCE.match(document.strip())
    return (found.group() if found else document)[:_LONGEST_SENTENCE]
