"""The routes of Hugging Face's text-embeddings-inference, as its version 1.9 answers them.

They name no model: the first embedder, the first cross-encoder, or the first sparse model answers.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.models.tokens import tokens_of
from intel_quantized_embeddings.options import Pooling, Precision
from intel_quantized_embeddings.serving.answers import numbers
from intel_quantized_embeddings.serving.api import Answer, Api, Get, Post
from intel_quantized_embeddings.serving.bodies import Body, kept_dimensions
from intel_quantized_embeddings.serving.models import required
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.serving.rerank import ranked
from intel_quantized_embeddings.serving.tei_inputs import prompt_named, tokenizing, too_long
from intel_quantized_embeddings.serving.tei_requests import (
    EMPTY,
    WRONG,
    EmbedRequest,
    parse_body,
    parse_decode,
    parse_embed,
    parse_rank,
    parse_similarity,
    parse_tokenize,
)
from intel_quantized_embeddings.vectors import truncated, unit
from intel_quantized_embeddings.version import __version__

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from starlette.requests import Request

    from intel_quantized_embeddings.encoders.encoder import Encoder
    from intel_quantized_embeddings.serving.service import Encoded, Service

# The status of a route that needs another kind of model, and of a failure of the model.
_BACKEND = 424
# A text with more characters than this for each token that a model takes is not tokenized.
_MOST_CHARACTERS_A_TOKEN = 250
_ERROR_TYPES = {401: "Unauthorized", 424: "Backend", 429: "Overloaded", 500: "Backend", 503: "Unhealthy"}
_DTYPES = {Precision.FP32: "float32", Precision.BF16: "bfloat16"}
_POOLINGS = {Pooling.LAST.value: "last_token"}


async def embed(service: Service, body: Body) -> Answer:
    """`POST /embed`."""
    asked = parse_embed(body, limits=service.limits, defaults=service.tei_defaults)
    vectors, encoded = await _vectors(service, asked)
    written = await service.off_the_loop(lambda: f"[{','.join(map(numbers, vectors))}]".encode())
    return Answer(body=written, headers=_headers(asked.texts, encoded))


async def embed_sparse(service: Service, body: Body) -> Answer:
    """`POST /embed_sparse`: of each text the tokens whose weight is not zero, by their ids.

    Of a Router, texts after the prompts "query" and "document" go to the model for these, others its default way.
    """
    asked = parse_embed(body, limits=service.limits, defaults=service.tei_defaults)
    model = required(service.models.first_sparse, status=_BACKEND, what="sparse model")
    async with service.models.using(model) as loaded:
        running = loaded.after(asked.prompt_name)
        encoded = await service.encoded(
            running,
            asked.texts,
            tokenizing(
                running.model.tokenize, instruction=prompt_named(running, asked.prompt_name), cut=asked.cutting.side
            ),
            too_long=too_long(asked.cutting, running, "inputs"),
        )

    def written() -> bytes:
        texts = [
            [{"index": place, "value": weight} for place, weight in zip(ids.tolist(), weights.tolist(), strict=True)]
            for ids, weights in encoded.rows
        ]
        return json.dumps(texts, separators=(",", ":")).encode()

    return Answer(body=await service.off_the_loop(written), headers=_headers(asked.texts, encoded))


async def similarity(service: Service, body: Body) -> Answer:
    """`POST /similarity`: cosines, also for models with another similarity."""
    asked = parse_similarity(body, limits=service.limits, defaults=service.tei_defaults)
    vectors, encoded = await _vectors(service, asked)
    directions = unit(vectors)
    return Answer(body=numbers(directions[1:] @ directions[0]).encode(), headers=_headers(asked.texts, encoded))


async def rerank(service: Service, body: Body) -> Answer:
    """`POST /rerank`."""
    if body.get("documents") is not None and body.get("texts") is None:
        raise body.wrong("texts", "texts is missing. Requests with documents, as Cohere has them, go to /v1/rerank.")
    asked = parse_rank(body, limits=service.limits, defaults=service.tei_defaults)
    model = required(service.models.first_cross_encoder, status=_BACKEND, what="cross-encoder")
    pairs = [(asked.query, text) for text in asked.texts]
    async with service.models.using(model) as running:
        encoded = await service.encoded(
            running,
            pairs,
            tokenizing(running.model.tokenize, cut=asked.cutting.side),
            too_long=too_long(asked.cutting, running, "texts"),
        )
    ranks = []
    for place, score in ranked(encoded, raw=asked.raw_scores):
        text = {"text": asked.texts[place]} if asked.return_text else {}
        ranks.append({"index": place, **text, "score": score})
    written = json.dumps(ranks, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(body=written, headers=_headers([text for pair in pairs for text in pair], encoded))


async def tokenize(service: Service, body: Body) -> Answer:
    """`POST /tokenize`."""
    asked = parse_tokenize(body, limits=service.limits, defaults=service.tei_defaults)
    async with service.models.using(_any(service)) as running:
        instruction = prompt_named(running, asked.prompt_name)
        most = running.model.max_length * _MOST_CHARACTERS_A_TOKEN
        if any(len(text) > most for text in asked.texts):
            raise Refusal(WRONG, f"`inputs` must have less than {most} characters.", param="inputs")
        tokenizer = running.model.tokenizer

        def written() -> bytes:
            tokens = [
                [
                    asdict(token)
                    for token in tokens_of(tokenizer, instruction + text, special_tokens=asked.special_tokens)
                ]
                for text in asked.texts
            ]
            return json.dumps(tokens, ensure_ascii=False, separators=(",", ":")).encode()

        return Answer(body=await service.off_the_loop(written))


async def decode(service: Service, body: Body) -> Answer:
    """`POST /decode`."""
    asked = parse_decode(body, limits=service.limits)
    async with service.models.using(_any(service)) as running:
        tokenizer = running.model.tokenizer

        def written() -> bytes:
            skip = asked.skip_special_tokens
            texts = [tokenizer.uncut.decode(ids, skip_special_tokens=skip) for ids in asked.ids]
            return json.dumps(texts, ensure_ascii=False).encode()

        return Answer(body=await service.off_the_loop(written))


async def root(service: Service, body: Body) -> Answer:
    """`POST /`, where clients of inference endpoints ask; the body's fields decide the route."""
    if body.get("query") is not None and body.get("texts") is not None:
        return await rerank(service, body)
    return await (similarity if isinstance(body.get("inputs"), dict) else embed)(service, body)


async def not_here(service: Service, body: Body) -> Answer:
    """`POST /embed_all` and `/predict`, for kinds of models that are not served."""
    raise Refusal(_BACKEND, "the models here give a vector a text, or a score a pair: /embed, /similarity, /rerank.")


async def info(service: Service, request: Request) -> Answer:
    """`GET /info`: of the model of `/embed`, else that of `/rerank`."""
    served = _any(service)
    async with service.models.using(served) as running:
        model = running.model
        kind: dict[str, Any] = {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}
        if not served.scores_pairs:
            pooling = model.settings.pooling_name
            kind = {"embedding": {"pooling": _POOLINGS.get(pooling, pooling)}}
        told = {
            "model_id": served.name if model.options is None else str(model.options.model),
            "model_sha": None,
            "model_dtype": None if model.precision is None else _DTYPES.get(model.precision, model.precision.value),
            "served_model_name": served.name,
            "model_type": kind,
            "max_concurrent_requests": service.limits.waiting_requests,
            "max_input_length": model.max_length,
            "max_batch_tokens": service.limits.round_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": service.limits.texts,
            "auto_truncate": service.tei_defaults.auto_truncate,
            "tokenization_workers": service.tokenizing_threads,
            "version": __version__,
            "sha": None,
            "docker_label": None,
        }
    return Answer(body=json.dumps(told).encode())


async def alive(service: Service, request: Request) -> Answer:
    """`GET /` and `/ping`: 200 while texts are accepted."""
    return Answer(body=b"", status=200 if service.models.are_running else 503)


def error(refusal: Refusal) -> bytes:
    """Write an error as text-embeddings-inference does."""
    kind = "Empty" if refusal.code == EMPTY else _ERROR_TYPES.get(refusal.status, "Validation")
    return json.dumps({"error": refusal.message, "error_type": kind}).encode()


async def _vectors(service: Service, asked: EmbedRequest) -> tuple[NDArray[np.float32], Encoded]:
    """Encode texts after the named prompt, or, as text-embeddings-inference does, after none by default."""
    model = required(service.models.first_embedder, status=_BACKEND, what="embedder")
    async with service.models.using(model) as running:
        encoder: Encoder = running.model
        dimensions = kept_dimensions(asked.dimensions, encoder.dimension, status=WRONG)
        encoded = await service.encoded(
            running,
            asked.texts,
            tokenizing(encoder.tokenize, instruction=prompt_named(running, asked.prompt_name), cut=asked.cutting.side),
            too_long=too_long(asked.cutting, running, "inputs"),
        )
        already_unit = encoder.settings.normalize
        if dimensions != encoder.dimension:
            return truncated(encoded.rows, dimensions, normalize=asked.normalize or already_unit), encoded
    return unit(encoded.rows) if asked.normalize and not already_unit else encoded.rows, encoded


def _any(service: Service) -> Any:
    models = service.models
    return required(
        models.first_embedder or models.first_cross_encoder or models.first_sparse, status=_BACKEND, what="model"
    )


def _headers(texts: list[str], encoded: Encoded) -> dict[str, str]:
    return {
        "x-compute-type": "cpu",
        "x-compute-characters": str(sum(map(len, texts))),
        "x-compute-tokens": str(encoded.tokens),
        **encoded.headers,
    }


def _post(path: str, answer: Callable[[Service, Body], Awaitable[Answer]]) -> Post:
    async def of_bytes(service: Service, raw: bytes) -> Answer:
        return await answer(service, parse_body(raw))

    return Post(path=path, answer=of_bytes)


API = Api(
    error=error,
    failure=_BACKEND,
    posts=(
        _post("/embed", embed),
        _post("/similarity", similarity),
        _post("/rerank", rerank),
        _post("/tokenize", tokenize),
        _post("/decode", decode),
        _post("/", root),
        _post("/invocations", root),
        _post("/embed_all", not_here),
        _post("/embed_sparse", embed_sparse),
        _post("/predict", not_here),
    ),
    gets=(
        Get(path="/info", answer=info),
        Get(path="/", answer=alive, public=True),
        Get(path="/ping", answer=alive, public=True),
    ),
)
