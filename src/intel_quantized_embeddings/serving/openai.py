"""OpenAI's `/v1/embeddings` and `/v1/models`."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.serving.answers import embeddings_answer, error_answer
from intel_quantized_embeddings.serving.api import Answer, Api, Get, Post
from intel_quantized_embeddings.serving.bodies import kept_dimensions
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.serving.requests import InputType, parse_request
from intel_quantized_embeddings.vectors import truncated

if TYPE_CHECKING:
    from starlette.requests import Request

    from intel_quantized_embeddings.serving.service import Service


async def embeddings(service: Service, body: bytes) -> Answer:
    """`POST /v1/embeddings`."""
    asked = parse_request(body, names=service.models.input_types, limits=service.limits)
    async with service.models.using(service.models.embedders[asked.model]) as running:
        encoder = running.model
        dimensions = kept_dimensions(asked.dimensions, encoder.dimension)
        settings = encoder.settings
        is_query = asked.input_type is InputType.QUERY
        instruction = settings.query_instruction if is_query else settings.document_instruction
        encoded = await service.encoded(running, asked.texts, partial(encoder.tokenize, instruction=instruction))
        vectors = encoded.rows
        if dimensions != encoder.dimension:
            vectors = truncated(vectors, dimensions, normalize=settings.normalize)
    write = partial(embeddings_answer, vectors, asked, prompt_tokens=encoded.tokens)
    return Answer(body=await service.off_the_loop(write), headers=encoded.headers)


async def models(service: Service, request: Request) -> Answer:
    """`GET /v1/models`."""
    cards = [_model_card(name) for name in service.models.names]
    return Answer(body=json.dumps({"object": "list", "data": cards}).encode())


async def model(service: Service, request: Request) -> Answer:
    """`GET /v1/models/NAME`."""
    name = request.path_params["name"]
    if name not in service.models.names:
        raise Refusal(404, f"the model {name!r} is not served here.", code="model_not_found", param="model")
    return Answer(body=json.dumps(_model_card(name)).encode())


def _model_card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "intel-quantized-embeddings"}


API = Api(
    error=error_answer,
    posts=(Post(path="/v1/embeddings", answer=embeddings), Post(path="/embeddings", answer=embeddings)),
    gets=(Get(path="/v1/models", answer=models), Get(path="/v1/models/{name:path}", answer=model)),
)
