"""Vectors -> the body of an answer in OpenAI's form. Pure functions."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.serving.requests import EmbeddingsRequest, EncodingFormat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# OpenAI's names of errors, by status.
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


def embeddings_answer(vectors: NDArray[np.float32], asked: EmbeddingsRequest, *, prompt_tokens: int) -> bytes:
    """Write the answer to a request; every encoding format keeps the exact float32 numbers.

    Args:
        vectors: Shape: (n_texts, dimensions).
        asked: The request.
        prompt_tokens: Tokens of all texts.
    """
    # Vector by vector, so that other threads get their turn in between.
    written = ",".join(
        f'{{"object":"embedding","index":{index},"embedding":{_written(vector, asked.encoding_format)}}}'
        for index, vector in enumerate(vectors)
    )
    usage = json.dumps({"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens})
    return f'{{"object":"list","data":[{written}],"model":{json.dumps(asked.model)},"usage":{usage}}}'.encode()


def error_answer(refusal: Refusal) -> bytes:
    """Write an error in the form that OpenAI's clients read."""
    kind = _TYPES.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")
    error = {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code}
    return json.dumps({"error": error}).encode()


def numbers(vector: NDArray[np.float32]) -> str:
    """Write a vector as a list of numbers."""
    return json.dumps(vector.tolist(), separators=(",", ":"))


def _written(vector: NDArray[np.float32], encoding_format: EncodingFormat) -> str:
    if encoding_format is EncodingFormat.BASE64:
        return f'"{base64.b64encode(vector.astype("<f4").tobytes()).decode()}"'
    return numbers(vector)
