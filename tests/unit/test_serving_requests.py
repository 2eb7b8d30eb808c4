"""A body is a request or a refusal that says what is wrong; nothing else, whatever is sent."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.serving.answers import error_answer
from intel_quantized_embeddings.serving.bodies import kept_dimensions
from intel_quantized_embeddings.serving.limits import Limits
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.serving.requests import (
    EmbeddingsRequest,
    EncodingFormat,
    InputType,
    model_names,
    parse_request,
)

LIMITS = Limits(texts=10)


def parse(body: bytes | dict) -> EmbeddingsRequest:
    raw = body if isinstance(body, bytes) else json.dumps({"model": "minilm", "input": "text"} | body).encode()
    asked = parse_request(raw, names=model_names("minilm"), limits=LIMITS)
    return replace(asked, dimensions=kept_dimensions(asked.dimensions, 384))


words = st.text("ab:é\ud800\n\x00 ")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from(["model", "input", "encoding_format", "dimensions", "input_type", "user", "modle"])
bodies = st.dictionaries(fields, anything | st.sampled_from(["minilm", "float", "query", 8]))


@given(st.binary() | anything.map(lambda body: json.dumps(body).encode()) | bodies)
def test_anything_is_a_request_or_a_refusal(body):
    try:
        parsed = parse(body)
    except Refusal as exc:
        refusal = exc
    else:
        assert 1 <= len(parsed.texts) <= LIMITS.texts
        assert 1 <= parsed.dimensions <= 384
        return
    error = json.loads(error_answer(refusal))["error"]
    assert refusal.status in (400, 404)
    assert error["message"]
    assert error["type"] == "invalid_request_error"


def test_what_openai_takes():
    parsed = parse({"input": ["a", ""], "encoding_format": "base64", "dimensions": 8, "user": "someone"})
    assert parsed == EmbeddingsRequest(
        texts=["a", ""],
        model="minilm",
        input_type=InputType.DOCUMENT,
        encoding_format=EncodingFormat.BASE64,
        dimensions=8,
    )
    assert parse({}).encoding_format is EncodingFormat.FLOAT
    assert parse({}).texts == ["text"]
    assert parse({"dimensions": None, "user": None}).dimensions == 384


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, InputType.DOCUMENT),
        ({"input_type": "query"}, InputType.QUERY),
        ({"model": "minilm:query"}, InputType.QUERY),
        ({"model": "minilm:document"}, InputType.DOCUMENT),
        ({"model": "minilm:query", "input_type": "query"}, InputType.QUERY),
    ],
)
def test_queries_are_told_from_documents(body, kind):
    assert parse(body).input_type is kind


@pytest.mark.parametrize(
    ("body", "status", "param", "message"),
    [
        (b"", 400, None, "not JSON"),
        (b"\xff\xfe\x00", 400, None, "not JSON"),
        (b"[" * 100_000, 400, None, "not JSON"),
        (b"1" * 5_000, 400, None, "not JSON"),
        (b"[]", 400, None, "a JSON object is expected"),
        ({"inputs": "a"}, 400, "inputs", "'inputs' is not known here; there are input, model"),
        ({"model": None}, 400, "model", "it is 'minilm'"),
        ({"model": "gpt-4"}, 404, "model", "'gpt-4' is not served here; there are 'minilm', 'minilm:query'"),
        ({"model": ["minilm"]}, 404, "model", "not served here"),
        ({"input": None}, 400, "input", "input is missing"),
        ({"input": []}, 400, "input", "one at least"),
        ({"input": {"text": "a"}}, 400, "input", "a string or a list of strings"),
        ({"input": ["a"] * 11}, 400, "input", "11 texts; a request takes 10 at most"),
        ({"input": [1, 2]}, 400, "input", "check_embedding_ctx_length=False"),
        ({"input": [[1, 2]]}, 400, "input", "check_embedding_ctx_length=False"),
        ({"input": ["a", None]}, 400, "input", "text 1 is None"),
        ({"input": ["\ud800"]}, 400, "input", "lone surrogate"),
        ({"encoding_format": "int8"}, 400, "encoding_format", "'float' or 'base64'"),
        ({"encoding_format": ["float"]}, 400, "encoding_format", "'float' or 'base64'"),
        ({"dimensions": 0}, 400, "dimensions", "1 or more"),
        ({"dimensions": 385}, 400, "dimensions", "1 to 384"),
        ({"dimensions": True}, 400, "dimensions", "1 or more"),
        ({"input_type": "passage"}, 400, "input_type", "'query' or 'document'"),
        ({"model": "minilm:query", "input_type": "document"}, 400, "input_type", "contradicts model='minilm:query'"),
    ],
)
def test_mistakes_are_told(body, status, param, message):
    with pytest.raises(Refusal) as refused:
        parse(body)
    error = json.loads(error_answer(refused.value))["error"]
    assert (refused.value.status, error["param"]) == (status, param)
    assert message in error["message"]
    assert len(error["message"]) < 400


@pytest.mark.parametrize(
    "wrong", [{"texts": 0}, {"body_bytes": 1.5}, {"request_seconds": 0}, {"stop_seconds": float("nan")}]
)
def test_limits_are_checked(wrong):
    with pytest.raises(OptionError, match=f"{next(iter(wrong))}="):
        Limits(**wrong)
