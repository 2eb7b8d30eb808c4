"""Whatever is sent to the routes that rank, and to text-embeddings-inference's, is a request or a refusal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings.serving import tei_requests
from intel_quantized_embeddings.serving.limits import Limits
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.serving.rerank_requests import parse_rerank

LIMITS = Limits(texts=10)
DEFAULTS = tei_requests.Defaults()
words = st.text("ab:é\ud800\n\x00 ") | st.sampled_from(["left", "Right", "judge", "text"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=10,
)
FIELDS = [
    *("inputs", "truncate", "truncation_direction", "prompt_name", "normalize", "dimensions", "parameters"),
    *("query", "texts", "raw_scores", "return_text", "ids", "skip_special_tokens", "add_special_tokens"),
    *("model", "documents", "top_n", "return_documents", "rank_fields", "max_tokens_per_doc"),
]
PARSERS = {
    "embed": lambda body: tei_requests.parse_embed(body, limits=LIMITS, defaults=DEFAULTS).texts,
    "similarity": lambda body: tei_requests.parse_similarity(body, limits=LIMITS, defaults=DEFAULTS).texts,
    "rank": lambda body: tei_requests.parse_rank(body, limits=LIMITS, defaults=DEFAULTS).texts,
    "tokenize": lambda body: tei_requests.parse_tokenize(body, limits=LIMITS, defaults=DEFAULTS).texts,
    "decode": lambda body: tei_requests.parse_decode(body, limits=LIMITS).ids,
}


@pytest.mark.parametrize("route", PARSERS)
@given(
    body=st.binary() | st.dictionaries(st.sampled_from(FIELDS), anything).map(lambda body: json.dumps(body).encode())
)
def test_anything_to_text_embeddings_inferences_routes(route, body):
    try:
        items = PARSERS[route](tei_requests.parse_body(body))
    except Refusal as exc:
        refusal = exc
    else:
        assert 1 <= len(items) <= LIMITS.texts
        return
    assert refusal.status in (400, 422)
    assert refusal.message


@given(st.binary() | st.dictionaries(st.sampled_from(FIELDS), anything).map(lambda body: json.dumps(body).encode()))
def test_anything_to_rank(body):
    try:
        asked = parse_rerank(body, names=["judge"], limits=LIMITS)
    except Refusal as exc:
        refusal = exc
    else:
        assert 1 <= len(asked.texts) == len(asked.documents) <= LIMITS.texts
        return
    assert refusal.status in (400, 404)
    assert refusal.message
