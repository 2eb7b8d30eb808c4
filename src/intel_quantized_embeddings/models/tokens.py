"""A text -> its tokens, with the place of each in the text."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from intel_quantized_embeddings.models.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token of a text.

    Attributes:
        id: Its id.
        text: Its part of the text; a special token's name.
        special: Whether the model's template put it there.
        start: The beginning of that part, in bytes of UTF-8; None for a special token.
        stop: The end of that part.
    """

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


def tokens_of(tokenizer: Tokenizer, text: str, *, special_tokens: bool) -> list[Token]:
    """Return the tokens of a text with a UTF-8 form; nothing is cut.

    Args:
        tokenizer: The model's tokenizer.
        text: The text, after its instruction.
        special_tokens: Whether to return the special tokens around it too.
    """
    # A static model's tokenizer has a template that its texts do not go through.
    encoding = tokenizer.uncut.encode(text, add_special_tokens=special_tokens and tokenizer.special_tokens > 0)
    bytes_before = list(accumulate((len(character.encode()) for character in text), initial=0))
    tokens = []
    for id_, name, special, (start, stop) in zip(
        encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True
    ):
        if special:
            tokens.append(Token(id=id_, text=name, special=True, start=None, stop=None))
        else:
            where = bytes_before[start], bytes_before[stop]
            tokens.append(Token(id=id_, text=text[start:stop], special=False, start=where[0], stop=where[1]))
    return tokens
