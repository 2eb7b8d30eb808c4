"""What those who run a service need: keys, request ids, and a log that tells of requests and never of texts."""

from __future__ import annotations

import logging
import signal

import pytest

pytest.importorskip("starlette", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
pytest.importorskip("prometheus_client", reason="the serve extra is not installed")

from support.services import BrokenEncoder, service_in_process, service_in_thread

BODY = {"model": "tiny", "input": "the cat sat on the mat"}


class TestRequestIds:
    @pytest.fixture(scope="class")
    def service(self, tiny_encoder):
        with service_in_thread(tiny_encoder) as running:
            yield running

    def test_every_answer_has_one_of_its_own(self, service):
        asked = [("/v1/embeddings", BODY), ("/embed", {"inputs": "a"}), ("/v1/rerank", {}), ("/nothing", {})]
        ids = [service.posted(path, body)[2]["x-request-id"] for path, body in asked]
        assert len(set(ids)) == len(asked)
        assert all(len(one) == 16 for one in ids)

    def test_a_clients_own_comes_back(self, service):
        for given in ("7f3a", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"):
            assert service.posted("/v1/embeddings", BODY, headers={"X-Request-ID": given})[2]["x-request-id"] == given

    @pytest.mark.parametrize("given", ["two words", "", "a" * 129, 'a"b', "é"])
    def test_what_a_log_can_not_hold_in_a_word_is_replaced(self, service, given):
        headers = {"X-Request-ID": given}
        assert len(service.posted("/v1/embeddings", BODY, headers=headers)[2]["x-request-id"]) == 16

    def test_a_refused_key_has_one_too(self, tiny_encoder):
        with service_in_thread(tiny_encoder, api_keys=["secret"]) as service:
            status, _, headers = service.posted("/v1/embeddings", BODY, headers={"X-Request-ID": "mine"})
        assert (status, headers["x-request-id"]) == (401, "mine")


class TestLog:
    def test_a_failure_is_logged_with_its_requests_id(self, tiny_encoder, caplog):
        with service_in_thread(BrokenEncoder(tiny_encoder, tokens_per_second=1e6)) as service:
            headers = {"X-Request-ID": "the-one"}
            assert service.posted("/v1/embeddings", {"model": "tiny", "input": "a"}, headers=headers)[0] == 500
            assert service.posted("/v1/embeddings", BODY, headers={"X-Request-ID": "another"})[0] == 200
        lines = [record.getMessage() for record in caplog.records if "request the-one" in record.getMessage()]
        assert [line[:24] for line in lines] == ["POST /v1/embeddings 500 "]
        assert "another" not in caplog.text

    def test_every_request_is_logged_where_it_is_asked_for_and_no_text_ever(self, tiny_encoder, caplog):
        caplog.set_level(logging.INFO)
        with service_in_thread(tiny_encoder, log_requests=True) as service:
            service.posted("/v1/embeddings?key=sesame", BODY, headers={"X-Request-ID": "one"})
            service.posted("/nothing%0A%C3%A9", BODY, headers={"X-Request-ID": "two"})
        assert "POST /v1/embeddings 200 in" in caplog.text
        assert "request one" in caplog.text
        assert r"POST /nothing\n\xe9 404 in" in caplog.text
        assert "the cat" not in caplog.text
        assert "sesame" not in caplog.text


class TestKeys:
    def test_any_of_several_keys_is_taken(self, tiny_encoder):
        with service_in_thread(tiny_encoder, api_keys=["new", "old"]) as service:
            for key, status in (("new", 200), ("old", 200), ("new old", 401), ("", 401), ("neww", 401)):
                headers = {"Authorization": f"Bearer {key}"}
                assert service.posted("/v1/embeddings", BODY, headers=headers)[0] == status, key
            assert service.posted("/v1/embeddings", BODY, headers={"Authorization": "Basic new"})[0] == 401

    @pytest.mark.parametrize(
        ("options", "environment"),
        [
            (["--api-key", "new", "--api-key", "old"], {}),
            ([], {"IQE_API_KEY": "new old"}),
            (["--api-key", "new", "--api-key", "old"], {"IQE_API_KEY": "other"}),
        ],
    )
    def test_they_are_options_or_in_the_environment(self, tiny_int8, options, environment):
        given = ["--name", "tiny", "--log-requests", *options]
        with service_in_process(tiny_int8, *given, environment=environment) as (service, _):
            for key, status in (("new", 200), ("old", 200), ("other", 401)):
                assert service.posted("/v1/embeddings", BODY, headers={"Authorization": f"Bearer {key}"})[0] == status
            service.stop(signal.SIGTERM)
            ended, said = service.ended()
        assert ended == 0
        assert said.count("POST /v1/embeddings 200 in") == 2
        assert "Bearer" not in said

    def test_an_empty_one_in_the_environment_is_refused(self, tiny_int8, monkeypatch, capsys):
        """It would protect nothing, and whoever set it believes that something does."""
        from intel_quantized_embeddings.cli import main

        monkeypatch.setenv("IQE_API_KEY", " ")
        assert main(["serve", str(tiny_int8), "--port", "0"]) == 1
        assert "the API key is empty" in capsys.readouterr().err
