"""The body of a request for embeddings, of OpenAI's clients -> a checked request or a refusal. Pure functions."""

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
    """A client's request: its texts, the model's name, the kind of texts, and the vectors' form and length.

    `dimensions` is None for the model's own, and may be more than the model has.
    """

    texts: list[str]
    model: str
    input_type: InputType
    encoding_format: EncodingFormat
    dimensions: int | None


def model_names(name: str) -> dict[str, InputType | None]:
    """Return the names of a served model, and the kind of texts if the name gives it."""
    return {name: None} | {f"{name}:{kind.value}": kind for kind in InputType}


def parse_request(body: bytes, *, names: Mapping[str, InputType | None], limits: Limits) -> EmbeddingsRequest:
    """Read and check the body of a request to one of the models of some names.

    Raises:
        Refusal: The body is not one of OpenAI's `/v1/embeddings`, or names an unknown model.
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
    """Return the name asked for, and the kind of texts: documents by default, because most texts are documents."""
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
    """Return the model that a body names; None if it names none.

    Raises:
        Refusal: The model is not served (404).
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
