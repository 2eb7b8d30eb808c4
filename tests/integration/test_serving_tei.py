"""The routes of text-embeddings-inference: the shapes and statuses of its version 1.9."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the serve extra is not installed")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")
pytest.importorskip("prometheus_client", reason="the serve extra is not installed")

from intel_quantized_embeddings import CrossEncoder, Encoder, SparseEncoder, quantize
from intel_quantized_embeddings.encoders.sparse_encoder import weights_of
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.options import LoadOptions
from intel_quantized_embeddings.serving.limits import Limits
from intel_quantized_embeddings.serving.served import ServedModel
from intel_quantized_embeddings.serving.tei_requests import Defaults
from intel_quantized_embeddings.vectors import unit
from support.few_texts import FEW
from support.http_client import Answer, Connection
from support.services import BrokenEncoder, service_in_process, service_in_thread
from support.tiny_models import write_tiny_model, write_tiny_sparse, write_tiny_sparse_router, write_tiny_static

TEXTS = ["the cat sat on the mat", "a river", "The  Cat\n", "日本語 😀"]
LONG = "what is that mountain made of? " * 20


@pytest.fixture(scope="module")
def model(tiny_cross_encoder_int8):
    return CrossEncoder.load(tiny_cross_encoder_int8)


@pytest.fixture(scope="module")
def service(tiny_encoder, model):
    with service_in_thread(tiny_encoder, ServedModel.of(model, name="judge")) as running:
        yield running


def vectors(answer) -> np.ndarray:
    return np.array(answer, dtype=np.float32)


class TestEmbedSparse:
    @pytest.fixture(scope="class")
    def sparse(self, tmp_path_factory):
        pytest.importorskip("scipy", reason="SciPy is not installed (the extra `sparse`)")
        own = {"prompts": {"query": "what is "}}
        return SparseEncoder.load(write_tiny_sparse(tmp_path_factory.mktemp("sparse"), own=own))

    @pytest.fixture(scope="class")
    def service(self, sparse, tiny_encoder):
        with service_in_thread(tiny_encoder, ServedModel.of(sparse, name="splade")) as running:
            yield running

    def test_weights_are_the_models_by_the_ids_of_tokens(self, service, sparse):
        status, answer, headers = service.posted("/embed_sparse", {"inputs": TEXTS})
        assert status == 200
        assert [{one["index"]: one["value"] for one in text} for text in answer] == weights_of(sparse.encode(TEXTS))
        assert all(set(one) == {"index", "value"} for text in answer for one in text)
        assert headers["x-compute-characters"] == str(sum(map(len, TEXTS)))

    def test_prompts_are_named_and_texts_cut_as_of_embedders(self, service, sparse):
        answer = service.post("/embed_sparse", {"inputs": TEXTS[0], "prompt_name": "query"})[1]
        assert [{one["index"]: one["value"] for one in answer[0]}] == weights_of(sparse.encode_queries(TEXTS[:1]))
        assert service.post("/embed_sparse", {"inputs": LONG})[0] == 422
        assert service.post("/embed_sparse", {"inputs": LONG, "truncate": True})[0] == 200

    def test_it_stands_beside_an_embedder(self, service, tiny_encoder):
        answer = service.post("/embed", {"inputs": TEXTS})[1]
        assert vectors(answer).tobytes() == tiny_encoder.encode(TEXTS, instruction="").tobytes()

    @pytest.mark.parametrize("default", ["document", "query"])
    def test_the_prompts_name_chooses_a_routers_model(self, default, tmp_path):
        """Queries are looked up in a table of weights, documents go through the layers."""
        own = {"prompts": {"query": "what is ", "document": "", "other": "the "}}
        model = SparseEncoder.load(write_tiny_sparse_router(tmp_path, default=default, own=own))
        with service_in_thread(ServedModel.of(model, name="inference-free")) as service:
            for asked, expected in (
                ({"prompt_name": "query"}, model.encode_queries(TEXTS)),
                ({"prompt_name": "passage"}, model.encode_documents(TEXTS)),
                ({"prompt_name": "other"}, model.encode(TEXTS, instruction="the ")),
                ({}, model.encode(TEXTS)),
            ):
                status, answer = service.post("/embed_sparse", {"inputs": TEXTS, **asked})
                assert status == 200
                assert [{one["index"]: one["value"] for one in text} for text in answer] == weights_of(expected)
            assert json.loads(service.get("/info")[1])["model_type"]["embedding"]["pooling"] == (
                "table" if default == "query" else "splade"
            )

    def test_alone_it_says_what_it_is(self, sparse):
        with service_in_thread(ServedModel.of(sparse, name="splade")) as alone:
            status, told = alone.get("/info")
            assert (status, json.loads(told)["model_type"]) == (200, {"embedding": {"pooling": "splade"}})
            assert alone.post("/embed", {"inputs": "a"})[0] == 424

    def test_the_command_sees_by_the_files_what_it_serves(self, tmp_path):
        for write in (write_tiny_sparse, write_tiny_sparse_router):
            folder = write(tmp_path / write.__name__)
            served = ServedModel.asked(LoadOptions(model=folder), name="splade")
            assert served.is_sparse
            assert served.read_settings().pooling_name == "splade"
            assert isinstance(served.loaded(), SparseEncoder)


class TestEmbed:
    def test_vectors_are_the_encoders_without_any_instruction(self, service, tiny_encoder):
        """As there: without prompt_name nothing is put before a text."""
        status, answer, headers = service.posted("/embed", {"inputs": TEXTS})
        assert status == 200
        assert vectors(answer).tobytes() == tiny_encoder.encode(TEXTS, instruction="").tobytes()
        assert headers["x-compute-characters"] == str(sum(map(len, TEXTS)))
        tokens = sum(map(len, tiny_encoder.tokenize(TEXTS, instruction="").token_ids))
        assert headers["x-compute-tokens"] == str(tokens)

    def test_one_string_is_a_list_of_one_vector(self, service):
        assert np.shape(service.post("/embed", {"inputs": TEXTS[0]})[1]) == (1, 32)

    def test_prompts_are_named(self, service, tiny_encoder):
        for name, expected in (
            ("query", tiny_encoder.encode_queries(TEXTS)),
            ("document", tiny_encoder.encode_documents(TEXTS)),
        ):
            answer = service.post("/embed", {"inputs": TEXTS, "prompt_name": name})[1]
            assert vectors(answer).tobytes() == expected.tobytes()

    def test_so_are_those_that_the_folder_has_under_other_names(self, tmp_path):
        prompts = {"query": "what is ", "passage": "the ", "clustering": "cat "}
        encoder = Encoder.load(write_tiny_model(tmp_path / "model", prompts=prompts), precision="fp32")
        with service_in_thread(encoder) as service:
            for name, prompt in prompts.items():
                answer = service.post("/embed", {"inputs": TEXTS, "prompt_name": name})[1]
                assert vectors(answer).tobytes() == encoder.encode(TEXTS, instruction=prompt).tobytes()
            assert "there are 'clustering', 'document', 'query'" in str(
                service.post("/embed", {"inputs": TEXTS, "prompt_name": "other"})[1]
            )

    def test_dimensions_are_the_first_ones_of_length_1(self, service, tiny_encoder):
        answer = vectors(service.post("/embed", {"inputs": TEXTS, "dimensions": 8})[1])
        assert answer.tobytes() == unit(tiny_encoder.encode(TEXTS, instruction="")[:, :8]).tobytes()

    def test_vectors_of_a_model_that_does_not_normalize_are_normalized_unless_asked_otherwise(self, tmp_path):
        encoder = Encoder.load(write_tiny_model(tmp_path / "model"), precision="fp32", normalize=False)
        raw = encoder.encode(TEXTS, instruction="")
        assert not np.allclose(np.linalg.norm(raw, axis=1), 1)
        with service_in_thread(encoder) as service:
            assert vectors(service.post("/embed", {"inputs": TEXTS})[1]).tobytes() == unit(raw).tobytes()
            as_it_is = service.post("/embed", {"inputs": TEXTS, "normalize": False})[1]
            assert vectors(as_it_is).tobytes() == raw.tobytes()
            short = service.post("/embed", {"inputs": TEXTS, "normalize": False, "dimensions": 8})[1]
            assert vectors(short).tobytes() == np.ascontiguousarray(raw[:, :8]).tobytes()

    def test_normalize_false_leaves_vectors_as_the_models_folder_makes_them(self, service, tiny_encoder):
        answer = service.post("/embed", {"inputs": TEXTS, "normalize": False})[1]
        assert vectors(answer).tobytes() == tiny_encoder.encode(TEXTS, instruction="").tobytes()

    def test_fields_that_are_not_known_are_ignored(self, service):
        assert service.post("/embed", {"inputs": "a", "parameters": {}})[0] == 200


class TestTooLong:
    def test_a_text_that_is_too_long_is_refused_unless_it_may_be_cut(self, service, tiny_encoder):
        status, answer = service.post("/embed", {"inputs": ["a", LONG]})
        assert (status, answer["error_type"]) == (422, "Validation")
        assert answer["error"].startswith("`inputs` must have less than 64 tokens, and 1 has more.")
        assert service.post("/embed", {"inputs": LONG, "truncate": False})[0] == 422
        status, answer, headers = service.posted("/embed", {"inputs": ["a", LONG], "truncate": True})
        assert (status, headers["x-cut-texts"]) == (200, "1")
        assert vectors(answer).tobytes() == tiny_encoder.encode(["a", LONG], instruction="").tobytes()

    def test_the_service_may_be_told_to_cut(self, tiny_encoder):
        with service_in_thread(tiny_encoder, tei_defaults=Defaults(auto_truncate=True)) as service:
            assert service.posted("/embed", {"inputs": LONG})[2]["x-cut-texts"] == "1"
            assert service.post("/embed", {"inputs": LONG, "truncate": False})[0] == 422
            assert json.loads(service.get("/info")[1])["auto_truncate"] is True

    @pytest.mark.parametrize("direction", ["Left", "left"])
    def test_either_end_is_cut(self, service, tiny_encoder, direction):
        words = ["river"] * 100 + ["the", "cat"]
        given = {"inputs": " ".join(words), "truncate": True, "truncation_direction": direction}
        answer = service.post("/embed", given)[1]
        special = tiny_encoder.tokenizer.special_tokens
        kept = " ".join(words[-(tiny_encoder.max_length - special) :])
        assert len(tiny_encoder.tokenize([kept], instruction="").token_ids[0]) == tiny_encoder.max_length
        assert vectors(answer).tobytes() == tiny_encoder.encode([kept], instruction="").tobytes()

    def test_of_pairs_too(self, service):
        given = {"query": "a", "texts": ["river " * 100 + "the cat"]}
        status, answer = service.post("/rerank", given)
        assert (status, answer["error"][:7]) == (422, "`texts`")
        right, left = (
            service.post("/rerank", given | {"truncate": True, "truncation_direction": side, "raw_scores": True})[1]
            for side in ("Right", "Left")
        )
        assert right != left

    def test_a_static_models_texts_are_cut_at_the_end_alone(self, tmp_path):
        encoder = Encoder.load(write_tiny_static(tmp_path / "static"), precision="fp32", max_length=4)
        with service_in_thread(encoder) as service:
            given = {"inputs": "the cat sat on the mat", "truncate": True}
            assert service.post("/embed", given | {"truncation_direction": "Right"})[0] == 200
            status, answer = service.post("/embed", given | {"truncation_direction": "Left"})
            assert (status, answer["error_type"]) == (422, "Validation")
            assert "cut at the right" in answer["error"]

    def test_a_static_models_tokens_are_those_that_it_sees(self, tmp_path):
        """Its tokenizer may have a template, which its texts do not go through."""
        encoder = Encoder.load(write_tiny_static(tmp_path / "static"), precision="fp32")
        with service_in_thread(encoder) as service:
            status, answer = service.post("/tokenize", {"inputs": "the cat"})
        assert status == 200
        assert [[token["id"] for token in one] for one in answer] == encoder.tokenize(
            ["the cat"], instruction=""
        ).token_ids


class TestRerank:
    def test_scores_are_the_cross_encoders(self, service, model):
        status, answer = service.post("/rerank", {"query": "a cat", "texts": TEXTS})
        assert status == 200
        expected = model.score([("a cat", text) for text in TEXTS])
        assert [rank["index"] for rank in answer] == np.argsort(-expected, kind="stable").tolist()
        assert all(list(rank) == ["index", "score"] for rank in answer)
        for rank in answer:
            assert np.float32(rank["score"]) == expected[rank["index"]]

    def test_raw_scores_and_texts_are_asked_for(self, service, model):
        answer = service.post("/rerank", {"query": "a cat", "texts": TEXTS, "raw_scores": True, "return_text": True})[1]
        raw = model.encode_token_ids(model.tokenize([("a cat", text) for text in TEXTS]).token_ids)[:, 0]
        for rank in answer:
            assert rank["text"] == TEXTS[rank["index"]]
            assert np.float32(rank["score"]) == raw[rank["index"]]


class TestSimilarity:
    def test_cosines_to_the_source_sentence(self, service, tiny_encoder):
        inputs = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}
        given = {"inputs": inputs, "parameters": {"prompt_name": "document"}}
        directions = tiny_encoder.encode_documents(TEXTS)
        answer = service.post("/similarity", given)[1]
        assert answer == pytest.approx((directions[1:] @ directions[0]).tolist(), abs=1e-6)

    def test_what_is_too_long_is_refused_here_too(self, service):
        inputs = {"source_sentence": "a", "sentences": [LONG]}
        assert service.post("/similarity", {"inputs": inputs})[0] == 422
        assert service.post("/similarity", {"inputs": inputs, "parameters": {"truncate": True}})[0] == 200


class TestTokenize:
    def test_tokens_have_their_place_in_bytes(self, service):
        text = "The Cat é 日本 😀"
        status, (tokens,) = service.post("/tokenize", {"inputs": text})
        assert status == 200
        first, *middle, last = tokens
        assert first == {"id": first["id"], "text": "[CLS]", "special": True, "start": None, "stop": None}
        assert (last["text"], last["special"]) == ("[SEP]", True)
        assert [token["text"] for token in middle[:2]] == ["The", "Cat"]
        for token in middle:
            assert token["text"].encode() == text.encode()[token["start"] : token["stop"]]
        assert middle[-1]["stop"] == len(text.encode())

    def test_they_are_those_that_are_encoded(self, service, tiny_encoder):
        given = {"inputs": TEXTS, "prompt_name": "query"}
        ids = [[token["id"] for token in text] for text in service.post("/tokenize", given)[1]]
        instruction = tiny_encoder.settings.query_instruction
        assert ids == tiny_encoder.tokenize(TEXTS, instruction=instruction).token_ids
        bare = service.post("/tokenize", given | {"add_special_tokens": False})[1]
        assert [[token["id"] for token in text] for text in bare] == [one[1:-1] for one in ids]

    def test_nothing_is_cut_and_far_too_long_texts_are_refused(self, service):
        assert len(service.post("/tokenize", {"inputs": LONG})[1][0]) > 64
        assert service.post("/tokenize", {"inputs": "a " * 8001})[0] == 422

    def test_ids_become_texts_again(self, service, tiny_encoder):
        (ids,) = tiny_encoder.tokenize(["the cat sat"], instruction="").token_ids
        assert service.post("/decode", {"ids": ids}) == (200, ["the cat sat"])
        (text,) = service.post("/decode", {"ids": [ids], "skip_special_tokens": False})[1]
        assert text == "[CLS] the cat sat [SEP]"


class TestRoot:
    def test_a_body_is_what_its_fields_say(self, service):
        assert np.shape(service.post("/", {"inputs": TEXTS})[1]) == (4, 32)
        inputs = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}
        assert np.shape(service.post("/", {"inputs": inputs})[1]) == (3,)
        assert [rank["index"] for rank in service.post("/invocations", {"query": "a", "texts": ["b"]})[1]] == [0]

    def test_it_is_alive(self, service):
        assert service.get("/") == service.get("/ping") == (200, "")

    def test_all_but_that_asks_for_the_key(self, tiny_encoder):
        with service_in_thread(tiny_encoder, api_keys=["secret"]) as service:
            assert service.get("/")[0] == service.get("/ping")[0] == 200
            assert service.get("/info")[0] == 401
            status, answer, headers = service.posted("/", {"inputs": "a"})
            assert (status, answer["error_type"], headers["www-authenticate"]) == (401, "Unauthorized", "Bearer")
            assert service.post("/embed", {"inputs": "a"}, headers={"Authorization": "Bearer secret"})[0] == 200


class TestInfo:
    def test_of_an_embedder(self, service, tiny_int8):
        told = json.loads(service.get("/info")[1])
        assert told["model_id"] == str(tiny_int8)
        assert told["served_model_name"] == "tiny"
        assert told["model_dtype"] == "int8"
        assert told["model_type"] == {"embedding": {"pooling": "mean"}}
        assert (told["max_input_length"], told["max_client_batch_size"], told["auto_truncate"]) == (64, 2048, False)

    def test_the_type_is_that_which_is_computed_in(self, tmp_path):
        """A static model computes in float32, whatever precision is asked for."""
        model, static = write_tiny_model(tmp_path / "model"), write_tiny_static(tmp_path / "static")
        for encoder in (Encoder.load(model, precision="fp32"), Encoder.load(static)):
            with service_in_thread(encoder) as service:
                assert json.loads(service.get("/info")[1])["model_dtype"] == "float32"

    def test_of_a_cross_encoder(self, model):
        with service_in_thread(model, name="judge") as service:
            told = json.loads(service.get("/info")[1])
        assert told["model_type"] == {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}


RANK = {"query": "a", "texts": ["b"]}
SENTENCES = {"inputs": {"source_sentence": "a", "sentences": ["b"]}}


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "message"),
    [
        ("/embed", b"{", 400, "Validation", "not JSON"),
        ("/embed", b"[]", 422, "Validation", "a JSON object is expected"),
        ("/embed", {}, 422, "Validation", "inputs is missing"),
        ("/embed", {"inputs": []}, 400, "Empty", "`inputs` cannot be empty"),
        ("/embed", {"inputs": ""}, 400, "Empty", "`inputs` cannot be empty"),
        ("/embed", {"inputs": ["a", ""]}, 400, "Empty", "`inputs` cannot be empty"),
        ("/embed", {"inputs": [[1, 2]]}, 422, "Validation", "Send strings"),
        ("/embed", {"inputs": ["a"] * 7}, 422, "Validation", "7 texts; a request takes 6 at most"),
        ("/embed", {"inputs": "a", "truncate": "yes"}, 422, "Validation", "true or false"),
        ("/embed", {"inputs": "a", "truncation_direction": "up"}, 422, "Validation", "'Left' or 'Right'"),
        ("/embed", {"inputs": "a", "prompt_name": "clustering"}, 422, "Validation", "there are 'document', 'query'"),
        ("/embed", {"inputs": "a", "dimensions": 0}, 422, "Validation", "1 or more"),
        ("/embed", {"inputs": "a", "dimensions": 33}, 422, "Validation", "it is 1 to 32"),
        ("/embed", {"inputs": "a" * 9000}, 413, "Validation", "the body is larger"),
        ("/rerank", {"query": "a"}, 422, "Validation", "texts is missing"),
        ("/rerank", {"query": "a", "texts": []}, 400, "Empty", "`texts` cannot be empty"),
        ("/rerank", {"texts": ["a"]}, 422, "Validation", "query is missing"),
        ("/rerank", {"query": "", "texts": ["a", ""]}, 400, "Empty", "`inputs` cannot be empty"),
        ("/rerank", {"query": "a", "documents": ["b"]}, 422, "Validation", "go to /v1/rerank"),
        ("/rerank", RANK | {"raw_scores": 1}, 422, "Validation", "true or false"),
        ("/similarity", {"inputs": "a"}, 422, "Validation", "a JSON object is expected"),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, 400, "Empty", "`sentences`"),
        ("/similarity", {"inputs": {"sentences": ["a"]}}, 422, "Validation", "source_sentence is missing"),
        ("/tokenize", {"inputs": []}, 400, "Empty", "`inputs` cannot be empty"),
        ("/tokenize", {"inputs": "a", "prompt_name": 1}, 422, "Validation", "prompt_name is 1"),
        ("/decode", {"ids": "a"}, 422, "Validation", "a list of token ids"),
        ("/decode", {"ids": []}, 400, "Empty", "`ids` cannot be empty"),
        ("/decode", {"ids": [1, -1]}, 422, "Validation", "integers of 0 or more"),
        ("/embed_all", {"inputs": "a"}, 424, "Backend", "a vector a text"),
        ("/embed_sparse", {"inputs": "a"}, 424, "Backend", "no sparse model is served here"),
        ("/predict", {"inputs": "a"}, 424, "Backend", "a vector a text"),
    ],
)
def test_mistakes_are_told_as_there(tiny_encoder, model, path, body, status, kind, message):
    limits = Limits(texts=6, body_bytes=8000)
    with service_in_thread(tiny_encoder, ServedModel.of(model, name="judge"), limits=limits) as service:
        told, answer = service.post(path, body)
    assert (told, answer["error_type"]) == (status, kind)
    assert message in answer["error"]


def test_another_kind_of_model_and_a_failure_of_the_models_are_a_424(tiny_encoder, model):
    with service_in_thread(model, name="judge") as service:
        assert service.post("/embed", {"inputs": "a"}) == (
            424,
            {"error": "no embedder is served here.", "error_type": "Backend"},
        )
        assert service.post("/similarity", SENTENCES)[0] == 424
        assert service.post("/tokenize", {"inputs": "a"})[0] == 200
    with service_in_thread(BrokenEncoder(tiny_encoder, tokens_per_second=1e6)) as service:
        assert service.post("/rerank", RANK)[0] == 424
        status, answer = service.post("/embed", {"inputs": "the cat sat"})  # five tokens
        assert (status, answer["error_type"]) == (424, "Backend")


def test_too_much_is_a_429(tiny_encoder):
    async def ask(port: int) -> list[Answer]:
        connections = [Connection(port) for _ in range(16)]
        body = {"inputs": ["the cat sat on the mat"] * 500}
        return await asyncio.gather(*(one.post("/embed", body) for one in connections))

    with service_in_thread(tiny_encoder, limits=Limits(waiting_requests=1)) as service:
        answers = asyncio.run(ask(service.port))
    assert {answer.status for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status == 429)
    assert json.loads(refused.body)["error_type"] == "Overloaded"
    assert int(refused.headers["retry-after"]) >= 1


OWN_PROMPTS = {"query": "what is ", "passage": "the ", "clustering": "cat "}


class TestDefaultPrompt:
    @pytest.fixture(scope="class")
    def folders(self, tmp_path_factory):
        at = tmp_path_factory.mktemp("prompts")
        source = write_tiny_model(at / "fp32", prompts=OWN_PROMPTS)
        quantize(source, at / "int8", runtime="native", **FEW)
        return {"fp32": source, "int8": at / "int8", "static": write_tiny_static(at / "static")}

    @pytest.mark.parametrize("kind", ["fp32", "int8"])
    @pytest.mark.parametrize("name", ["clustering", "passage", "query"])
    def test_each_of_the_models_own_is_put_before_texts(self, folders, kind, name):
        options = LoadOptions(model=folders[kind], precision=kind)
        encoder = Encoder.load(folders[kind], precision=kind)
        defaults = Defaults(default_prompt_name=name)
        with service_in_thread(ServedModel.asked(options, name="m"), tei_defaults=defaults) as service:
            answer = service.post("/embed", {"inputs": TEXTS})[1]
        assert vectors(answer).tobytes() == encoder.encode(TEXTS, instruction=OWN_PROMPTS[name]).tobytes()

    @pytest.mark.parametrize(
        ("kind", "prompts"),
        [
            ("fp32", "'clustering', 'document', 'query'"),
            ("int8", "'clustering', 'document', 'query'"),
            ("static", "'document', 'query'"),
        ],
    )
    @pytest.mark.parametrize("when", [(), ("--lazy",)])
    def test_another_is_told_at_the_start(self, folders, kind, prompts, when, capsys):
        from intel_quantized_embeddings.cli import main

        given = ["serve", str(folders[kind]), "--port", "0", "--default-prompt-name", "s2p", *when]
        assert main(given) == 1
        said = capsys.readouterr().err
        assert f"(--default-prompt-name) is not a prompt of {folders[kind]}, which has {prompts}: give one" in said
        assert said.count("\n") == 1

    def test_of_models_that_are_loaded_already_and_of_those_that_score_pairs_alone(self, tiny_encoder, model):
        for one in (tiny_encoder, model):
            with (
                pytest.raises(OptionError, match="not a prompt of tiny, which has 'document', 'query'"),
                service_in_thread(one, tei_defaults=Defaults(default_prompt_name="s2p")),
            ):
                pass

    def test_pairs_beside_an_embedder_need_none(self, folders, model):
        served = ServedModel.asked(LoadOptions(model=folders["int8"]), name="m")
        judge = ServedModel.of(model, name="judge")
        with service_in_thread(judge, served, tei_defaults=Defaults(default_prompt_name="clustering")) as service:
            assert service.post("/rerank", RANK)[0] == 200


def test_the_command_takes_that_servers_options(tiny_int8, tiny_encoder):
    with service_in_process(tiny_int8, "--auto-truncate", "--default-prompt-name", "query") as (service, _):
        answer = service.post("/embed", {"inputs": ["a", LONG]})[1]
        assert vectors(answer).tobytes() == tiny_encoder.encode_queries(["a", LONG]).tobytes()
        answer = service.post("/embed", {"inputs": "a", "prompt_name": "document"})[1]
        assert vectors(answer).tobytes() == tiny_encoder.encode_documents(["a"]).tobytes()
