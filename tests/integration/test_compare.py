"""`iqe compare`: two encoders side by side, on this machine or behind an address."""

from __future__ import annotations

import json
import pickle
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder, SparseEncoder
from intel_quantized_embeddings.benchmarks import worker
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.comparing import run as comparing
from intel_quantized_embeddings.comparing.endpoint import Endpoint
from intel_quantized_embeddings.comparing.sides import Side
from intel_quantized_embeddings.errors import EndpointError, OptionError
from support import tiny_models
from support.datasets import write_beir, write_intents

for needed in ("pytrec_eval", "bm25s", "sklearn", "scipy", "matplotlib"):
    pytest.importorskip(needed, reason=f"{needed} is not installed (the eval extra)")

QUICK = ["--texts", "10", "--repeats", "2"]


class WorkerHere:
    """A worker without a process of its own; its job is pickled all the same."""

    def __init__(self, job):
        self._serving = worker._Serving(pickle.loads(pickle.dumps(job)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._serving = None

    def ask(self, command, *arguments):
        return getattr(self._serving, command)(*arguments)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    monkeypatch.setattr(comparing, "Worker", WorkerHere)


@pytest.fixture(scope="module")
def beir(tmp_path_factory):
    return write_beir(tmp_path_factory.mktemp("beir"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model of more numbers a vector than `tiny`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_models, "HIDDEN", 2 * tiny_models.HIDDEN)
        return tiny_models.write_tiny_model(tmp_path_factory.mktemp("wide") / "wide")


def compared(*arguments, output):
    """Run the command; the JSON that it wrote."""
    assert main(["compare", *map(str, arguments), *QUICK, "--output", str(output)]) == 0
    return json.loads((output / "comparison.json").read_text("utf-8"))


def test_a_model_in_two_precisions(tiny, beir, tmp_path, capsys):
    intents = write_intents(tmp_path)
    found = compared(f"{tiny}@fp32", f"{tiny}@native-int8", "--dataset", beir, intents, output=tmp_path / "out")
    shown = capsys.readouterr().out
    assert f"A  {tiny.name}@fp32: mean pooling" in shown
    assert f"B  {tiny.name}@native-int8: mean pooling" in shown
    assert "first ten documents in common" in shown
    assert "of the same texts" in shown
    assert max(map(len, shown.splitlines())) <= 100
    retrieval, classification = found["datasets"]
    assert retrieval["comparisons"]["B"]["overlap"] > 0.8
    assert classification["comparisons"]["B"]["cosines"]["texts"]["mean"] > 0.95
    assert found["encoders"]["A"]["fingerprint"] == Encoder.load(tiny, precision="fp32").fingerprint
    assert [one["system"] for one in found["documents"]] == ["A", "B"]
    assert [len(one["turns"]) for one in found["documents"]] == [2, 2]
    assert found["texts"] == found["queries"][0]["queries"] == 10
    assert str(tiny.parent) not in json.dumps(found)
    assert (tmp_path / "out" / "comparison.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("kind", ["layers", "table"])
def test_a_sparse_model_in_two_precisions(kind, beir, tmp_path, capsys):
    write = tiny_models.write_tiny_sparse if kind == "layers" else tiny_models.write_tiny_sparse_router
    model = write(tmp_path / "sparse")
    found = compared(f"{model}@fp32", f"{model}@native-int8", "--dataset", beir, output=tmp_path / "out")
    shown = capsys.readouterr().out
    assert f"A  sparse@fp32: splade pooling, 64 tokens at most, {len(tiny_models.VOCABULARY)} numbers a vector" in shown
    assert max(map(len, shown.splitlines())) <= 100
    (retrieval,) = found["datasets"]
    assert retrieval["comparisons"]["B"]["overlap"] > 0.8
    assert 0.95 < retrieval["comparisons"]["B"]["cosines"]["documents"]["mean"] < 1
    assert found["encoders"]["A"]["fingerprint"] == SparseEncoder.load(model, precision="fp32").fingerprint
    assert found["texts"] == found["queries"][0]["queries"] == 10


def test_a_sparse_model_stands_beside_a_dense_one(tiny, beir, tmp_path, capsys):
    sparse = tiny_models.write_tiny_sparse(tmp_path / "sparse")
    found = compared(tiny, sparse, "--dataset", beir, output=tmp_path / "out")
    assert "no cosines: the vectors of A and B have different sizes" in capsys.readouterr().out
    assert found["datasets"][0]["comparisons"]["B"]["differences"][0]["metric"] == "nDCG@10"


def test_vectors_of_different_sizes_have_scores_and_no_cosines(tiny, wide, beir, tmp_path, capsys):
    found = compared(tiny, f"{wide}@int8", "--dataset", beir, "--json", output=tmp_path)
    assert json.loads(capsys.readouterr().out) == found
    assert found["written"] == {"A": tiny.name, "B": "wide@int8"}
    assert found["datasets"][0]["comparisons"]["B"]["cosines"] == {}
    assert found["datasets"][0]["comparisons"]["B"]["differences"][0]["metric"] == "nDCG@10"
    assert found["encoders"]["B"]["dimension"] == 2 * found["encoders"]["A"]["dimension"]
    compared(tiny, wide, "--dataset", beir, output=tmp_path)
    assert "no cosines: the vectors of A and B have different sizes" in capsys.readouterr().out


def test_a_service_gives_the_vectors_of_what_it_serves(tmp_path, beir, capsys, monkeypatch):
    """With its instruction for queries, and asked with a key that is shown nowhere."""
    services = pytest.importorskip("support.services", reason="the serve extra is not installed", exc_type=ImportError)
    pytest.importorskip("uvicorn", reason="the serve extra is not installed")
    model = tiny_models.write_tiny_model(tmp_path / "instructed")
    encoder = Encoder.load(model, query_instruction="what is ")
    monkeypatch.setenv("IQE_API_KEY", "a-key-of-mine")
    with services.service_in_thread(encoder, api_keys=["a-key-of-mine"]) as service:
        endpoint = Endpoint(f"{service.url}/v1").connect()
        texts = ["the river", "", "a mountain"] * 20
        assert np.array_equal(endpoint.encode_documents(texts), encoder.encode_documents(texts))
        assert np.array_equal(endpoint.encode_queries(texts[:3]), encoder.encode_queries(texts[:3]))
        found = compared(f"{service.url}/v1@tiny", model, "--dataset", beir, output=tmp_path / "out")
    shown = capsys.readouterr()
    assert found["encoders"]["A"] == {"endpoint": f"{service.url}/v1", "model": "tiny", "dimension": encoder.dimension}
    assert found["datasets"][0]["comparisons"]["B"]["cosines"]["documents"]["worst"] == pytest.approx(1)
    assert "an endpoint's speed is with its network" in shown.out
    assert "a-key-of-mine" not in shown.out + shown.err + json.dumps(found)


@contextmanager
def server(answers):
    """A server that gives each path its answers, one after another, the last again and again."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            listed = answers[self.path]
            status, body, *headers = listed.pop(0) if len(listed) > 1 else listed[0]
            content = body.format(key=self.headers.get("Authorization")).encode() if "{key}" in body else body.encode()
            self.send_response(status)
            for name, value in [*headers, ("Content-Length", str(len(content)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/v1"
        finally:
            listening.shutdown()
            thread.join()


ONE_MODEL = (200, json.dumps({"data": [{"id": "m"}]}))


def test_lists_of_numbers_in_any_order_are_taken_and_a_busy_server_is_asked_again():
    rows = [{"index": 1, "embedding": [0.5, 1]}, {"index": 0, "embedding": [2, 3]}]
    answers = {
        "/v1/models": [ONE_MODEL],
        "/v1/embeddings": [(429, "{}", ("Retry-After", "0")), (200, json.dumps({"data": rows}))],
    }
    with server(answers) as address:
        assert Endpoint(address).connect().encode_queries(["a", "b"]).tolist() == [[2, 3], [0.5, 1]]


@pytest.mark.parametrize(
    ("models", "embeddings", "error", "message"),
    [
        ((404, "not here"), (200, "{}"), EndpointError, r"/models answered 404: not here An address ends in /v1"),
        ((200, '{"data": [{"id": "m"}, {"id": "n"}]}'), (200, "{}"), OptionError, r"/v1@NAME, of m, n"),
        ((200, "<html>"), (200, "{}"), EndpointError, "is not JSON: <html>"),
        ((200, "{}"), (200, "{}"), EndpointError, "does not list models"),
        (ONE_MODEL, (401, '{{"error": {{"message": "wrong: {key}"}}}}'), EndpointError, r"401: wrong: Bearer \*\*\*"),
        (ONE_MODEL, (200, '{"data": []}'), EndpointError, "did not answer with a vector of finite numbers for each"),
        (
            ONE_MODEL,
            (200, '{"data": [{"index": 0, "embedding": [NaN]}]}'),
            EndpointError,
            "finite numbers for each of 1",
        ),
        (ONE_MODEL, (200, '{"data": [{"index": 0, "embedding": "not base64"}]}'), EndpointError, "finite numbers"),
    ],
)
def test_what_is_no_endpoint_is_an_error_that_says_why(models, embeddings, error, message, monkeypatch):
    monkeypatch.setenv("IQE_API_KEY", "a-key-of-mine")
    with server({"/v1/models": [models], "/v1/embeddings": [embeddings]}) as address:
        with pytest.raises(error, match=message) as raised:
            Endpoint(address).connect().encode_documents(["a text"])
        assert "a-key-of-mine" not in str(raised.value)


@pytest.mark.parametrize("key", ["secret\n", "two words", "ключ-secret", " "])
def test_a_key_that_headers_can_not_carry_is_an_error_that_does_not_show_it(key, monkeypatch):
    monkeypatch.setenv("IQE_API_KEY", key)
    with pytest.raises(OptionError, match="IQE_API_KEY has spaces, line ends or what is not ASCII") as raised:
        Endpoint("http://127.0.0.1:1/v1").connect()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["{tiny}@int4", "{tiny}"],
            "'int4' may not stand behind an @. Write MODEL, or MODEL@ and one of int8, bf16, fp32",
        ),
        (["@int8", "{tiny}"], "'@int8' is not a model"),
        (["{tiny}", "http://me:secret@127.0.0.1:1/v1"], "the address of 127.0.0.1:1 has a name or a password in it"),
        (["{tiny}", "http://127.0.0.1:1x/v1"], "is not an address; write http://HOST:PORT/v1"),
        (["{tiny}", "http://[::1/v1"], "is not an address"),
        (["{tiny}", "http://a..b/v1"], "is not an address"),
        (["{tiny}", "http://127.0.0.1:1/vé"], "in ASCII but for MODEL"),
        (["http://127.0.0.1:1/v1", "{tiny}"], "can't be reached: [Errno 111] Connection refused. Is it running"),
        (["{tiny}", "no/such-model", "--local-files-only"], "no/such-model"),
        (["{tiny}", "{cross}"], "CrossEncoder"),
        (["{int8}@fp32", "{tiny}"], "fp32"),
        (["{tiny}", "{tiny}", "--dataset", "absent"], "no folder absent; a dataset is a folder with"),
        (["{tiny}", "{tiny}", "--texts", "0"], "--texts 0 is not allowed; it is 1 or more"),
    ],
)
def test_mistakes_say_what_to_do(tiny, tiny_int8, tiny_cross_encoder, beir, tmp_path, arguments, message, capsys):
    places = {"tiny": tiny, "int8": tiny_int8, "cross": tiny_cross_encoder}
    given = [argument.format(**places) for argument in arguments]
    dataset = [] if "--dataset" in given else ["--dataset", str(beir)]
    assert main(["compare", *given, *dataset, "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "secret" not in said
    assert "60 documents" not in said, "it was found out before anything was encoded"
    assert not (tmp_path / "out").exists()


def test_a_folder_may_have_an_at_sign_in_its_name(tmp_path):
    folder = tmp_path / "model@int8"
    folder.mkdir()
    assert Side.parse(str(folder)).model == str(folder)
    assert Side.parse(f"{folder}@fp32").chosen == {"precision": "fp32"}


@pytest.mark.parametrize(
    "written", ["http://h:1/v1", "http://h:1/v1/", "http://h:1/v1/embeddings", "http://h:1/v1@a/b"]
)
def test_addresses(written):
    side = Side.parse(written)
    assert (side.model, side.chosen["name"]) == ("http://h:1/v1", "a/b" if "@" in written else "")
