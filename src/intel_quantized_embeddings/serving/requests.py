"""The body of a request -> what is asked, or a refusal that says what is wrong. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from intel_quantized_embeddings.errors import InvalidTextError
from intel_quantized_embeddings.models.tokenizer import check_texts, shown
from intel_quantized_embeddings.serving.limits import Limits

# What OpenAI calls the kinds of errors, by status.
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}
_FIELDS = ("input", "model", "encoding_format", "dimensions", "input_type", "user")


class Refusal(Exception):
    """A request that gets an error for an answer, in the form that OpenAI's clients read.

    Args:
        status: The HTTP status.
        message: What failed, the value seen, what is allowed.
        code: A word for programs.
        param: The field of the body that is at fault.
        headers: HTTP headers beside it.

    Attributes:
        body: The answer, JSON.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        self.body = json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()


class InputType(str, Enum):
    """The role of the texts of a request: QUERY to search with, DOCUMENT to be searched."""

    QUERY = "query"
    DOCUMENT = "document"


class EncodingFormat(str, Enum):
    """The form of vectors in an answer: FLOAT numbers in a list, or BASE64 of their little-endian float32 bytes."""

    FLOAT = "float"
    BASE64 = "base64"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingsRequest:
    """A client's request: its texts, the name it was sent under, their kind, and the vectors' form and length."""

    texts: list[str]
    model: str
    input_type: InputType
    encoding_format: EncodingFormat
    dimensions: int


def model_names(name: str) -> dict[str, InputType | None]:
    """The names that a served model answers to, and what the texts are where the name says it."""
    return {name: None} | {f"{name}:{kind.value}": kind for kind in InputType}


def parse_request(body: bytes, *, name: str, dimension: int, limits: Limits) -> EmbeddingsRequest:
    """Read and check the body of a request to a model that is served under a name and has vectors of a dimension.

    Raises:
        Refusal: It is not what OpenAI's `/v1/embeddings` takes, or asks for what is not here.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise Refusal(400, f"the body is not JSON: {exc}") from exc
    if not isinstance(given, dict):
        raise Refusal(400, f"the body is {shown(given)}; a JSON object is expected, with {', '.join(_FIELDS)}.")
    for field in given:
        if field not in _FIELDS:
            raise _wrong(field, f"{shown(field)} is not known here; there are {', '.join(_FIELDS)}.")
    model, input_type = _model(given, name)
    return EmbeddingsRequest(
        texts=_texts(given, limits),
        model=model,
        input_type=input_type,
        encoding_format=EncodingFormat(_choice(given, "encoding_format", EncodingFormat) or EncodingFormat.FLOAT),
        dimensions=_dimensions(given, dimension),
    )


def _model(given: dict[str, Any], name: str) -> tuple[str, InputType]:
    """The name asked for, and what the texts are. Documents, where nothing is said: they are most of what is sent."""
    names = model_names(name)
    model = given.get("model")
    if model is None:
        raise _wrong("model", f"model is missing; it is {name!r}.")
    if not isinstance(model, str) or model not in names:
        raise Refusal(
            404,
            f"the model {shown(model)} is not served here; there are {', '.join(map(repr, names))}.",
            code="model_not_found",
            param="model",
        )
    said = _choice(given, "input_type", InputType)
    if said is not None and names[model] not in (None, said):
        raise _wrong("input_type", f"input_type={said!r} contradicts model={model!r}; leave one of them out.")
    return model, InputType(said or names[model] or InputType.DOCUMENT)


def _texts(given: dict[str, Any], limits: Limits) -> list[str]:
    texts = given.get("input")
    if texts is None:
        raise _wrong("input", "input is missing; it is a string or a list of strings.")
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, list) or not texts:
        raise _wrong("input", f"input is {shown(texts)}; it is a string or a list of strings, one at least.")
    if len(texts) > limits.texts:
        raise _wrong("input", f"input has {len(texts)} texts; a request takes {limits.texts} at most.")
    if isinstance(texts[0], (int, list)):
        raise _wrong(
            "input",
            "input holds token ids, which only mean something to the tokenizer that made them. Send strings; in "
            "LangChain, OpenAIEmbeddings(..., check_embedding_ctx_length=False).",
        )
    try:
        check_texts(texts)
    except InvalidTextError as exc:
        raise _wrong("input", f"input: {exc}") from exc
    return texts


def _dimensions(given: dict[str, Any], dimension: int) -> int:
    asked = given.get("dimensions")
    if asked is None:
        return dimension
    if not isinstance(asked, int) or isinstance(asked, bool) or not 1 <= asked <= dimension:
        raise _wrong("dimensions", f"dimensions={shown(asked)} is not allowed; it is 1 to {dimension}.")
    return asked


def _choice(given: dict[str, Any], field: str, choices: type[Enum]) -> str | None:
    value = given.get(field)
    allowed = [choice.value for choice in choices]
    if value is not None and value not in allowed:
        raise _wrong(field, f"{field}={shown(value)} is not allowed; it is {' or '.join(map(repr, allowed))}.")
    return value


def _wrong(field: str, message: str) -> Refusal:
    return Refusal(400, message, param=field)
