"""The bodies of text-embeddings-inference's routes -> checked requests, or a refusal. Pure functions.

As in its version 1.9, a wrong value is a 422, no text a 400, and unknown fields are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from intel_quantized_embeddings.serving.bodies import Body
from intel_quantized_embeddings.serving.limits import Limits
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.texts import shown

WRONG = 422
EMPTY = "empty"


class Side(str, Enum):
    """The side at which a text that is too long is cut; either spelling."""

    LEFT = "Left"
    RIGHT = "Right"
    LOWERCASE_LEFT = "left"
    LOWERCASE_RIGHT = "right"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Defaults of requests, by the names of that server's options.

    Attributes:
        auto_truncate: Whether texts that are too long are cut, or refused.
        default_prompt_name: The name of the prompt before texts; None for none.
    """

    auto_truncate: bool = False
    default_prompt_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """The treatment of texts that are too long.

    Attributes:
        allowed: Whether they are cut, or refused.
        side: "left" or "right"; None for the side that the model's folder names.
    """

    allowed: bool
    side: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Texts to embed, with the name of the prompt before each, and the form of the vectors."""

    texts: list[str]
    cutting: Cutting
    prompt_name: str | None
    normalize: bool
    dimensions: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRequest:
    """Texts to rank, whether their scores are those before a sigmoid, and whether the texts come back."""

    query: str
    texts: list[str]
    cutting: Cutting
    raw_scores: bool
    return_text: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeRequest:
    """Texts to tokenize."""

    texts: list[str]
    special_tokens: bool
    prompt_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeRequest:
    """Token ids to make texts of."""

    ids: list[list[int]]
    skip_special_tokens: bool


def parse_body(raw: bytes) -> Body:
    """Parse a body with any fields."""
    return Body.parsed(raw, fields=("inputs",), status=WRONG, refuse_others=False)


def parse_embed(body: Body, *, limits: Limits, defaults: Defaults) -> EmbedRequest:
    """Read the body of `/embed`."""
    return EmbedRequest(
        texts=_inputs(body, limits),
        cutting=_cutting(body, defaults),
        prompt_name=_prompt_name(body, defaults),
        normalize=body.flag("normalize", default=True),
        dimensions=body.number("dimensions"),
    )


def parse_similarity(body: Body, *, limits: Limits, defaults: Defaults) -> EmbedRequest:
    """Read the body of `/similarity`; the texts are the source sentence and those compared with it."""
    inputs = body.inner("inputs")
    if inputs is None:
        raise body.wrong("inputs", "inputs is missing; it is an object with source_sentence and sentences.")
    sentences = _listed(inputs, "sentences", most=limits.texts - 1)
    parameters = body.inner("parameters") or Body({}, status=WRONG)
    texts = [inputs.text("source_sentence"), *sentences]
    _refuse_empty(texts)
    return EmbedRequest(
        texts=texts,
        cutting=_cutting(parameters, defaults),
        prompt_name=_prompt_name(parameters, defaults),
        normalize=True,
        dimensions=None,
    )


def parse_rank(body: Body, *, limits: Limits, defaults: Defaults) -> RankRequest:
    """Read the body of `/rerank`."""
    query, texts = body.text("query"), _listed(body, "texts", most=limits.texts)
    if not query:
        _refuse_empty(texts)  # a pair of texts
    return RankRequest(
        query=query,
        texts=texts,
        cutting=_cutting(body, defaults),
        raw_scores=body.flag("raw_scores", default=False),
        return_text=body.flag("return_text", default=False),
    )


def parse_tokenize(body: Body, *, limits: Limits, defaults: Defaults) -> TokenizeRequest:
    """Read the body of `/tokenize`."""
    return TokenizeRequest(
        texts=_inputs(body, limits),
        special_tokens=body.flag("add_special_tokens", default=True),
        prompt_name=_prompt_name(body, defaults),
    )


def parse_decode(body: Body, *, limits: Limits) -> DecodeRequest:
    """Read the body of `/decode`."""
    ids = body.get("ids")
    if not isinstance(ids, list):
        raise body.wrong("ids", f"ids is {shown(ids)}; it is a list of token ids, or a list of such lists.")
    if not ids:
        raise _empty("ids")
    several: list[Any] = ids if isinstance(ids[0], list) else [ids]
    body.check_number("ids", several, most=limits.texts)
    for one in several:
        if not isinstance(one, list) or not all(_is_id(id_) for id_ in one):
            raise body.wrong("ids", f"ids has {shown(one)}; token ids are integers of 0 or more.")
    return DecodeRequest(ids=several, skip_special_tokens=body.flag("skip_special_tokens", default=True))


def _inputs(body: Body, limits: Limits) -> list[str]:
    if body.get("inputs") == []:
        raise _empty("inputs")
    texts = body.texts("inputs", most=limits.texts)
    _refuse_empty(texts)
    return texts


def _listed(body: Body, field: str, *, most: int) -> list[str]:
    texts = body.get(field)
    if texts == []:
        raise _empty(field)
    if not isinstance(texts, list):
        raise body.wrong(field, f"{field} is {'missing' if texts is None else shown(texts)}; it is a list of strings.")
    body.check_number(field, texts, most=most)
    body.check(field, texts)
    return texts


def _refuse_empty(texts: list[str]) -> None:
    if "" in texts:
        raise _empty("inputs")


def _empty(field: str) -> Refusal:
    return Refusal(400, f"`{field}` cannot be empty", code=EMPTY, param=field)


def _cutting(body: Body, defaults: Defaults) -> Cutting:
    side = body.choice("truncation_direction", Side)
    allowed = body.flag("truncate", default=defaults.auto_truncate)
    return Cutting(allowed=allowed, side=None if side is None else side.value.lower())


def _prompt_name(body: Body, defaults: Defaults) -> str | None:
    return defaults.default_prompt_name if body.get("prompt_name") is None else body.text("prompt_name")


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32
