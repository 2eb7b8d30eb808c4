"""`/v1/rerank` and `/v2/rerank`, as Cohere's and Jina's clients send them."""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.models.scoring import Activation
from intel_quantized_embeddings.serving.api import Answer, Api, Post
from intel_quantized_embeddings.serving.models import required
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.serving.rerank_requests import RerankRequest, parse_rerank

if TYPE_CHECKING:
    from intel_quantized_embeddings.serving.service import Encoded, Service


async def rerank(service: Service, body: bytes, *, version: str) -> Answer:
    """`POST /v1/rerank` and `/v2/rerank`."""
    models = service.models
    asked = parse_rerank(body, names=models.cross_encoders, limits=service.limits)
    named = None if asked.model is None else models.cross_encoders[asked.model]
    model = required(named or models.first_cross_encoder, status=404, what="cross-encoder")
    async with models.using(model) as running:
        if asked.max_tokens is not None and asked.max_tokens < running.model.max_length:
            raise Refusal(
                400,
                f"max_tokens_per_doc={asked.max_tokens} is not available: documents are cut where query and document "
                f"have {running.model.max_length} tokens together, so it is that or more.",
                param="max_tokens_per_doc",
            )
        pairs = [(asked.query, text) for text in asked.texts]
        encoded = await service.encoded(running, pairs, running.model.tokenize)
    write = partial(_answer, asked, encoded, name=model.name, version=version)
    return Answer(body=await service.off_the_loop(write), headers=encoded.headers)


def ranked(encoded: Encoded, *, raw: bool = False) -> list[tuple[int, float]]:
    """Put inputs in order, the best first; equal scores keep their order.

    Args:
        encoded: Scores before their activation.
        raw: Whether to return these; else they go through a sigmoid, to be from 0 to 1 for every model.

    Returns:
        The place and score of each.
    """
    given = encoded.rows[:, 0]
    scores = given if raw else Activation.SIGMOID.apply(given)
    # Sorted by the raw scores, because the sigmoid of several high scores is 1.
    return [(int(place), float(scores[place])) for place in np.argsort(-given, kind="stable")]


def error(refusal: Refusal) -> bytes:
    """Write an error: `message` is Cohere's, `detail` Jina's."""
    return json.dumps({"message": refusal.message, "detail": refusal.message}).encode()


def _answer(asked: RerankRequest, encoded: Encoded, *, name: str, version: str) -> bytes:
    results: list[dict[str, Any]] = []
    for place, score in ranked(encoded)[: asked.top_n]:
        result: dict[str, Any] = {"index": place, "relevance_score": score}
        if asked.return_documents:
            document = asked.documents[place]
            result["document"] = {"text": document} if isinstance(document, str) else document
        results.append(result)
    meta: dict[str, Any] = {"api_version": {"version": version}}
    if encoded.cut:
        meta["warnings"] = [f"{encoded.cut} documents were longer than the model takes with the query, and cut."]
    usage = {"prompt_tokens": encoded.tokens, "total_tokens": encoded.tokens}
    whole = {"id": str(uuid.uuid4()), "model": name, "object": "list", "results": results, "usage": usage, "meta": meta}
    # A document's other fields may hold half of a surrogate pair, which goes back as it came: JSON can spell it.
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


API = Api(
    error=error,
    posts=(
        Post(path="/v1/rerank", answer=partial(rerank, version="1")),
        Post(path="/v2/rerank", answer=partial(rerank, version="2")),
    ),
)
