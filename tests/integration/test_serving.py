"""`iqe serve` as its clients see it: openai's, LangChain's, one that asks too much, and one that goes away."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
pytest.importorskip("prometheus_client", reason="the serve extra is not installed")

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.architectures.llama import LLAMA
from intel_quantized_embeddings.serving.limits import Limits
from support.http_client import Answer, Connection, decoded, vectors_of
from support.services import BrokenEncoder, PacedEncoder, Service, service_in_process, service_in_thread
from support.tiny_models import without_special_tokens, write_tiny_model

TEXTS = ["the cat sat on the mat", "", "a river", "what is that mountain made of? " * 20, "The  Cat\n", "日本語 😀"]


@pytest.fixture(scope="module")
def service(tiny_int8):
    with service_in_thread(Encoder.load(tiny_int8)) as running:
        yield running


def test_a_text_without_a_token_is_refused_and_others_go_on(tmp_path):
    folder = without_special_tokens(write_tiny_model(tmp_path / "bare", family=LLAMA))
    with service_in_thread(Encoder.load(folder, precision="fp32")) as service:
        asked = [{"model": "tiny", "input": texts} for texts in (["the cat", ""], ["the cat"], "", "a river")]
        answers = asyncio.run(post_all(service, asked, connections=4))
    assert [answer.status for answer in answers] == [400, 200, 400, 200]
    assert b"text 1 has no token" in answers[0].body


@pytest.fixture
def client(service):
    return openai_client(service)


def openai_client(service: Service, *, api_key: str = "none"):
    openai = pytest.importorskip("openai", reason="openai is not installed")
    return openai.OpenAI(base_url=f"{service.url}/v1", api_key=api_key, max_retries=0)


def post(service: Service, body: dict) -> Answer:
    return asyncio.run(post_all(service, [body]))[0]


async def post_all(service: Service, bodies: list[dict], *, connections: int = 1) -> list[Answer]:
    """Send requests over some connections, each of which goes on as soon as it has its answer."""
    answers: list[Answer | None] = [None] * len(bodies)
    left = iter(enumerate(bodies))

    async def go_on() -> None:
        connection = Connection(service.port)
        for place, body in left:
            answers[place] = await connection.post("/v1/embeddings", body)
        connection.close()

    await asyncio.gather(*(go_on() for _ in range(connections)))
    assert None not in answers
    return answers


class TestOpenAI:
    @pytest.mark.parametrize("encoding_format", ["float", "base64", None])
    def test_vectors_are_the_encoders_bit_by_bit(self, client, tiny_encoder, encoding_format):
        given = {} if encoding_format is None else {"encoding_format": encoding_format}
        answer = client.embeddings.create(model="tiny", input=TEXTS, **given)
        assert [row.index for row in answer.data] == list(range(len(TEXTS)))
        vectors = answer_vectors(answer)
        assert vectors.tobytes() == tiny_encoder.encode_documents(TEXTS).tobytes()

    def test_without_the_version_it_is_the_same(self, service):
        """As text-embeddings-inference has it."""
        body = {"model": "tiny", "input": TEXTS}
        assert service.post("/embeddings", body) == service.post("/v1/embeddings", body)

    def test_one_string_is_one_text(self, client, tiny_encoder):
        answer = client.embeddings.create(model="tiny", input=TEXTS[0])
        assert answer_vectors(answer).tobytes() == tiny_encoder.encode_documents(TEXTS[:1]).tobytes()
        assert answer.model == "tiny"

    @pytest.mark.parametrize("given", [{"extra_body": {"input_type": "query"}}, {"model": "tiny:query"}])
    def test_queries_get_the_querys_instruction(self, client, tiny_encoder, given):
        answer = client.embeddings.create(**{"model": "tiny", "input": TEXTS} | given)
        assert answer_vectors(answer).tobytes() == tiny_encoder.encode_queries(TEXTS).tobytes()

    def test_dimensions_are_what_truncate_dim_keeps(self, client, tiny_int8):
        answer = client.embeddings.create(model="tiny", input=TEXTS, dimensions=8)
        expected = Encoder.load(tiny_int8, truncate_dim=8).encode_documents(TEXTS)
        assert answer_vectors(answer).tobytes() == expected.tobytes()

    def test_usage_counts_the_tokens(self, client, tiny_encoder):
        usage = client.embeddings.create(model="tiny", input=TEXTS).usage
        instruction = tiny_encoder.settings.document_instruction
        assert usage.prompt_tokens == sum(map(len, tiny_encoder.tokenize(TEXTS, instruction=instruction).token_ids))
        assert usage.total_tokens == usage.prompt_tokens

    def test_models_are_listed(self, client):
        names = [model.id for model in client.models.list()]
        assert names == ["tiny", "tiny:query", "tiny:document"]
        assert [client.models.retrieve(name).id for name in names] == names

    def test_mistakes_are_the_clients_own_errors(self, client):
        import openai

        with pytest.raises(openai.NotFoundError, match="'gpt-4' is not served here"):
            client.embeddings.create(model="gpt-4", input="a")
        with pytest.raises(openai.BadRequestError, match="Send strings") as refused:
            client.embeddings.create(model="tiny", input=[[1, 2, 3]])
        assert refused.value.param == "input"
        with pytest.raises(openai.NotFoundError, match="'other' is not served here"):
            client.models.retrieve("other")


def answer_vectors(answer) -> np.ndarray:
    return decoded([row.embedding for row in answer.data])


def test_langchains_embeddings_give_the_encoders_vectors(service, tiny_encoder):
    langchain_openai = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    options = {"base_url": f"{service.url}/v1", "api_key": "none", "check_embedding_ctx_length": False}
    documents = langchain_openai.OpenAIEmbeddings(model="tiny", **options)
    queries = langchain_openai.OpenAIEmbeddings(model="tiny:query", **options)
    assert documents.embed_documents(TEXTS) == tiny_encoder.encode_documents(TEXTS).tolist()
    assert queries.embed_query(TEXTS[0]) == tiny_encoder.encode_queries(TEXTS[:1])[0].tolist()


class TestPaths:
    def test_health_and_metrics_tell_what_goes_on(self, service):
        before = service.metric('iqe_requests_total{status="200"}'), service.metric("iqe_texts_total")
        assert post(service, {"model": "tiny", "input": ["a", "b" * 1000]}).status == 200
        assert service.get("/health") == (200, '{"status":"ok"}')
        assert service.metric('iqe_requests_total{status="200"}') == before[0] + 1
        assert service.metric("iqe_texts_total") == before[1] + 2
        assert service.metric("iqe_cut_texts_total") >= 1
        assert service.metric("iqe_round_tokens_count") >= 1
        assert service.metric("iqe_tokens_per_second") > 0
        assert service.metric("iqe_waiting_tokens") == service.metric("iqe_requests_in_work") == 0

    @pytest.mark.parametrize(("path", "status"), [("/v1/embeddings", 405), ("/v1/completions", 404), ("/nothing", 404)])
    def test_what_is_not_there_is_told_in_openais_form(self, service, path, status):
        told, body = service.get(path)
        assert told == status
        assert path in json.loads(body)["error"]["message"]

    def test_all_but_health_asks_for_the_key(self, tiny_encoder):
        openai = pytest.importorskip("openai", reason="openai is not installed")
        with service_in_thread(tiny_encoder, api_keys=["secret"]) as service:
            assert service.get("/health")[0] == 200
            assert service.get("/metrics")[0] == service.get("/v1/models")[0] == 401
            assert service.get("/metrics", headers={"Authorization": "bearer secret"})[0] == 200
            assert openai_client(service, api_key="secret").embeddings.create(model="tiny", input="a").data
            for wrong in ("secre", "secret2", "Secret"):
                with pytest.raises(openai.AuthenticationError, match="no API key, or not the one"):
                    openai_client(service, api_key=wrong).embeddings.create(model="tiny", input="a")


class TestLimits:
    @pytest.mark.parametrize("http", ["h11", "httptools"])
    def test_a_body_that_is_too_large_is_refused_and_the_connection_goes_on(self, tiny_encoder, http):
        if http == "httptools":
            pytest.importorskip("httptools", reason="httptools is not installed")
        bodies = [{"model": "tiny", "input": "a" * size} for size in (10_000_000, 10, 2_000_000, 10)]
        with service_in_thread(tiny_encoder, limits=Limits(body_bytes=1_000_000), http=http) as service:
            answers = asyncio.run(post_all(service, bodies))
        assert [answer.status for answer in answers] == [413, 200, 413, 200]

    @pytest.mark.parametrize(
        "limits", [Limits(waiting_tokens=3_000), Limits(waiting_requests=8)], ids=["tokens", "requests"]
    )
    def test_at_ten_times_capacity_every_request_is_answered_rightly_or_refused(self, tiny_encoder, limits):
        """Sixty-four clients that never pause; the encoder takes 8,000 tokens a second, 24 of their requests."""
        asked = [[f"{TEXTS[0]} {i} {j}" for j in range(i, i + 16)] for i in range(20)]
        expected = [tiny_encoder.encode_documents(texts).tobytes() for texts in asked]
        bodies = [{"model": "tiny", "input": texts, "encoding_format": "base64"} for texts in asked] * 60
        with service_in_thread(PacedEncoder(tiny_encoder, tokens_per_second=8_000), limits=limits) as service:
            answers = asyncio.run(post_all(service, bodies, connections=64))
            statuses = Counter(answer.status for answer in answers)
            assert set(statuses) == {200, 429}
            assert len(answers) > 10 * statuses[200]
            for place, answer in enumerate(answers):
                if answer.status == 200:
                    assert vectors_of(answer).tobytes() == expected[place % len(asked)]
                else:
                    assert 1 <= int(answer.headers["retry-after"]) <= 60
                    assert json.loads(answer.body)["error"]["type"] == "rate_limit_error"
            for status, count in statuses.items():
                assert service.metric(f'iqe_requests_total{{status="{status}"}}') == count
            assert service.metric("iqe_waiting_tokens") == service.metric("iqe_requests_in_work") == 0
            assert post(service, bodies[0]).status == 200

    def test_behind_a_full_queue_a_large_request_is_told_when_to_come_again_and_a_query_is_answered(self, tiny_encoder):
        limits = Limits(waiting_tokens=10_000)
        with service_in_thread(PacedEncoder(tiny_encoder, tokens_per_second=4_000), limits=limits) as service:
            large, small = asyncio.run(self.ask_behind_a_large_one(service))
        assert large.status == 429
        assert 3 <= int(large.headers["retry-after"]) <= 15  # 3.6 s at full speed; a busy machine is slower
        assert small.status == 200

    async def ask_behind_a_large_one(self, service: Service) -> list[Answer]:
        """A large request and a query, where 16,000 tokens of another large one wait."""
        first, body = Connection(service.port), {"model": "tiny", "input": [TEXTS[3]] * 256}
        waiting = asyncio.ensure_future(first.post("/v1/embeddings", body))
        await asyncio.to_thread(service.wait_for, "iqe_requests_in_work", 1)
        await asyncio.sleep(0.5)
        answers = await post_all(service, [body, {"model": "tiny", "input": "a"}])
        assert not waiting.done()
        waiting.cancel()
        first.close()
        return answers

    def test_what_takes_too_long_is_given_up(self, tiny_encoder):
        encoder = PacedEncoder(tiny_encoder, tokens_per_second=4_000)
        with service_in_thread(encoder, limits=Limits(request_seconds=0.5)) as service:
            late = post(service, {"model": "tiny", "input": [TEXTS[3]] * 200})
            assert (late.status, json.loads(late.body)["error"]["code"]) == (503, "request_timeout")
            service.wait_for("iqe_waiting_tokens", 0, seconds=2)
            assert post(service, {"model": "tiny", "input": "a"}).status == 200


class TestRounds:
    def test_a_query_does_not_wait_for_a_large_request_and_one_that_is_left_is_dropped(self, tiny_encoder):
        """The large one would take eight seconds."""
        with service_in_thread(PacedEncoder(tiny_encoder, tokens_per_second=16_000)) as service:
            seconds = asyncio.run(self.ask_beside_a_large_one(service))
            assert max(seconds) < 1
            service.wait_for("iqe_waiting_tokens", 0, seconds=2)
            service.wait_for("iqe_requests_in_work", 0, seconds=1)
            assert service.metric('iqe_requests_total{status="499"}') == 1

    async def ask_beside_a_large_one(self, service: Service) -> list[float]:
        large = Connection(service.port)
        waiting = asyncio.ensure_future(large.post("/v1/embeddings", {"model": "tiny", "input": [TEXTS[3]] * 2000}))
        await asyncio.to_thread(service.wait_for, "iqe_requests_in_work", 1)
        await asyncio.sleep(0.5)  # all of it waits
        query, seconds = Connection(service.port), []
        for _ in range(5):
            started = time.perf_counter()
            assert (await query.post("/v1/embeddings", {"model": "tiny:query", "input": "a river"})).status == 200
            seconds.append(time.perf_counter() - started)
        assert not waiting.done()
        waiting.cancel()
        large.close()
        return seconds

    def test_queries_are_answered_while_one_round_of_a_large_request_is_running(self, tiny_encoder):
        """All of the large one is one round of eight seconds."""
        with service_in_thread(
            PacedEncoder(tiny_encoder, tokens_per_second=16_000), limits=Limits(round_tokens=1_000_000)
        ) as service:
            asyncio.run(self.ask_beside_a_large_one(service))

    def test_a_large_request_is_answered_however_many_queries_come(self, tiny_encoder):
        """Eight clients that never pause ask more than the encoder can do."""
        limits = Limits(round_tokens=64)
        with service_in_thread(PacedEncoder(tiny_encoder, tokens_per_second=4_000), limits=limits) as service:
            large, queries = asyncio.run(self.ask_without_a_pause(service, clients=8))
        assert large.status == 200
        assert vectors_of(large).tobytes() == tiny_encoder.encode_documents([TEXTS[3]] * 20).tobytes()
        assert queries > 8

    async def ask_without_a_pause(self, service: Service, *, clients: int) -> tuple[Answer, int]:
        """A large request beside queries; its answer, and how many queries were answered meanwhile."""
        answered = 0

        async def ask() -> None:
            nonlocal answered
            connection = Connection(service.port)
            while not large.done():
                assert (await connection.post("/v1/embeddings", {"model": "tiny", "input": "a river"})).status == 200
                answered += 1
            connection.close()

        bulk = Connection(service.port)
        large = asyncio.ensure_future(bulk.post("/v1/embeddings", {"model": "tiny", "input": [TEXTS[3]] * 20}))
        await asyncio.gather(*(ask() for _ in range(clients)))
        bulk.close()
        return await large, answered

    def test_a_round_that_fails_is_a_500_and_the_next_goes_on(self, tiny_encoder, caplog):
        with service_in_thread(BrokenEncoder(tiny_encoder, tokens_per_second=1e6)) as service:
            failed = post(service, {"model": "tiny", "input": "a"})  # five tokens with "document: "
            assert (failed.status, json.loads(failed.body)["error"]["type"]) == (500, "server_error")
            assert "five tokens" not in failed.body.decode()
            assert post(service, {"model": "tiny", "input": "a cat"}).status == 200
        assert "five tokens" in caplog.text


class TestProcess:
    def test_told_to_stop_it_answers_what_it_took_on_and_ends_with_0(self, tiny_int8, tiny_encoder):
        texts = [f"{TEXTS[3]} {i}" for i in range(2000)]
        with service_in_process(tiny_int8, "--name", "tiny", "--round-tokens", 256) as (service, _):
            answers = asyncio.run(self.stop_in_the_middle(service, texts))
            status, said = service.ended()
        assert status == 0, said
        assert "Traceback" not in said
        expected = tiny_encoder.encode_documents(texts).tobytes()
        assert [answer.status for answer in answers] == [200] * len(answers)
        assert all(vectors_of(answer).tobytes() == expected for answer in answers)
        with pytest.raises(OSError):
            service.get("/health")

    async def stop_in_the_middle(self, service, texts: list[str], *, requests: int = 2) -> list[Answer]:
        body = {"model": "tiny", "input": texts, "encoding_format": "base64"}
        sent = asyncio.ensure_future(post_all(service, [body] * requests, connections=requests))
        await asyncio.to_thread(service.wait_for, "iqe_requests_in_work", requests)
        assert not sent.done()
        service.stop(signal.SIGTERM)
        return await sent

    def test_what_takes_longer_than_it_may_when_stopping_is_refused(self, tiny_int8):
        options = ("--name", "tiny", "--round-tokens", 8, "--max-waiting-tokens", 10_000_000, "--stop-seconds", 1)
        with service_in_process(tiny_int8, *options) as (service, _):
            answers = asyncio.run(self.stop_in_the_middle(service, [TEXTS[3]] * 2048, requests=12))
            status, said = service.ended()
        assert status == 0, said
        assert "Traceback" not in said
        assert Counter(answer.status for answer in answers) == {503: 12}
        assert "is stopping" in json.loads(answers[0].body)["error"]["message"]

    def test_it_warns_when_other_machines_can_reach_it_without_a_key(self, tiny_int8):
        with service_in_process(tiny_int8, "--host", "0.0.0.0") as (service, said):
            assert "can be reached from other machines, and no API key is asked for" in said
            assert f"serving {tiny_int8} on http://0.0.0.0:" in said
            service.stop(signal.SIGINT)
            assert service.ended()[0] == 0

    def test_the_key_comes_from_the_environment(self, tiny_int8):
        environment = {"IQE_API_KEY": "secret"}
        with service_in_process(tiny_int8, "--host", "0.0.0.0", environment=environment) as (service, said):
            assert "no API key" not in said
            assert "secret" not in said
            assert service.get("/v1/models")[0] == 401
            assert service.get("/v1/models", headers={"Authorization": "Bearer secret"})[0] == 200

    def test_mistakes_are_told_before_the_model_is_loaded(self, tiny, service, capsys):
        from intel_quantized_embeddings.cli import main

        for options, message in (
            (["--port", str(service.port)], f"port={service.port} can't be listened on"),
            (["--port", "70000"], "port=70000 can't be listened on"),
            (["--host", ""], "host='' is not allowed; it is an address"),
            (["--name", ""], "--name '' is not allowed"),
            (["--api-key", "two words"], "the API key is empty, or has spaces"),
            (["--max-texts", "0"], "texts=0 is not allowed"),
            (["--precision", "int4"], "precision='int4' is not known"),
        ):
            assert main(["serve", "no-such-organization/model", *options]) == 1
            assert message in capsys.readouterr().err


def test_a_missing_extra_is_told():
    code = (
        "import sys\n"
        "sys.modules['uvicorn'] = None\n"
        "from intel_quantized_embeddings.cli import main\n"
        "sys.exit(main(['serve', 'model']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'intel-quantized-embeddings[serve]'" in done.stderr
