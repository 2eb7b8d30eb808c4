"""Cutting a text that is far too long before it is tokenized, without changing the ids that are kept.

The tokenizers library tokenizes all of a text before it cuts, in time and memory that grow with the text. The beginning
is enough where it can be seen to be: where more tokens come out of it than are kept, and enough whole words follow the
last kept one that nothing behind them can reach it.

Of a pair the library makes every combination of what it cut from both texts, which grows with the product of their
lengths (0.22.2 and 0.23.3; 0.23.1 stops early). A long pair is therefore put together here, from its texts tokenized
one by one.
"""

from __future__ import annotations

import json
import re
from typing import Any

from intel_quantized_embeddings.errors import UnsupportedModelError

# A token has some four letters: a text that is shorter than this many characters a token is tokenized whole.
_CHARACTERS_A_TOKEN = 16
_LEAST = 4_096

# Steps that look no further than the word they are in, and never take a space out from between two words.
_LOCAL_NORMALIZERS = frozenset(
    {
        "BertNormalizer",
        "Lowercase",
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Nmt",
        "Precompiled",
        "Prepend",
        "Strip",
        "StripAccents",
    }
)
_LOCAL_SPLITS = ("BertPreTokenizer", "WhitespaceSplit", "Whitespace", "Metaspace", "ByteLevel", "Digits", "Punctuation")
_LOCAL_MODELS = ("WordPiece", "BPE", "Unigram", "WordLevel")

_SPLITS_AT_LINES = ("BertPreTokenizer", "WhitespaceSplit", "Whitespace")
_SPACES = re.compile("[ \t\r\n]")
# Most of Chinese and Japanese writing, each character of which BertNormalizer can make a word.
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")


class LongTexts:
    """Cuts the part of a text that its tokenizer need not see.

    Args:
        tokenizer: A tokenizer of the tokenizers library that cuts at `max_length`.
        max_length: The longest text in tokens, special ones included.
    """

    def __init__(self, tokenizer: Any, *, max_length: int) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._least = max(_LEAST, _CHARACTERS_A_TOKEN * max_length)
        self._words = _words_that_separate(tokenizer)
        self._separators, self._ideographs = _separators(tokenizer)

    def is_long(self, text: str) -> bool:
        """Return whether a text has far more characters than fit into `max_length`."""
        return len(text) > 2 * self._least

    def cut(self, text: str) -> str:
        """Return the text, or a beginning of it that has the same first `max_length` tokens and more."""
        if self._words is None or not self.is_long(text):
            return text
        length = self._least
        while 2 * length < len(text):
            beginning = text[:length]
            if self._is_enough(beginning):
                return beginning
            length *= 4
        return text

    def _is_enough(self, beginning: str) -> bool:
        # The tokenizer cuts at `max_length`; with no special tokens around, that is at least what is kept.
        encoded = self._tokenizer.encode(beginning, add_special_tokens=False)
        if not encoded.overflowing:
            return False
        kept = max((end for _, end in encoded.offsets), default=0)
        rest = beginning[kept:]
        if self._ideographs:
            rest = _IDEOGRAPH.sub(r" \g<0> ", rest)
        # The part between two separators is a word if it has a letter or digit, which no normalizer removes.
        words = self._separators.split(rest)[1:-1]
        return sum(any(map(str.isalnum, word)) for word in words) >= (self._words or 0)

    def encode_pair(self, first: str, second: str) -> tuple[list[int], list[int], bool]:
        """Tokenize a pair as the library does, the longer text cut first: ids, token types, whether it was cut."""
        room = self._max_length - self._tokenizer.num_special_tokens_to_add(True)
        whole = (first, second)
        encoded = [self._tokenizer.encode(self.cut(text), add_special_tokens=False) for text in whole]
        found = [_number(one) for one in encoded]
        if sum(found) > room and room % 2 and min(found) > room // 2:
            # The text that was longer before cutting gets the odd token.
            found = [_number(self._tokenizer.encode(text, add_special_tokens=False)) for text in whole]
        kept = _shared_out(found, room)
        left = self._tokenizer.truncation["direction"] == "left"
        parts = [
            (one.ids[len(one.ids) - number :] if left else one.ids[:number])
            for one, number in zip(encoded, kept, strict=True)
        ]
        ids: list[int] = []
        types: list[int] = []
        for sequence, id_, type_ in self._layout():
            part = [id_] if sequence is None else parts[sequence]
            ids += part
            types += [type_] * len(part)
        return ids, types, sum(found) > room

    def _layout(self) -> list[tuple[int | None, int, int]]:
        """Return a pair's parts: special tokens by id, and its texts by number (0 or 1), each with its token type."""
        for word in ("a", "1", ".", "the"):
            sample = self._tokenizer.encode(word, word)
            layout: list[tuple[int | None, int, int]] = []
            for sequence, id_, type_ in zip(sample.sequence_ids, sample.ids, sample.type_ids, strict=True):
                if sequence is None or sequence not in [known for known, _, _ in layout]:
                    layout.append((sequence, id_, type_))
            if {0, 1} <= {sequence for sequence, _, _ in layout}:
                return layout
        raise UnsupportedModelError(
            "a long pair can't be cut: the tokenizer has no token for 'a', '1', '.' or 'the'. Cut the texts before."
        )


def _number(encoded: Any) -> int:
    return len(encoded.ids) + sum(len(rest.ids) for rest in encoded.overflowing)


def _shared_out(found: list[int], room: int) -> list[int]:
    """Return how many tokens each text of a pair keeps, as the library's longest_first has it."""
    if sum(found) <= room:
        return found
    shorter = min(found[0], found[1])
    longer = max(shorter, room - shorter)
    if shorter + longer > room:
        shorter, longer = room // 2, room - room // 2
    return [longer, shorter] if found[0] > found[1] else [shorter, longer]


def _words_that_separate(tokenizer: Any) -> int | None:
    """Count the words after which the text before can't depend on the text behind; None if no number suffices."""
    truncation = tokenizer.truncation or {}
    if truncation.get("direction") != "right":
        return None
    if type(tokenizer.model).__name__ not in _LOCAL_MODELS or getattr(tokenizer.model, "dropout", None):
        return None
    if not all(map(_normalizes_locally, _steps(tokenizer.normalizer, "normalizers"))):
        return None
    splits = _steps(tokenizer.pre_tokenizer, "pretokenizers")
    # One split at spaces is enough; beside others, all must be known.
    if not any(map(_splits_at_spaces, splits)) or not all(step.get("type") in _LOCAL_SPLITS for step in splits):
        return None
    # An added token may hold several words, and so reach over a few.
    longest = max((len(token.content.split()) for token in tokenizer.get_added_tokens_decoder().values()), default=0)
    return longest + 2


def _separators(tokenizer: Any) -> tuple[re.Pattern[str], bool]:
    """Return the characters that surely end a word for a tokenizer, and whether an ideograph is a word by itself."""
    normalizers = _steps(tokenizer.normalizer, "normalizers")
    splits = _steps(tokenizer.pre_tokenizer, "pretokenizers")
    lines = any(step.get("type") in _SPLITS_AT_LINES for step in splits)
    lines &= not any(step.get("type") in ("Precompiled", "Nmt") for step in normalizers)
    ideographs = any(
        step.get("type") == "BertNormalizer" and step.get("handle_chinese_chars") is True for step in normalizers
    )
    return _SPACES if lines else re.compile(" "), ideographs and lines


def _steps(component: Any, several: str) -> list[dict[str, Any]]:
    if component is None:
        return []
    described = json.loads(component.__getstate__())
    steps: list[dict[str, Any]] = described.get(several, [described])
    return steps


def _normalizes_locally(step: dict[str, Any]) -> bool:
    if step.get("type") == "Replace":  # what SentencePiece's do with runs of spaces
        return step.get("content") == " " and step.get("pattern") == {"Regex": " {2,}"}
    return step.get("type") in _LOCAL_NORMALIZERS


def _splits_at_spaces(step: dict[str, Any]) -> bool:
    kind = step.get("type")
    if kind == "Metaspace":
        return step.get("split", True) is True
    if kind == "ByteLevel":
        return step.get("use_regex", True) is True
    return kind in ("BertPreTokenizer", "WhitespaceSplit", "Whitespace")
