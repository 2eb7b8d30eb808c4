"""The routes for operators of a service: `/health` and `/metrics`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from intel_quantized_embeddings.serving.answers import error_answer
from intel_quantized_embeddings.serving.api import Answer, Api, Get

if TYPE_CHECKING:
    from starlette.requests import Request

    from intel_quantized_embeddings.serving.service import Service


async def health(service: Service, request: Request) -> Answer:
    """`GET /health`: 200 while texts are accepted."""
    healthy = service.models.are_running
    said = json.dumps({"status": "ok" if healthy else "stopping"}, separators=(",", ":"))
    return Answer(body=said.encode(), status=200 if healthy else 503)


async def metrics(service: Service, request: Request) -> Answer:
    """`GET /metrics`, for Prometheus."""
    return Answer(body=service.metrics.text(), media_type=service.metrics.content_type)


API = Api(
    error=error_answer,
    gets=(Get(path="/health", answer=health, public=True), Get(path="/metrics", answer=metrics)),
)
