"""What every runtime keeps to, in every precision it has. One suite for all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.encoding.batching import single_text_shapes
from intel_quantized_embeddings.errors import InvalidTextError, ModelFilesError, OptionError
from intel_quantized_embeddings.int8_folder.probes import COUNT_OF_VECTORS
from intel_quantized_embeddings.options import Precision
from intel_quantized_embeddings.runtimes.base import PaddedRuntime
from intel_quantized_embeddings.runtimes.bfloat16 import has_bfloat16
from support.each_runtime import TEXTS, each_runtime
from support.few_texts import FEW
from support.tiny_models import save_in_halves, write_tiny_model

pytestmark = each_runtime


@pytest.fixture(scope="module", params=Precision, ids=lambda precision: precision.value)
def encoder(request, runtime, tiny, tiny_int8_of) -> Encoder:
    precision = request.param
    if precision is Precision.BF16 and runtime == "native":
        pytest.skip("the engine has int8 and fp32")
    if precision is Precision.BF16 and not has_bfloat16():
        pytest.skip("this CPU has no bfloat16 instructions")
    folder = tiny_int8_of(runtime) if precision is Precision.INT8 else tiny
    return Encoder.load(folder, runtime=runtime, precision=precision.value)


def again(encoder: Encoder, *, warm_shapes: bool = False, **options: object) -> Encoder:
    """The same model with other options."""
    return Encoder.load(**{**asdict(encoder._options), "warm_shapes": warm_shapes, **options})


def is_exact(encoder: Encoder) -> bool:
    """Whether not a bit of a vector depends on anything but its text: promised for int8, and by the engine."""
    return "int8" in encoder.fingerprint or encoder.fingerprint.startswith("native")


def test_vectors_are_float32_rows_of_length_one(encoder):
    vectors = encoder.encode_documents(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


def test_rows_come_back_in_input_order(encoder):
    together = encoder.encode_documents(TEXTS)
    alone = np.concatenate([encoder.encode_documents([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=0 if is_exact(encoder) else 2e-2)


def test_int8_vectors_do_not_depend_on_company(encoder):
    if not is_exact(encoder):
        pytest.skip("promised for int8; floating point may differ in the last bits")
    random = np.random.default_rng(0)
    alone = {text: encoder.encode_documents([text])[0] for text in TEXTS}
    for _ in range(10):
        chosen = [TEXTS[i] for i in random.integers(0, len(TEXTS), random.integers(1, 60))]
        vectors = encoder.encode_documents(chosen)
        assert all(np.array_equal(vector, alone[text]) for text, vector in zip(chosen, vectors, strict=True))


def test_token_ids_of_several_calls_are_encoded_as_their_texts_are(encoder):
    instruction = encoder.settings.query_instruction
    texts = [*TEXTS, "stone " * 100]
    halves = [encoder.tokenize(part, instruction=instruction) for part in (texts[:3], texts[3:])]
    assert 4 in halves[1].truncated
    together = encoder.encode_token_ids([ids for half in halves for ids in half.token_ids])
    atol = 0 if is_exact(encoder) else 2e-2
    np.testing.assert_allclose(together, encoder.encode_queries(texts), atol=atol)


BULK = [f"{'stone ' * (number % 50)}water {number}" for number in range(300)]


@pytest.fixture(scope="module")
def two_threads(encoder) -> Encoder:
    """The same with two threads, so that bulk calls go side by side whatever the machine."""
    return again(encoder, num_threads=2)


def test_bulk_goes_side_by_side_and_agrees_with_texts_alone(two_threads, monkeypatch):
    """One query takes all threads, bulk takes one thread a batch. In int8 not a bit is different."""
    in_stream = []
    padded = isinstance(two_threads._runtime, PaddedRuntime)
    if padded:
        real = type(two_threads._runtime).run_in_stream
        monkeypatch.setattr(
            type(two_threads._runtime), "run_in_stream", lambda *batch: (in_stream.append(1), real(*batch))[1]
        )
    bulk = two_threads.encode_documents(BULK)
    assert len(in_stream) > 8 or not padded
    alone = np.concatenate([two_threads.encode_documents([text]) for text in BULK[::7]])
    backwards = two_threads.encode_documents(BULK[::-1])[::-1]
    exact = is_exact(two_threads)
    np.testing.assert_allclose(bulk[::7], alone, rtol=0, atol=0 if exact else 2e-2)
    np.testing.assert_allclose(bulk, backwards, rtol=0, atol=0 if exact else 2e-2)


def test_bulk_of_several_threads_at_once(two_threads):
    """From the first bulk call on, of which there are eight."""
    fresh = again(two_threads)
    expected = two_threads.encode_documents(BULK)
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(fresh.encode_documents, BULK) for _ in range(8)]
        queries = [pool.submit(fresh.encode_documents, [text]) for text in TEXTS]
    exact = is_exact(two_threads)
    for job in jobs:
        np.testing.assert_allclose(job.result(), expected, rtol=0, atol=0 if exact else 2e-2)
    assert all(job.result().shape == (1, fresh.dimension) for job in queries)


def test_identical_texts_are_encoded_once(encoder, monkeypatch):
    shapes = _shapes_run(encoder, monkeypatch)
    texts = ["water", "the cat sat", "water", "water", "the cat sat"]
    vectors = encoder.encode_documents(texts)
    assert sum(rows for rows, _ in shapes) == 2
    assert vectors.shape == (5, encoder.dimension)
    assert np.array_equal(vectors[[0, 1]][[0, 1, 0, 0, 1]], vectors)
    assert not np.array_equal(vectors[0], vectors[1])


def test_a_generator_gives_what_a_list_gives(encoder):
    texts = [f"stone {number % 40}" for number in range(700)]
    assert np.array_equal(encoder.encode_documents(text for text in texts), encoder.encode_documents(texts))


def test_no_shape_of_a_query_is_left_for_a_query_to_prepare(encoder, monkeypatch):
    """Every length that one text can be padded to has run when loading is done, unless that is turned off."""
    if not isinstance(encoder._runtime, PaddedRuntime):
        pytest.skip("a runtime of ragged texts has no shapes to prepare")
    warmed = _shapes_of_loading(encoder, monkeypatch, max_length=50)
    queries = _shapes_run(encoder := again(encoder, max_length=50), monkeypatch)
    for words in (0, 1, 12, 20, 45, 300):
        encoder.encode_queries(["stone " * words])
    assert set(queries) <= set(warmed)
    assert set(warmed) >= set(single_text_shapes(max_length=50))
    # Without it loading runs nothing but the probes of an int8 folder.
    assert len(_shapes_of_loading(encoder, monkeypatch, warm_shapes=False)) <= COUNT_OF_VECTORS


def test_a_cpu_quota_sets_the_number_of_streams(encoder, monkeypatch):
    import importlib

    module = importlib.import_module(type(encoder._runtime).__module__)
    monkeypatch.setattr(module, "within_quota", lambda threads: 1, raising=False)
    monkeypatch.setattr(module, "granted_cores", lambda: 1, raising=False)
    limited = again(encoder)
    assert limited._runtime.streams == 1
    assert again(encoder, num_threads=2)._runtime.streams == 2
    np.testing.assert_allclose(limited.encode_documents(TEXTS), encoder.encode_documents(TEXTS), atol=2e-2)


PINNED = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from intel_quantized_embeddings import Encoder

encoder = Encoder.load(sys.argv[1], runtime=sys.argv[2], num_threads=1)
seen = set()
with ThreadPoolExecutor(1) as pool:
    job = pool.submit(encoder.encode_documents, [f"stone {number}" for number in range(3000)])
    while not job.done():
        for task in os.listdir("/proc/self/task"):
            with suppress(ProcessLookupError):
                seen.add(frozenset(os.sched_getaffinity(int(task))))
assert seen == {frozenset(os.sched_getaffinity(0))}, seen
"""


def test_encoding_pins_no_thread(runtime, tiny_int8_of):
    """Threads that a runtime pins to cores are on the same cores in every process of a machine.

    In a fresh process: OpenVINO as NNCF runs it pins the threads it shares. They are pinned only while they work.
    """
    arguments = [sys.executable, "-c", PINNED, str(tiny_int8_of(runtime)), runtime]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


ASKED_BY_MANY = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from intel_quantized_embeddings import Encoder

encoder = Encoder.load(sys.argv[1], runtime=sys.argv[2], num_threads=2)
encoder.encode_queries(["stone"])
before = len(os.listdir("/proc/self/task"))
with ThreadPoolExecutor(8) as pool:
    all_started = Barrier(8)
    list(pool.map(lambda number: (all_started.wait(), encoder.encode_queries([f"stone {number}"])), range(8)))
    more = len(os.listdir("/proc/self/task")) - before
assert more <= 10, more
"""


def test_threads_that_ask_bring_no_threads_of_their_own(runtime, tiny_int8_of):
    """OpenMP gives each thread that calls it more; a server has dozens."""
    arguments = [sys.executable, "-c", ASKED_BY_MANY, str(tiny_int8_of(runtime)), runtime]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_same_call_twice_gives_the_same_bits(encoder):
    assert np.array_equal(encoder.encode_documents(TEXTS), encoder.encode_documents(TEXTS))


def test_queries_and_documents_get_their_own_instruction(encoder):
    plain = again(encoder, query_instruction="", document_instruction="")
    text = "green tree"
    # "document: " and "query: " are what the tiny model's folder says.
    assert np.array_equal(encoder.encode_queries([text]), plain.encode_queries(["query: " + text]))
    assert np.array_equal(encoder.encode_documents([text]), plain.encode_documents(["document: " + text]))
    assert not np.array_equal(encoder.encode_queries([text]), encoder.encode_documents([text]))


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode_documents([]).shape == (0, encoder.dimension)
    assert encoder.encode_queries(iter(())).shape == (0, encoder.dimension)


@pytest.mark.parametrize("bad", [None, float("nan"), 7, b"bytes", ["nested"]])
def test_what_is_not_text_is_refused_with_its_position(encoder, bad):
    with pytest.raises(InvalidTextError, match="text 1 is"):
        encoder.encode_documents(["fine", bad])


@pytest.mark.parametrize("texts", ["a text", b"bytes", {"text": "a key"}, {"in no order"}, None])
def test_one_string_is_not_a_list_of_texts(encoder, texts):
    with pytest.raises(InvalidTextError, match="a list of strings"):
        encoder.encode_documents(texts)


def test_a_lone_surrogate_is_refused_with_its_position(encoder):
    with pytest.raises(InvalidTextError, match=r"text 2 has the lone surrogate '\\ud800' at character 1"):
        encoder.encode_queries(["fine", "fine", "x\ud800"])


def test_what_is_too_long_is_cut_and_said_once_a_call(encoder, caplog):
    with caplog.at_level("WARNING"):
        long = encoder.encode_documents(["stone " * 500, "short", "stone " * 400])
    assert [record.getMessage() for record in caplog.records] == [
        f"2 of 3 texts are longer than {encoder.max_length} tokens; what is beyond was cut"
    ]
    assert np.array_equal(long[0], long[2])


def test_one_object_serves_several_threads(encoder):
    expected = {text: encoder.encode_documents([text]) for text in TEXTS}
    with ThreadPoolExecutor(8) as pool:
        jobs = [(text, pool.submit(encoder.encode_documents, [text])) for text in TEXTS * 20]
    assert all(np.array_equal(job.result(), expected[text]) for text, job in jobs)


def test_a_progress_bar_counts_the_texts(encoder, capsys):
    encoder.encode_documents(TEXTS, show_progress=True)
    assert f"{len(TEXTS)}/{len(TEXTS)}" in capsys.readouterr().err
    encoder.encode_documents(TEXTS)
    assert capsys.readouterr().err == ""


def test_an_encoder_pickles_as_how_it_was_loaded(encoder):
    import pickle

    again = pickle.loads(pickle.dumps(encoder))
    assert again.fingerprint == encoder.fingerprint
    assert np.array_equal(again.encode_documents(TEXTS), encoder.encode_documents(TEXTS))


def test_the_fingerprint_tells_what_vectors_depend_on(encoder):
    def other(**options):
        return again(encoder, **options).fingerprint

    assert other() == encoder.fingerprint
    assert other(num_threads=1) == encoder.fingerprint
    assert len({encoder.fingerprint, other(max_length=20), other(query_instruction="q")}) == 3


class TestTruncated:
    def test_vectors_are_the_first_numbers_made_of_length_one(self, encoder):
        cut = again(encoder, truncate_dim=12)
        assert (cut.dimension, cut.encode_documents([]).shape) == (12, (0, 12))
        texts = TEXTS * 12  # enough for batches side by side
        for method in ("encode_documents", "encode_queries"):
            whole, vectors = (getattr(encoder_, method)(texts) for encoder_ in (encoder, cut))
            expected = whole[:, :12] / np.linalg.norm(whole[:, :12], axis=1, keepdims=True)
            assert (vectors.shape, vectors.dtype) == ((len(texts), 12), np.float32)
            np.testing.assert_allclose(vectors, expected, atol=1e-6)
        if "int8" in cut.fingerprint:
            alone = [cut.encode_queries([text])[0] for text in TEXTS]
            assert np.array_equal(vectors[: len(TEXTS)], alone)

    def test_vectors_have_a_fingerprint_of_their_own_and_whole_ones_the_models(self, encoder):
        def other(dimension):
            return again(encoder, truncate_dim=dimension)

        assert len({encoder.fingerprint, other(12).fingerprint, other(13).fingerprint}) == 3
        whole = other(encoder.dimension)
        assert whole.fingerprint == encoder.fingerprint
        assert np.array_equal(whole.encode_documents(TEXTS), encoder.encode_documents(TEXTS))

    def test_vectors_keep_their_length_where_the_model_does_not_normalize(self, tiny, runtime):
        raw, cut = (
            Encoder.load(tiny, runtime=runtime, precision="fp32", normalize=False, truncate_dim=dimension)
            for dimension in (None, 12)
        )
        np.testing.assert_allclose(cut.encode_documents(TEXTS), raw.encode_documents(TEXTS)[:, :12], atol=1e-5)

    def test_vectors_can_not_be_longer_than_the_models(self, encoder):
        with pytest.raises(OptionError, match=rf"truncate_dim=1000 .*have {encoder.dimension} numbers"):
            again(encoder, truncate_dim=1000)


CHAIN = [("Dense", {"out_features": 40, "activation": "activation.GELU"}), ("LayerNorm", {}), ("Normalize", {})]


class TestEndings:
    """Several poolings, and modules behind them."""

    @pytest.fixture(scope="class")
    def chained(self, runtime, tmp_path_factory):
        if runtime == "ipex":
            pytest.skip("runtime='ipex' has no endings but the plain ones")
        return write_tiny_model(tmp_path_factory.mktemp("chain") / "model", pooling="max+weightedmean", behind=CHAIN)

    @pytest.fixture(scope="class", params=["int8", "fp32"])
    def encoder(self, request, runtime, chained, tmp_path_factory):
        folder = chained
        if request.param == "int8":
            folder = tmp_path_factory.mktemp("chain") / "int8"
            quantize(chained, folder, runtime=runtime, search=False, measure=False, **FEW)
        return Encoder.load(folder, runtime=runtime, precision=request.param)

    def test_a_text_has_one_vector_in_any_company(self, encoder):
        alone = np.concatenate([encoder.encode_documents([text]) for text in TEXTS])
        assert alone.shape == (len(TEXTS), 40) == (len(TEXTS), encoder.dimension)
        np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-5)
        for texts in (TEXTS, TEXTS[::-1] * 9):
            vectors = encoder.encode_documents(texts)
            expected = alone[[TEXTS.index(text) for text in texts]]
            np.testing.assert_allclose(vectors, expected, rtol=0, atol=0 if is_exact(encoder) else 1e-5)

    def test_settings_say_what_there_is(self, encoder):
        assert encoder.settings.pooling_name == "max+weightedmean"
        assert encoder.settings.modules == ("Dense 64 to 40, GELU", "LayerNorm 40")
        assert "max+weightedmean" in encoder.fingerprint

    def test_vectors_can_be_cut_to_as_many_numbers_as_come_out(self, encoder):
        assert again(encoder, truncate_dim=39).dimension == 39
        with pytest.raises(OptionError, match=r"truncate_dim=41 .*have 40 numbers"):
            again(encoder, truncate_dim=41)

    def test_the_weights_of_modules_are_in_the_fingerprint(self, chained, runtime, tmp_path):
        def fingerprint(folder) -> str:
            return Encoder.load(folder, runtime=runtime, precision="fp32", warm_shapes=False).fingerprint

        other = write_tiny_model(tmp_path / "other", pooling="max+weightedmean", behind=CHAIN)
        assert fingerprint(other) == fingerprint(chained)
        weights = load_file(other / "2_Dense" / "model.safetensors")
        save_file({**weights, "linear.bias": weights["linear.bias"] + 1}, other / "2_Dense" / "model.safetensors")
        assert fingerprint(other) != fingerprint(chained)

    @pytest.mark.parametrize("kept_in", ["bfloat16", "float16"])
    def test_weights_are_read_as_they_are_published(self, chained, runtime, tmp_path, kept_in):
        """In half precision, whatever it is called; pickled ones are not read."""
        other = shutil.copytree(chained, tmp_path / "other")
        file = other / "2_Dense" / "model.safetensors"
        save_in_halves(load_file(file), file, bfloat16=kept_in == "bfloat16")
        texts, load = TEXTS[:3], partial(Encoder.load, runtime=runtime, precision="fp32", warm_shapes=False)
        expected = load(chained).encode_documents(texts)
        np.testing.assert_allclose(load(other).encode_documents(texts), expected, rtol=0, atol=1e-2)
        file.rename(file.with_name("pytorch_model.bin"))
        with pytest.raises(ModelFilesError, match=r"2_Dense has no model\.safetensors.*save_pretrained"):
            load(other)


def test_the_number_of_threads_does_not_change_int8_vectors(encoder):
    if not is_exact(encoder):
        pytest.skip("promised for int8; floating point may differ in the last bits")
    one, two, three = (again(encoder, num_threads=n) for n in (1, 2, 3))
    for texts in (TEXTS, BULK):
        expected = one.encode_documents(texts)
        assert np.array_equal(two.encode_documents(texts), expected)
        assert np.array_equal(three.encode_documents(texts), expected)


def _shapes_run(encoder, monkeypatch) -> list[tuple[int, int]]:
    """Shapes of the batches that an encoder's runtime is given from now on; one for each text that it takes ragged."""
    shapes = []
    if not isinstance(encoder._runtime, PaddedRuntime):
        ragged = type(encoder._runtime).run_ragged

        def noted_ragged(self, token_ids):
            shapes.extend((1, len(ids)) for ids in token_ids)
            return ragged(self, token_ids)

        monkeypatch.setattr(type(encoder._runtime), "run_ragged", noted_ragged)
        return shapes
    for name in ("run", "run_in_stream"):
        real = getattr(type(encoder._runtime), name)

        def noted(self, ids, mask, real=real):
            shapes.append(ids.shape)
            return real(self, ids, mask)

        monkeypatch.setattr(type(encoder._runtime), name, noted)
    return shapes


def _shapes_of_loading(encoder, monkeypatch, **options) -> list[tuple[int, int]]:
    with monkeypatch.context() as context:
        shapes = _shapes_run(encoder, context)
        Encoder.load(**{**asdict(encoder._options), **options})
    return list(shapes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 2}, "max_length=2"),
        ({"max_length": 131}, "130 positions"),
        ({"num_threads": 0}, "num_threads=0"),
        ({"precision": "int4"}, "'int8', 'bf16', 'fp32'"),
        ({"runtime": "onnx"}, "runtime='onnx'"),
        ({"pooling": "first"}, "'cls', 'mean', 'last', 'max'"),
    ],
)
def test_options_out_of_range_are_refused_with_what_is_allowed(encoder, options, message):
    with pytest.raises(OptionError, match=message):
        Encoder.load(**{**asdict(encoder._options), **options})
