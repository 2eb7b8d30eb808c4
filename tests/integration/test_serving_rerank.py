"""`/v1/rerank` and `/v2/rerank`, as Cohere's and Jina's clients ask."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
pytest.importorskip("prometheus_client", reason="the serve extra is not installed")

from intel_quantized_embeddings import CrossEncoder
from intel_quantized_embeddings.serving.limits import Limits
from support.services import service_in_process, service_in_thread

QUERY = "where does the river end?"
DOCUMENTS = [
    "the cat sat on the mat",
    "a river ends in the sea",
    "",
    "what is that mountain made of? " * 20,
    "日本語 😀",
]


@pytest.fixture(scope="module")
def model(tiny_cross_encoder_int8):
    return CrossEncoder.load(tiny_cross_encoder_int8)


@pytest.fixture(scope="module")
def service(model):
    with service_in_thread(model, name="judge") as running:
        yield running


def ask(service, body: dict, *, path: str = "/v1/rerank"):
    return service.post(path, {"query": QUERY, "documents": DOCUMENTS} | body)


class TestAnswers:
    @pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
    def test_scores_are_the_cross_encoders_bit_by_bit_the_best_first(self, service, model, path):
        status, answer = ask(service, {"model": "judge"}, path=path)
        assert status == 200
        expected = model.score([(QUERY, document) for document in DOCUMENTS])
        order = [result["index"] for result in answer["results"]]
        assert order == np.argsort(-expected, kind="stable").tolist()
        scores = [result["relevance_score"] for result in answer["results"]]
        assert np.array(scores, dtype=np.float32).tobytes() == expected[order].tobytes()
        assert all(set(result) == {"index", "relevance_score"} for result in answer["results"])
        assert answer["model"] == "judge"
        assert answer["meta"]["api_version"]["version"] == path[2]

    def test_without_a_model_the_service_has_one(self, service):
        assert ask(service, {})[1]["model"] == "judge"
        assert ask(service, {"model": None})[1]["model"] == "judge"

    def test_top_n_are_the_best(self, service):
        every = ask(service, {})[1]["results"]
        assert ask(service, {"top_n": 2})[1]["results"] == every[:2]
        assert ask(service, {"top_n": 100})[1]["results"] == every

    def test_documents_come_back_where_they_are_asked_for(self, service):
        documents = ["a river", {"text": "the sea", "title": "Sea"}, {"text": "日本語"}]
        _, answer = ask(service, {"documents": documents, "return_documents": True})
        returned = {result["index"]: result["document"] for result in answer["results"]}
        assert returned == {0: {"text": "a river"}, 1: documents[1], 2: documents[2]}

    def test_half_of_a_surrogate_pair_beside_the_text_comes_back_as_it_was(self, service):
        """JSON can spell it and UTF-8 can't: the answer was a failure of the service."""
        documents = [{"text": "日本語", "title": "\ud800", "\udfff": 1}]
        status, answer = ask(service, {"documents": documents, "return_documents": True})
        assert status == 200
        assert answer["results"][0]["document"] == documents[0]

    def test_objects_are_read_by_their_text_or_the_fields_that_are_named(self, service, model):
        documents = [{"title": "Rivers", "text": "They end in the sea.", "year": 1999}]
        (by_text,) = ask(service, {"documents": documents})[1]["results"]
        (by_fields,) = ask(service, {"documents": documents, "rank_fields": ["year", "title"]})[1]["results"]
        expected = model.score([(QUERY, "They end in the sea."), (QUERY, "year: 1999\ntitle: Rivers")])
        scores = np.array([by_text["relevance_score"], by_fields["relevance_score"]], dtype=np.float32)
        assert scores.tobytes() == expected.tobytes()

    def test_scores_of_a_model_without_activation_are_between_0_and_1_too(self, tmp_path):
        """Cohere's are, and thresholds are made for them."""
        from support.tiny_models import write_tiny_cross_encoder

        folder = write_tiny_cross_encoder(tmp_path / "logits", activation="torch.nn.modules.linear.Identity")
        model = CrossEncoder.load(folder)
        logits = model.score([(QUERY, document) for document in DOCUMENTS])
        with service_in_thread(model, name="logits") as service:
            results = ask(service, {})[1]["results"]
        assert [result["index"] for result in results] == np.argsort(-logits, kind="stable").tolist()
        expected = 1 / (1 + np.exp(-logits.astype(np.float64)))
        for result in results:
            assert result["relevance_score"] == pytest.approx(expected[result["index"]], abs=1e-6)

    def test_what_was_cut_is_said(self, service):
        _, answer, headers = service.posted("/v2/rerank", {"query": QUERY, "documents": DOCUMENTS})
        assert headers["x-cut-texts"] == "1"
        assert answer["meta"]["warnings"] == ["1 documents were longer than the model takes with the query, and cut."]
        _, answer, headers = service.posted("/v2/rerank", {"query": QUERY, "documents": DOCUMENTS[:2]})
        assert "x-cut-texts" not in headers
        assert "warnings" not in answer["meta"]

    def test_usage_and_metrics_count_pairs(self, service, model):
        before = service.metric('iqe_texts_total{model="judge"}')
        tokens = sum(map(len, model.tokenize([(QUERY, document) for document in DOCUMENTS]).token_ids))
        assert ask(service, {})[1]["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
        assert service.metric('iqe_texts_total{model="judge"}') == before + len(DOCUMENTS)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "not JSON"),
        (b'{"query": "a", "documents": [{"text": "b", "price": NaN}], "return_documents": true}', 400, "it has NaN"),
        ({"model": "other"}, 404, "'other' is not served here; there are 'judge'"),
        ({"query": None}, 400, "query is missing"),
        ({"query": ["a"]}, 400, "it is a string"),
        ({"query": "\ud800"}, 400, "lone surrogate"),
        ({"documents": []}, 400, "one at least"),
        ({"documents": "a"}, 400, "a list of strings or objects"),
        ({"documents": ["a"] * 7}, 400, "7 texts; a request takes 6 at most"),
        ({"documents": ["a", 3]}, 400, "document 1 is 3"),
        ({"documents": [{"image": "https://a"}]}, 400, "an object with 'text'"),
        ({"documents": [{"text": 3}]}, 400, "the text of document 0 is 3"),
        ({"documents": [{"text": "a"}], "rank_fields": []}, 400, "a list of names"),
        ({"documents": [{"text": "a"}], "rank_fields": ["title"]}, 400, "an object with 'title'"),
        ({"top_n": 0}, 400, "1 or more"),
        ({"return_documents": "yes"}, 400, "true or false"),
        ({"max_tokens_per_doc": 8}, 400, "max_tokens_per_doc=8 is not available"),
        ({"return_embeddings": True}, 400, "'return_embeddings' is not known here"),
    ],
)
def test_mistakes_are_told_in_coheres_form_and_jinas(model, body, status, message):
    with service_in_thread(model, name="judge", limits=Limits(texts=6)) as service:
        whole = body if isinstance(body, bytes) else {"query": QUERY, "documents": DOCUMENTS} | body
        told, answer = service.post("/v1/rerank", whole)
    assert told == status
    assert message in answer["message"]
    assert answer["detail"] == answer["message"]


def test_what_changes_nothing_here_is_taken(service):
    """A limit of tokens above the model's own, chunks and priorities: Cohere's clients send them."""
    given = {"max_tokens_per_doc": 4096, "max_chunks_per_doc": 10, "priority": 0}
    assert ask(service, given)[1]["results"] == ask(service, {})[1]["results"]


def test_a_cross_encoder_makes_no_embeddings_and_an_encoder_ranks_nothing(service, tiny_encoder):
    status, answer = service.post("/v1/embeddings", {"model": "judge", "input": "a"})
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    assert service.get("/v1/models/judge")[0] == 200
    with service_in_thread(tiny_encoder) as encoders:
        status, answer = ask(encoders, {})
        assert (status, answer["message"]) == (404, "no cross-encoder is served here.")


def test_the_key_and_too_large_bodies_are_told_in_coheres_form(model):
    with service_in_thread(model, name="judge", limits=Limits(body_bytes=1000), api_keys=["secret"]) as service:
        status, answer, headers = service.posted("/v1/rerank", {"query": QUERY, "documents": DOCUMENTS})
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert "no API key" in answer["message"]
        key = {"Authorization": "Bearer secret"}
        status, answer = service.post("/v1/rerank", {"query": QUERY, "documents": ["a" * 1000]}, headers=key)
        assert (status, answer["message"][:25]) == (413, "the body is larger than 1")
        assert service.post("/v1/rerank", {"query": QUERY, "documents": ["a"]}, headers=key)[0] == 200


def test_the_command_serves_a_cross_encoder(tiny_cross_encoder_int8, model):
    with service_in_process(tiny_cross_encoder_int8, "--name", "judge") as (service, said):
        assert "CrossEncoder(" in said
        status, answer = ask(service, {"top_n": 1})
    assert status == 200
    assert answer["results"][0]["relevance_score"] == float(max(model.score([(QUERY, one) for one in DOCUMENTS])))
