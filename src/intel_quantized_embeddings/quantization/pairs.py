"""Pairs of texts to calibrate and measure a cross-encoder on, made of calibration texts."""

from __future__ import annotations

import re
from itertools import cycle, islice

from intel_quantized_embeddings.quantization.calibration import Texts

_FIRST_SENTENCE = re.compile(r".*?[.!?。？！](?=\s|$)|.+", re.DOTALL)
_LONGEST_SENTENCE = 200


def pairs_of(texts: Texts) -> list[tuple[str, str]]:
    """Pair documents with queries until all of both are used, and every other document with its own first sentence.

    A query that was written for none of the documents is a pair that does not belong together; a document's own
    sentence is one that does. A cross-encoder meets both, and its activations differ between them.
    """
    count = max(len(texts.documents), len(texts.queries))
    foreign = list(islice(zip(cycle(texts.queries), cycle(texts.documents), strict=False), count))
    own = [(_first_sentence(document), document) for document in texts.documents[::2]]
    return foreign + own


def _first_sentence(document: str) -> str:
    found = _FIRST_SENTENCE.match(document.strip())
    return (found.group() if found else document)[:_LONGEST_SENTENCE]
