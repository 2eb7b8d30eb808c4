"""Texts -> token ids, by the model's own `tokenizer.json`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError, InvalidTextError, ModelFilesError, OptionError


# What the tokenizers library takes for "no"; anything else in TOKENIZERS_PARALLELISM is a yes.
_NO_THREADS = ("", "off", "false", "f", "no", "n", "0")

# The process in which texts were first tokenized, which is when the library starts its threads.
_threads_of: int | None = None


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Token ids of several texts.

    Attributes:
        token_ids: One list a text, special tokens included, at its natural length.
        truncated: Places of the texts that were longer than the maximum and were cut.
    """

    token_ids: list[list[int]]
    truncated: set[int]


class Tokenizer:
    """A model's tokenizer, cutting at `max_length` and never padding.

    `tokenizer.json` may carry padding and truncation of its own (all-MiniLM-L6-v2's pads to 128 and
    cuts there); both are overridden.
    """

    def __init__(self, file: Path, *, max_length: int, lowercase: bool = False) -> None:
        from tokenizers import Tokenizer as FastTokenizer
        from tokenizers import normalizers

        if not file.is_file():
            raise ModelFilesError(
                f"{file} is not there. Write it with transformers: "
                f"AutoTokenizer.from_pretrained({str(file.parent)!r}).save_pretrained({str(file.parent)!r})"
            )
        try:
            self._tokenizer = FastTokenizer.from_file(str(file))
        except Exception as exc:
            # tokenizers raises plain Exception for any fault of the file.
            raise DamagedFilesError(f"{file} is not a tokenizer of the tokenizers library: {exc}") from exc
        if lowercase:
            own = self._tokenizer.normalizer
            first = normalizers.Lowercase()
            self._tokenizer.normalizer = normalizers.Sequence([first, own]) if own is not None else first
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)

    def encode(self, texts: Sequence[str], *, instruction: str = "") -> TokenizedTexts:
        """Tokenize texts, each after `instruction`; nothing else about them is changed.

        Raises:
            InvalidTextError: An item is not a string, or a string with no UTF-8 form.
            OptionError: In a forked process, TOKENIZERS_PARALLELISM asks for threads that are not there.
        """
        check_texts(texts)
        _refuse_lost_threads()
        encodings = self._tokenizer.encode_batch_fast([instruction + text for text in texts])
        return TokenizedTexts(token_ids=[encoding.ids for encoding in encodings], truncated=_truncated(encodings))

    @property
    def special_tokens(self) -> int:
        """How many tokens the model's template puts around one text."""
        number: int = self._tokenizer.num_special_tokens_to_add(False)
        return number

    def counter(self) -> Callable[[str], int]:
        """Make what counts a text's tokens, the special ones left out and nothing cut."""
        uncut = self._tokenizer.from_str(self._tokenizer.to_str())
        uncut.no_truncation()

        def count(text: str) -> int:
            return len(uncut.encode(text, add_special_tokens=False).ids)

        return count

    def encode_pairs(self, pairs: Sequence[tuple[str, str]], *, second_text: int) -> TokenizedTexts:
        """Tokenize pairs by the tokenizer's own template; where one is too long, its longer text is cut.

        Args:
            pairs: Two strings each, with a UTF-8 form.
            second_text: What the ids of a pair's second text are raised by.
        """
        _refuse_lost_threads()
        encodings = self._tokenizer.encode_batch_fast(list(pairs))
        return TokenizedTexts(
            token_ids=[
                [token + second_text * text for token, text in zip(encoding.ids, encoding.type_ids, strict=True)]
                for encoding in encodings
            ],
            truncated=_truncated(encodings),
        )


def _refuse_lost_threads() -> None:
    """Check that the threads which tokenizing was told to use are of this process."""
    global _threads_of
    if _threads_of is None:
        _threads_of = os.getpid()
    told = os.environ.get("TOKENIZERS_PARALLELISM", "")
    if told.lower() not in _NO_THREADS and _threads_of != os.getpid():
        raise OptionError(
            f"TOKENIZERS_PARALLELISM={told!r} asks for threads that did not come along into this forked process: "
            f"tokenizing would wait for them for ever. Unset it, or start processes by spawning."
        )


def _truncated(encodings: Sequence[Any]) -> set[int]:
    return {place for place, encoding in enumerate(encodings) if encoding.overflowing}


def check_texts(texts: Sequence[object]) -> None:
    """Check that every item is a string with a UTF-8 form.

    Raises:
        InvalidTextError: One is not; the message names its position.
    """
    for position, text in enumerate(texts):
        utf8(text, position=position)


def utf8(text: object, *, position: int) -> bytes:
    """The bytes of a text.

    Args:
        text: What should be one.
        position: Its place in the input, for the message.

    Raises:
        InvalidTextError: It is not a string, or has half of a surrogate pair, which has no UTF-8 form.
    """
    if not isinstance(text, str):
        raise InvalidTextError(f"text {position} is {text!r} of type {type(text).__name__}; every text must be a str.")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise InvalidTextError(
            f"text {position} has the lone surrogate {text[exc.start]!r} at character {exc.start}, which has no "
            f"UTF-8 form. Clean it with text.encode('utf-8', 'replace').decode()."
        ) from exc
