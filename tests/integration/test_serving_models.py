"""Several models in one service: chosen by name, loaded when they are needed, and let go."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
import time
import weakref

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
pytest.importorskip("prometheus_client", reason="the serve extra is not installed")

from intel_quantized_embeddings import CrossEncoder, Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.options import LoadOptions
from intel_quantized_embeddings.process.memory import resident_bytes
from intel_quantized_embeddings.serving.limits import Residency
from intel_quantized_embeddings.serving.served import ServedModel
from support.http_client import Connection
from support.services import PacedEncoder, service_in_process, service_in_thread
from support.tiny_models import write_tiny_model

TEXTS = ["the cat sat on the mat", "a river"]


@pytest.fixture(scope="module")
def another(tmp_path_factory) -> Encoder:
    return Encoder.load(write_tiny_model(tmp_path_factory.mktemp("another") / "model", seed=7), precision="fp32")


@pytest.fixture(scope="module")
def model(tiny_cross_encoder_int8) -> CrossEncoder:
    return CrossEncoder.load(tiny_cross_encoder_int8)


def embed(service, name: str):
    status, answer = service.post("/v1/embeddings", {"model": name, "input": TEXTS})
    if status != 200:
        return status, answer["error"]
    return status, np.array([row["embedding"] for row in answer["data"]], dtype=np.float32)


def in_memory(service) -> set[str]:
    """The names of the models in memory, by `/metrics`."""
    return set(re.findall(r'^iqe_model_info\{.*model="([^"]+)".*\} 1\.0$', service.get("/metrics")[1], re.MULTILINE))


class TestNames:
    @pytest.fixture(scope="class")
    def service(self, tiny_encoder, another, model):
        served = [ServedModel.of(tiny_encoder, name="tiny"), ServedModel.of(another, name="other")]
        with service_in_thread(*served, ServedModel.of(model, name="judge")) as running:
            yield running

    def test_each_name_is_its_model(self, service, tiny_encoder, another):
        for name, expected in (
            ("tiny", tiny_encoder.encode_documents(TEXTS)),
            ("tiny:query", tiny_encoder.encode_queries(TEXTS)),
            ("other", another.encode_documents(TEXTS)),
        ):
            assert embed(service, name)[1].tobytes() == expected.tobytes()
        assert service.metric('iqe_texts_total{model="other"}') == len(TEXTS)

    def test_all_are_listed(self, service):
        listed = [card["id"] for card in json.loads(service.get("/v1/models")[1])["data"]]
        assert listed == ["tiny", "tiny:query", "tiny:document", "other", "other:query", "other:document", "judge"]

    def test_requests_that_name_none_go_to_the_first_of_their_kind(self, service, tiny_encoder, model):
        answer = service.post("/embed", {"inputs": TEXTS})[1]
        assert np.float32(answer).tobytes() == tiny_encoder.encode(TEXTS, instruction="").tobytes()
        (rank,) = service.post("/rerank", {"query": "a", "texts": ["b"]})[1]
        assert np.float32(rank["score"]) == model.score([("a", "b")])[0]
        assert json.loads(service.get("/info")[1])["served_model_name"] == "tiny"

    def test_openai_and_cohere_say_which_there_are(self, service):
        status, error = embed(service, "judge")
        assert (status, error["code"]) == (404, "model_not_found")
        assert "there are 'tiny', 'tiny:query', 'tiny:document', 'other'" in error["message"]
        status, answer = service.post("/v1/rerank", {"model": "tiny", "query": "a", "documents": ["b"]})
        assert (status, answer["message"]) == (404, "the model 'tiny' is not served here; there are 'judge'.")
        status, answer = service.post("/v1/embeddings", {"input": "a"})
        assert (status, answer["error"]["message"]) == (400, "model is missing; it is 'tiny' or 'other'.")

    def test_a_name_is_one_models(self, tiny_encoder, another):
        served = [ServedModel.of(tiny_encoder, name="tiny"), ServedModel.of(another, name="tiny:query")]
        with pytest.raises(OptionError, match="two models are called 'tiny:query'"), service_in_thread(*served):
            pass


def test_a_query_to_one_model_does_not_wait_for_a_large_request_to_another(tiny_encoder, another):
    slow = ServedModel("slow", lambda: PacedEncoder(tiny_encoder, tokens_per_second=16_000), scores_pairs=False)

    async def ask(service) -> None:
        large = Connection(service.port)
        body = {"model": "slow", "input": ["what is that mountain made of? " * 20] * 2000}
        waiting = asyncio.ensure_future(large.post("/v1/embeddings", body))
        await asyncio.to_thread(service.wait_for, "iqe_requests_in_work", 1)
        answer = await Connection(service.port).post("/v1/embeddings", {"model": "other", "input": "a river"})
        assert (answer.status, waiting.done()) == (200, False)
        waiting.cancel()
        large.close()

    with service_in_thread(slow, ServedModel.of(another, name="other")) as service:
        asyncio.run(ask(service))


class Loads:
    """Loads a model, and keeps count."""

    def __init__(self, model: Encoder, *, seconds: float = 0) -> None:
        self.count = 0
        self._model = model
        self._seconds = seconds

    def __call__(self) -> Encoder:
        self.count += 1
        time.sleep(self._seconds)
        return self._model


class TestResidency:
    def test_a_lazy_model_is_loaded_once_for_all_that_wait_for_it(self, tiny_encoder, another):
        loads, others = Loads(tiny_encoder, seconds=0.3), Loads(another)
        served = [ServedModel("tiny", loads, scores_pairs=False), ServedModel("other", others, scores_pairs=False)]
        with service_in_thread(*served, residency=Residency(lazy=True)) as service:
            assert service.get("/health")[0] == 200
            assert (loads.count, others.count, in_memory(service)) == (0, 0, set())
            answers = []
            askers = [threading.Thread(target=lambda: answers.append(embed(service, "tiny"))) for _ in range(6)]
            for asker in askers:
                asker.start()
            for asker in askers:
                asker.join()
            assert (loads.count, others.count, in_memory(service)) == (1, 0, {"tiny"})
            expected = tiny_encoder.encode_documents(TEXTS).tobytes()
            assert all(vectors.tobytes() == expected for _, vectors in answers)
            assert embed(service, "tiny")[0] == 200
            assert loads.count == 1

    def test_a_client_that_goes_away_does_not_stop_the_loading(self, tiny_encoder):
        loads = Loads(tiny_encoder, seconds=0.5)
        served = ServedModel("tiny", loads, scores_pairs=False)

        async def leave(port: int) -> None:
            connection = Connection(port)
            asking = asyncio.ensure_future(connection.post("/v1/embeddings", {"model": "tiny", "input": "a"}))
            await asyncio.sleep(0.2)
            asking.cancel()
            connection.close()

        with service_in_thread(served, residency=Residency(lazy=True)) as service:
            asyncio.run(leave(service.port))
            assert embed(service, "tiny")[0] == 200
        assert loads.count == 1

    def test_a_model_that_nobody_asks_for_is_let_go_and_loaded_again(self, tiny_encoder, another):
        loads, others = Loads(tiny_encoder), Loads(another)
        served = [ServedModel("tiny", loads, scores_pairs=False), ServedModel("other", others, scores_pairs=False)]
        with service_in_thread(*served, residency=Residency(idle_seconds=0.5)) as service:
            before = embed(service, "tiny")[1]
            self.wait_until(lambda: in_memory(service) == set())
            count = loads.count
            assert service.get("/health")[0] == 200
            assert embed(service, "tiny")[1].tobytes() == before.tobytes()
            assert (loads.count, others.count) == (count + 1, 1)

    def test_what_is_let_go_is_no_longer_in_memory(self, tiny_int8):
        alive = weakref.WeakSet()

        def load() -> Encoder:
            alive.add(encoder := Encoder.load(tiny_int8))
            return encoder

        served = ServedModel("tiny", load, scores_pairs=False)
        with service_in_thread(served, residency=Residency(idle_seconds=0.3)) as service:
            assert embed(service, "tiny")[0] == 200
            self.wait_until(lambda: in_memory(service) == set())
            self.wait_until(lambda: not alive)

    def test_what_is_loaded_already_is_not_counted_twice(self, tiny_int8, tiny_encoder, another):
        """There is room for what is in memory, and not for as much again."""
        served = [ServedModel.of(tiny_encoder, name="tiny"), ServedModel.of(another, name="other")]
        for one in served:
            one.preload()
            one.resident_bytes = 1 << 40
        with service_in_thread(*served, residency=Residency(memory_mib=1 << 20)) as service:
            assert in_memory(service) == {"tiny", "other"}

    def test_a_model_that_is_needed_is_not_let_go(self, tiny_encoder):
        """The request takes longer than the model is kept."""
        loads = Loads(PacedEncoder(tiny_encoder, tokens_per_second=4_000))
        served = ServedModel("tiny", loads, scores_pairs=False)
        with service_in_thread(served, residency=Residency(idle_seconds=0.2)) as service:
            body = {"model": "tiny", "input": ["the cat sat on the mat"] * 400}
            assert service.post("/v1/embeddings", body)[0] == 200
            assert loads.count <= 2

    def test_with_a_limit_to_memory_the_one_unused_for_longest_goes(self, tiny_encoder, another, model):
        """The limit is below what this process has without any model, so that there is room for one at a time."""
        served = [
            ServedModel("tiny", Loads(tiny_encoder), scores_pairs=False),
            ServedModel("other", Loads(another), scores_pairs=False),
            ServedModel("judge", Loads(model), scores_pairs=True),
        ]
        assert resident_bytes() > 1 << 20
        with service_in_thread(*served, residency=Residency(memory_mib=1)) as service:
            assert in_memory(service) == set()
            for name in ("tiny", "other", "tiny"):
                assert embed(service, name)[0] == 200
                assert in_memory(service) == {name}
            assert service.post("/v1/rerank", {"query": "a", "documents": ["b"]})[0] == 200
            assert in_memory(service) == {"judge"}

    def test_a_model_that_cannot_be_loaded_is_told_and_others_go_on(self, tiny, tiny_encoder, tmp_path, caplog):
        folder = shutil.copytree(tiny, tmp_path / "model")
        gone = ServedModel.asked(LoadOptions(model=str(folder)), name="gone")
        shutil.rmtree(folder)
        with service_in_thread(gone, tiny_encoder, residency=Residency(lazy=True)) as service:
            status, error = embed(service, "gone")
            assert (status, error["code"]) == (503, "model_not_loaded")
            assert str(folder) not in error["message"]
            assert embed(service, "tiny")[0] == 200
        assert "gone can't be loaded" in caplog.text
        assert f"{folder}, where model was found, is no longer there" in caplog.text

    def test_a_folder_that_became_another_model_is_not_served_under_the_old_ones_name(self, tiny, tmp_path):
        folder = shutil.copytree(tiny, tmp_path / "model")
        served = ServedModel.asked(LoadOptions(model=str(folder)), name="model")
        with service_in_thread(served, residency=Residency(lazy=True, idle_seconds=0.3)) as service:
            assert embed(service, "model")[0] == 200
            self.wait_until(lambda: in_memory(service) == set())
            shutil.rmtree(folder)
            write_tiny_model(folder, seed=7)
            assert embed(service, "model")[0] == 503

    def wait_until(self, holds) -> None:
        end = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.05)


class TestCommand:
    def test_models_have_their_names_in_order(self, tiny_int8, tiny_cross_encoder_int8, tiny_encoder):
        options = [tiny_cross_encoder_int8, "--name", "tiny", "--name", "judge", "--truncate-dim", 16]
        with service_in_process(tiny_int8, *options) as (service, said):
            assert "serving tiny, judge on http://" in said
            assert "Encoder(" in said
            assert "CrossEncoder(" in said
            assert embed(service, "tiny")[1].shape == (2, 16)
            assert service.post("/v1/rerank", {"query": "a", "documents": ["b"]})[1]["model"] == "judge"

    def test_lazy_models_are_said_to_be(self, tiny_int8, tiny_cross_encoder_int8):
        with service_in_process(tiny_int8, tiny_cross_encoder_int8, "--lazy") as (service, said):
            assert "loaded when it is asked for; loaded when it is asked for" in said
            assert in_memory(service) == set()
            assert embed(service, str(tiny_int8))[0] == 200

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--name", "a"], "--name is given 1 times and MODEL 2"),
            (["--name", "a", "--name", "a"], "two models are called 'a'"),
            (["--idle-seconds", "0"], "idle_seconds=0.0 is not allowed"),
            (["--max-memory-mib", "0"], "memory_mib=0 is not allowed"),
        ],
    )
    def test_mistakes_are_told(self, tiny_int8, tiny_cross_encoder_int8, options, message, capsys):
        from intel_quantized_embeddings.cli import main

        given = [str(tiny_int8), str(tiny_cross_encoder_int8)]
        assert main(["serve", *given, "--port", "0", *options]) == 1
        assert message in capsys.readouterr().err
