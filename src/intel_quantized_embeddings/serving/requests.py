"""The body of a request for embeddings, as OpenAI's clients send it -> what is asked, or a refusal. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from intel_quantized_embeddings.serving.bodies import Body
from intel_quantized_embeddings.serving.limits import Limits
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.texts import shown

_FIELDS = ("input", "model", "encoding_format", "dimensions", "input_type", "user")


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
    """A client's request: its texts, the name it was sent under, their kind, and the vectors' form and length.

    `dimensions` is None where the model's own is wanted, and may be more than the model has.
    """

    texts: list[str]
    model: str
    input_type: InputType
    encoding_format: EncodingFormat
    dimensions: int | None


def model_names(name: str) -> dict[str, InputType | None]:
    """The names that a served model answers to, and what the texts are where the name says it."""
    return {name: None} | {f"{name}:{kind.value}": kind for kind in InputType}


def parse_request(body: bytes, *, names: Mapping[str, InputType | None], limits: Limits) -> EmbeddingsRequest:
    """Read and check the body of a request to one of the models of some names.

    Raises:
        Refusal: It is not what OpenAI's `/v1/embeddings` takes, or asks for what is not here.
    """
    given = Body.parsed(body, fields=_FIELDS)
    model, input_type = _model(given, names)
    return EmbeddingsRequest(
        texts=given.texts("input", most=limits.texts),
        model=model,
        input_type=input_type,
        encoding_format=given.choice("encoding_format", EncodingFormat) or EncodingFormat.FLOAT,
        dimensions=given.number("dimensions"),
    )


def _model(given: Body, names: Mapping[str, InputType | None]) -> tuple[str, InputType]:
    """The name asked for, and what the texts are. Documents, where nothing is said: they are most of what is sent."""
    model = asked_model(given, names)
    if model is None:
        own = [name for name, kind in names.items() if kind is None]
        raise given.wrong(
            "model", f"model is missing; it is {' or '.join(map(repr, own)) or 'none: no embedder here'}."
        )
    said = given.choice("input_type", InputType)
    if said is not None and names[model] not in (None, said):
        raise given.wrong(
            "input_type", f"input_type={said.value!r} contradicts model={model!r}; leave one of them out."
        )
    return model, said or names[model] or InputType.DOCUMENT


def asked_model(given: Body, names: Collection[str]) -> str | None:
    """Return the model that a body names; None where it names none.

    Raises:
        Refusal: It is none of those (404).
    """
    model = given.get("model")
    if model is not None and (not isinstance(model, str) or model not in names):
        raise Refusal(
            404,
            f"the model {shown(model)} is not served here; there are {', '.join(map(repr, names)) or 'none'}.",
            code="model_not_found",
            param="model",
        )
    return model
