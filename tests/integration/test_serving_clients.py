"""Clients of other servers, as they are published, against `iqe serve`: only the address and the name are ours."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
pytest.importorskip("prometheus_client", reason="the serve extra is not installed")

from intel_quantized_embeddings import CrossEncoder
from intel_quantized_embeddings.serving.served import ServedModel
from support.services import Service, service_in_thread

KEY = "secret"
QUERY = "where does the river end?"
TEXTS = ["the cat sat on the mat", "a river ends in the sea", "what is that mountain made of?", "日本語 😀"]
LONG = "what is that mountain made of? " * 20


@pytest.fixture(scope="module")
def model(tiny_cross_encoder_int8):
    return CrossEncoder.load(tiny_cross_encoder_int8)


@pytest.fixture(scope="module")
def service(tiny_encoder, model):
    with service_in_thread(tiny_encoder, ServedModel.of(model, name="judge"), api_keys=[KEY]) as running:
        yield running


@pytest.fixture(scope="module")
def vectors(tiny_encoder) -> np.ndarray:
    """What text-embeddings-inference gives of texts: nothing is put before them."""
    return tiny_encoder.encode(TEXTS, instruction="")


@pytest.fixture(scope="module")
def ranking(model) -> list[tuple[int, float]]:
    """Places and scores, the best first."""
    scores = model.score([(QUERY, text) for text in TEXTS])
    return [(int(place), float(scores[place])) for place in np.argsort(-scores, kind="stable")]


class TestHuggingFaceHub:
    @pytest.fixture
    def client(self, service):
        from huggingface_hub import InferenceClient

        return InferenceClient(service.url, api_key=KEY)

    def test_feature_extraction(self, client, vectors, tiny_encoder):
        assert np.array_equal(client.feature_extraction(TEXTS), vectors)
        assert np.array_equal(client.feature_extraction(TEXTS[0]), vectors[:1])
        queries = client.feature_extraction(TEXTS, prompt_name="query", normalize=True)
        assert np.array_equal(queries, tiny_encoder.encode_queries(TEXTS))

    def test_long_texts_are_refused_or_cut_as_asked(self, client, tiny_encoder):
        from huggingface_hub.errors import HfHubHTTPError

        with pytest.raises(HfHubHTTPError) as refused:
            client.feature_extraction(LONG)
        assert refused.value.response.status_code == 422
        expected = tiny_encoder.encode([LONG], instruction="")
        assert np.array_equal(client.feature_extraction(LONG, truncate=True, truncation_direction="right"), expected)

    def test_sentence_similarity(self, client, vectors):
        found = client.sentence_similarity(TEXTS[0], other_sentences=TEXTS[1:])
        assert found == pytest.approx((vectors[1:] @ vectors[0]).tolist(), abs=1e-6)

    def test_a_wrong_key_is_told(self, service):
        from huggingface_hub import InferenceClient
        from huggingface_hub.errors import HfHubHTTPError

        with pytest.raises(HfHubHTTPError) as refused:
            InferenceClient(service.url, api_key="wrong").feature_extraction("a")
        assert refused.value.response.status_code == 401


class TestHaystack:
    @pytest.fixture(scope="class")
    def embedders(self):
        return pytest.importorskip(
            "haystack_integrations.components.embedders.huggingface_api",
            reason="huggingface-api-haystack is not installed",
        )

    def test_embedders(self, embedders, service, vectors):
        from haystack import Document
        from haystack.utils import Secret

        asked = {
            "api_type": "text_embeddings_inference",
            "api_params": {"url": service.url},
            "token": Secret.from_token(KEY),
        }
        texts = embedders.HuggingFaceAPITextEmbedder(**asked)
        assert np.array_equal(np.float32(texts.run(TEXTS[0])["embedding"]), vectors[0])
        documents = embedders.HuggingFaceAPIDocumentEmbedder(**asked, progress_bar=False)
        embedded = documents.run([Document(content=text) for text in TEXTS])["documents"]
        assert np.array_equal(np.float32([document.embedding for document in embedded]), vectors)

    def test_ranker(self, embedders, service, ranking):
        from haystack import Document
        from haystack.utils import Secret
        from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker

        ranker = HuggingFaceTEIRanker(url=service.url, token=Secret.from_token(KEY))
        found = ranker.run(query=QUERY, documents=[Document(content=text) for text in TEXTS])["documents"]
        assert [(TEXTS.index(document.content), document.score) for document in found] == ranking


class TestLangChain:
    def test_hugging_face_endpoint_embeddings(self, service, vectors):
        """Its versions of today refuse addresses as `model`, and take the hub's clients."""
        package = pytest.importorskip("langchain_huggingface", reason="langchain-huggingface is not installed")
        from huggingface_hub import AsyncInferenceClient, InferenceClient

        embeddings = package.HuggingFaceEndpointEmbeddings()
        embeddings.client = InferenceClient(service.url, api_key=KEY)
        embeddings.async_client = AsyncInferenceClient(service.url, api_key=KEY)
        assert np.array_equal(np.float32(embeddings.embed_documents(TEXTS)), vectors)
        assert np.array_equal(np.float32(embeddings.embed_query(TEXTS[1])), vectors[1])
        found = asyncio.run(embeddings.aembed_documents(TEXTS))
        assert np.array_equal(np.float32(found), vectors)

    def test_cohere_rerank(self, service, ranking):
        package = pytest.importorskip("langchain_cohere", reason="langchain-cohere is not installed")
        from langchain_core.documents import Document

        reranker = package.CohereRerank(model="judge", base_url=service.url, cohere_api_key=KEY, top_n=3)
        found = reranker.compress_documents([Document(text) for text in TEXTS], QUERY)
        assert [TEXTS.index(document.page_content) for document in found] == [place for place, _ in ranking[:3]]
        assert [document.metadata["relevance_score"] for document in found] == [score for _, score in ranking[:3]]
        objects = [{"title": "Rivers", "text": text} for text in TEXTS]
        assert len(reranker.rerank(objects, QUERY, rank_fields=["title", "text"], max_tokens_per_doc=4096)) == 3


class TestLlamaIndex:
    def ranked(self, postprocessor) -> list[tuple[int, float]]:
        """What a postprocessor makes of the texts, in its order."""
        from llama_index.core.schema import NodeWithScore, TextNode

        nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in TEXTS]
        found = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
        return [(TEXTS.index(one.node.get_content()), one.score) for one in found]

    def test_text_embeddings_inference(self, service, vectors):
        package = pytest.importorskip(
            "llama_index.embeddings.text_embeddings_inference",
            reason="llama-index-embeddings-text-embeddings-inference is not installed",
        )
        embedding = package.TextEmbeddingsInference(
            model_name="tiny", base_url=service.url, auth_token=KEY, text_instruction=" ", query_instruction=" "
        )
        found = np.float32(embedding.get_text_embedding_batch(TEXTS))
        assert np.array_equal(found, vectors)
        assert np.array_equal(np.float32(embedding.get_query_embedding(TEXTS[1])), vectors[1])
        assert np.array_equal(np.float32(asyncio.run(embedding.aget_text_embedding_batch(TEXTS))), vectors)

    def test_tei_rerank(self, service, ranking):
        package = pytest.importorskip(
            "llama_index.postprocessor.tei_rerank", reason="llama-index-postprocessor-tei-rerank is not installed"
        )
        reranker = package.TextEmbeddingInference(base_url=service.url, auth_token=f"Bearer {KEY}", top_n=3)
        assert self.ranked(reranker) == ranking[:3]

    def test_cohere_rerank(self, service, ranking):
        package = pytest.importorskip(
            "llama_index.postprocessor.cohere_rerank",
            reason="llama-index-postprocessor-cohere-rerank is not installed",
        )
        reranker = package.CohereRerank(model="judge", api_key=KEY, base_url=service.url, top_n=3)
        assert self.ranked(reranker) == ranking[:3]

    def test_jina_rerank(self, service, ranking):
        package = pytest.importorskip(
            "llama_index.postprocessor.jinaai_rerank",
            reason="llama-index-postprocessor-jinaai-rerank is not installed",
        )
        asked = {"base_url": f"{service.url}/v1", "api_key": KEY, "top_n": 3}
        assert self.ranked(package.JinaRerank(model="judge", **asked)) == ranking[:3]
        with pytest.raises(RuntimeError, match="'jina-reranker-v1-base-en' is not served here; there are 'judge'"):
            self.ranked(package.JinaRerank(**asked))


class TestCohere:
    @pytest.fixture
    def cohere(self):
        return pytest.importorskip("cohere", reason="cohere is not installed")

    def test_both_versions_of_the_client(self, cohere, service, ranking):
        first = cohere.Client(KEY, base_url=service.url).rerank(
            model="judge", query=QUERY, documents=TEXTS, top_n=2, return_documents=True
        )
        assert [(one.index, one.relevance_score) for one in first.results] == ranking[:2]
        assert [one.document.text for one in first.results] == [TEXTS[place] for place, _ in ranking[:2]]
        second = cohere.ClientV2(KEY, base_url=service.url).rerank(model="judge", query=QUERY, documents=TEXTS)
        assert [(one.index, one.relevance_score) for one in second.results] == ranking
        assert second.meta.api_version.version == "2"

    def test_objects_of_the_first_version(self, cohere, service, model):
        documents = [{"title": "Rivers", "text": text} for text in TEXTS]
        client = cohere.Client(KEY, base_url=service.url)
        answer = client.rerank(model="judge", query=QUERY, documents=documents, rank_fields=["title", "text"])
        expected = model.score([(QUERY, f"title: Rivers\ntext: {text}") for text in TEXTS])
        assert {one.index: np.float32(one.relevance_score) for one in answer.results} == dict(enumerate(expected))

    def test_mistakes_are_the_clients_own_errors(self, cohere, service):
        client = cohere.ClientV2(KEY, base_url=service.url)
        with pytest.raises(cohere.NotFoundError, match="is not served here; there are 'judge'"):
            client.rerank(model="rerank-v3.5", query=QUERY, documents=TEXTS)
        with pytest.raises(cohere.BadRequestError, match="one at least"):
            client.rerank(model="judge", query=QUERY, documents=[])
        with pytest.raises(cohere.UnauthorizedError, match="no API key"):
            cohere.ClientV2("wrong", base_url=service.url).rerank(model="judge", query=QUERY, documents=TEXTS)


def test_opentelemetrys_agent_traces_the_routes(tiny_int8):
    """As docs/serving.md starts it, with what the spans go to in the place of a collector."""
    pytest.importorskip(
        "opentelemetry.instrumentation.starlette", reason="opentelemetry-instrumentation-starlette is not installed"
    )
    agent = shutil.which("opentelemetry-instrument", path=os.path.dirname(sys.executable))
    if agent is None:
        pytest.skip("opentelemetry-distro is not installed")
    exporters = {f"OTEL_{kind}_EXPORTER": "none" for kind in ("METRICS", "LOGS")} | {"OTEL_TRACES_EXPORTER": "console"}
    command = [agent, sys.executable, "-m", "intel_quantized_embeddings.cli", "serve", "--port", "0", str(tiny_int8)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | exporters
    )
    try:
        port = next(found[1] for line in process.stderr if (found := re.search(r"on http://\S+:(\d+)/v1", line)))
        assert Service(int(port)).post("/embed", {"inputs": "a"})[0] == 200
        process.send_signal(signal.SIGTERM)
        spans = process.communicate(timeout=60)[0]
    finally:
        process.kill()
        process.wait()
    decoder, told, start = json.JSONDecoder(), [], spans.find("{")
    while start >= 0:
        span, end = decoder.raw_decode(spans, start)
        told.append((span["name"], span["kind"], span["attributes"].get("http.status_code")))
        start = spans.find("{", end)
    assert ("POST /embed", "SpanKind.SERVER", 200) in told
