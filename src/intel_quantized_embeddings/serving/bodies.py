"""Read a JSON body field by field: every reader returns a checked value or refuses. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeVar

from intel_quantized_embeddings.errors import InvalidTextError
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.texts import check_texts, shown

_Choice = TypeVar("_Choice", bound=Enum)


class Body:
    """A JSON object that a client sent.

    Args:
        given: The object.
        status: The status of a refused value.
    """

    def __init__(self, given: dict[str, Any], *, status: int = 400) -> None:
        self._given = given
        self._status = status

    @classmethod
    def parsed(cls, raw: bytes, *, fields: Sequence[str], status: int = 400, refuse_others: bool = True) -> Body:
        """Parse a body.

        Args:
            raw: The bytes that were sent.
            fields: The fields of the API.
            status: The status of a refused value.
            refuse_others: Whether other fields are refused, or ignored.

        Raises:
            Refusal: The body is not JSON (400), not an object, or has an unknown field.
        """
        try:
            given = json.loads(raw, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as exc:
            raise Refusal(400, f"the body is not JSON: {exc}") from exc
        if not isinstance(given, dict):
            raise Refusal(status, f"the body is {shown(given)}; a JSON object is expected, with {', '.join(fields)}.")
        body = cls(given, status=status)
        for field in given if refuse_others else ():
            if field not in fields:
                raise body.wrong(field, f"{shown(field)} is not known here; there are {', '.join(fields)}.")
        return body

    def get(self, field: str) -> Any:
        """Return a field as it was sent; None if it is missing."""
        return self._given.get(field)

    def wrong(self, field: str, message: str) -> Refusal:
        """Return the refusal of a field's value."""
        return Refusal(self._status, message, param=field)

    def inner(self, field: str) -> Body | None:
        """Return a field that is an object itself; None if it is missing."""
        value = self.get(field)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(field, f"{field} is {shown(value)}; a JSON object is expected.")
        return Body(value, status=self._status)

    def text(self, field: str) -> str:
        """Return a string that must be there."""
        value = self.get(field)
        if not isinstance(value, str):
            raise self.wrong(field, f"{field} is {'missing' if value is None else shown(value)}; it is a string.")
        self.check(field, [value])
        return value

    def texts(self, field: str, *, most: int) -> list[str]:
        """Return a string, or a list of strings, as a list of 1 to `most`."""
        texts = self.get(field)
        if texts is None:
            raise self.wrong(field, f"{field} is missing; it is a string or a list of strings.")
        if isinstance(texts, str):
            texts = [texts]
        if not isinstance(texts, list) or not texts:
            raise self.wrong(field, f"{field} is {shown(texts)}; it is a string or a list of strings, one at least.")
        self.check_number(field, texts, most=most)
        if isinstance(texts[0], (int, list)):
            raise self.wrong(
                field,
                f"{field} holds token ids, which only mean something to the tokenizer that made them. Send strings; in "
                "LangChain, OpenAIEmbeddings(..., check_embedding_ctx_length=False).",
            )
        self.check(field, texts)
        return texts

    def check(self, field: str, texts: Sequence[object]) -> None:
        """Check that every item is a text."""
        try:
            check_texts(texts)
        except InvalidTextError as exc:
            raise self.wrong(field, f"{field}: {exc}") from exc

    def check_number(self, field: str, items: Sequence[object], *, most: int) -> None:
        """Check the number of items."""
        if len(items) > most:
            raise self.wrong(field, f"{field} has {len(items)} texts; a request takes {most} at most.")

    def flag(self, field: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.get(field)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(field, f"{field}={shown(value)} is not allowed; it is true or false.")
        return value

    def number(self, field: str) -> int | None:
        """Return an integer of 1 or more."""
        value = self.get(field)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise self.wrong(field, f"{field}={shown(value)} is not allowed; it is an integer of 1 or more.")
        return value

    def choice(self, field: str, choices: type[_Choice]) -> _Choice | None:
        """Return one of some words."""
        value = self.get(field)
        allowed = [choice.value for choice in choices]
        if value is not None and value not in allowed:
            raise self.wrong(field, f"{field}={shown(value)} is not allowed; it is {' or '.join(map(repr, allowed))}.")
        return None if value is None else choices(value)


def _refuse_constant(name: str) -> None:
    """Python reads and writes NaN and infinities, which JSON does not have: answers may hold what was sent."""
    raise ValueError(f"it has {name}, which JSON does not have.")


def kept_dimensions(asked: int | None, dimension: int, *, status: int = 400) -> int:
    """Return the size of vectors that a request wants, of a model with vectors of `dimension` numbers.

    Raises:
        Refusal: The model has fewer.
    """
    if asked is not None and asked > dimension:
        raise Refusal(status, f"dimensions={asked} is not allowed; it is 1 to {dimension}.", param="dimensions")
    return dimension if asked is None else asked
