"""From texts to rows in order, whatever the windows, batches and streams; with a runtime made of arithmetic."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings import CrossEncoder, Encoder
from intel_quantized_embeddings.encoding import pipeline, warming
from intel_quantized_embeddings.encoding.batching import planned_shapes, single_text_shapes
from intel_quantized_embeddings.errors import DamagedFilesError, InvalidTextError
from intel_quantized_embeddings.models.scoring import Activation, CrossEncoderSettings
from intel_quantized_embeddings.models.settings import read_settings
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from support.tiny_models import VOCABULARY, write_tiny_model, write_tiny_tokenizer

MAX_LENGTH = 100
PAD = 0


@dataclass
class Sums:
    """A runtime whose vector is (sum of the ids, sum of their squares, number of tokens)."""

    streams: int = 2
    dimension: int = 3
    shapes: list[tuple[int, int]] = field(default_factory=list)
    with_all_threads: int = 0
    at_once: int = 0
    most_at_once: int = 0
    fail_at: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, input_ids, attention_mask):
        with self.lock:
            self.with_all_threads += 1
        return self._vectors(input_ids, attention_mask)

    def run_in_stream(self, input_ids, attention_mask):
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            time.sleep(0.0005)  # let others come beside it
            return self._vectors(input_ids, attention_mask)
        finally:
            with self.lock:
                self.at_once -= 1

    def _vectors(self, input_ids, attention_mask):
        with self.lock:
            self.shapes.append(input_ids.shape)
            if self.fail_at is not None and len(self.shapes) > self.fail_at:
                raise RuntimeError("the runtime broke")
        ids = input_ids * attention_mask
        assert np.all(input_ids[attention_mask == 0] == PAD)
        return np.stack([ids.sum(1), (ids**2).sum(1), attention_mask.sum(1)], axis=1).astype(np.float32)


def _expected(token_ids):
    return np.array([[sum(ids), sum(i * i for i in ids), len(ids)] for ids in token_ids], np.float32).reshape(-1, 3)


def _encode(runtime, windows, **options):
    return pipeline.encode_token_ids(runtime, windows, pad_token_id=PAD, max_length=MAX_LENGTH, **options)


token_ids = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=MAX_LENGTH), max_size=60)


@given(st.lists(token_ids, max_size=5), st.integers(1, 4))
def test_rows_come_in_input_order_from_any_windows_and_streams(windows, streams):
    runtime = Sums(streams=streams)
    texts = [ids for window in windows for ids in window]
    found = _encode(runtime, windows)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, _expected(texts))
    assert set(runtime.shapes) <= set(planned_shapes(max_length=MAX_LENGTH))
    assert runtime.most_at_once <= streams


def test_few_batches_get_all_threads_and_many_one_each():
    few, many = Sums(), Sums()
    _encode(few, [[[1] * 100] * 3])
    _encode(many, [[[1] * 100] * 100])
    assert (few.with_all_threads, few.most_at_once) == (len(few.shapes), 0)
    assert (many.with_all_threads, many.most_at_once) == (0, 2)


def test_many_threads_are_not_all_given_to_one_small_batch():
    """With 64 streams, 20 batches run side by side rather than each with 64 threads."""
    runtime = Sums(streams=64)
    _encode(runtime, [[[1] * 100] * 80])
    assert runtime.with_all_threads == 0


def test_windows_do_not_break_full_batches_apart():
    """Short texts of many small windows wait for each other."""
    runtime = Sums()
    _encode(runtime, [[[1, 2, 3]] * 5 for _ in range(100)])
    assert sorted(rows for rows, _ in runtime.shapes) == [4, 16, 32, *[64] * 7]


def test_progress_counts_every_text():
    counted = []
    _encode(Sums(), [[[1] * n for n in range(1, 60)]] * 3, on_progress=counted.append)
    assert sum(counted) == 3 * 59


def _threads_of_ours():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("encode", "tokenize"))]


def _tokenized(texts):
    """Windows as the encoder makes them, tokenized on another thread."""
    for window in pipeline.tokenize_windows(texts, _Words(), instruction=""):
        yield window.token_ids


@pytest.mark.parametrize("fail_at", [0, 30])
def test_an_error_of_the_runtime_comes_out_and_ends_the_threads(fail_at):
    windows = _tokenized(["word " * 90] * 5000)
    with pytest.raises(RuntimeError, match="the runtime broke") as caught:
        _encode(Sums(fail_at=fail_at), windows)
    windows.close()
    assert caught.traceback  # holds the frames, and with them whatever was not closed
    assert not _threads_of_ours()


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_error_while_progress_is_shown_comes_out_and_ends_the_threads(kind):
    def stop(count):
        raise kind("enough")

    windows = _tokenized(["word " * 90] * 5000)
    with pytest.raises(kind, match="enough") as caught:
        _encode(Sums(), windows, on_progress=stop)
    windows.close()
    assert caught.traceback
    assert not _threads_of_ours()


def test_an_error_of_the_caller_comes_out_and_ends_the_threads():
    def texts():
        yield from (f"cat {number}" for number in range(2000))
        raise KeyError("the cursor broke")

    with pytest.raises(KeyError, match="the cursor broke") as caught:
        _encode(Sums(), _tokenized(texts()))
    assert caught.traceback
    assert not _threads_of_ours()


@pytest.mark.parametrize(("runtime", "methods"), [("native", ["run_ragged"]), ("openvino", ["run", "run_in_stream"])])
def test_an_encoder_that_fails_leaves_no_thread(tiny_int8_of, monkeypatch, runtime, methods):
    def broken(self, *batch):
        raise RuntimeError("the runtime broke")

    encoder = Encoder.load(tiny_int8_of(runtime), warm_shapes=False)
    for method in methods:
        monkeypatch.setattr(type(encoder._runtime), method, broken)
    with pytest.raises(RuntimeError, match="the runtime broke") as caught:
        encoder.encode_documents([f"stone {number}" for number in range(3000)])
    assert caught.traceback
    assert not _threads_of_ours()


def test_warming_up_runs_every_shape_of_one_text():
    runtime = Sums()
    warming.warm_up(runtime, max_length=MAX_LENGTH)
    assert runtime.shapes == single_text_shapes(max_length=MAX_LENGTH)


class _SlowSums(Sums):
    """A runtime on which a token takes a while, by a clock of its own."""

    def __init__(self, *, seconds_a_token):
        super().__init__()
        self.seconds_a_token, self.now = seconds_a_token, 0.0

    def run(self, ids, mask):
        self.now += ids.size * self.seconds_a_token
        return super().run(ids, mask)


@pytest.mark.parametrize("max_length", [512, 8192, 131_072])
@pytest.mark.parametrize("seconds_a_token", [0.0, 0.0001, 0.001, 0.01])
def test_warming_up_is_bounded_whatever_the_models_length_and_size(max_length, seconds_a_token):
    runtime = _SlowSums(seconds_a_token=seconds_a_token)
    longest = warming.warm_up(runtime, max_length=max_length, clock=lambda: runtime.now)
    assert sum(length for _, length in runtime.shapes) <= warming.WARM_TOKENS
    assert runtime.now <= warming.WARM_SECONDS
    assert runtime.shapes == single_text_shapes(max_length=max_length)[: len(runtime.shapes)]
    assert runtime.shapes[-1] == (1, longest)


def test_all_lengths_of_a_model_of_512_tokens_are_warmed_up():
    runtime = Sums()
    assert warming.warm_up(runtime, max_length=512, clock=lambda: 0.0) == 512


class _Words:
    """A tokenizer that notes where it ran."""

    def __init__(self):
        self.threads = set()

    def encode(self, texts, *, instruction):
        self.threads.add(threading.current_thread().name)
        lengths = [[1] * (len(text.split()) + 1) for text in texts]
        return pipeline.TokenizedTexts(token_ids=lengths, truncated=set())


def test_texts_are_read_where_the_caller_is_and_tokenized_beside():
    """A generator over a database cursor must stay on its thread."""
    read_on = set()

    def texts():
        for number in range(3000):
            read_on.add(threading.current_thread().name)
            yield f"text {number}"

    words = _Words()
    windows = list(pipeline.tokenize_windows(texts(), words, instruction=""))
    assert sum(len(window.token_ids) for window in windows) == 3000
    assert read_on == {threading.current_thread().name}
    assert read_on.isdisjoint(words.threads)


def test_a_generator_is_read_a_few_windows_ahead_and_no_further():
    runtime, read, ahead = Sums(), 0, []

    def texts():
        nonlocal read
        for number in range(50_000):
            read += 1
            yield "word " * (number % 90)

    done = 0

    def progress(count):
        nonlocal done
        done += count
        ahead.append(read - done)

    windows = (window.token_ids for window in pipeline.tokenize_windows(texts(), _Words(), instruction=""))
    assert len(_encode(runtime, windows, on_progress=progress)) == done == 50_000
    assert max(ahead) < 2000


def test_a_window_ends_at_its_number_of_characters(tmp_path):
    """Few long texts are tokenized at a time: the tokenizer needs many times their size."""
    sizes = []

    class Noting(_Words):
        def encode(self, texts, *, instruction):
            sizes.append(sum(map(len, texts)))
            return super().encode(texts, instruction=instruction)

    list(pipeline.tokenize_windows(["x" * 400_000] * 10, Noting(), instruction=""))
    assert max(sizes) < pipeline.WINDOW_CHARACTERS + 400_000


@given(st.lists(st.sampled_from(["a", "b", "", "a ", "é", "A"]), max_size=30))
def test_identical_texts_share_a_row(texts):
    distinct = pipeline.DistinctTexts(texts)
    kept = list(distinct)
    assert len(set(kept)) == len(kept)
    assert [kept[row] for row in distinct.rows] == texts


def test_the_position_of_a_bad_text_is_the_callers():
    with pytest.raises(InvalidTextError, match="text 3 is None"):
        list(pipeline.DistinctTexts(["a", "a", "a", None]))
    with pytest.raises(InvalidTextError, match=r"text 2 has the lone surrogate '\\udc00' at character 0"):
        list(pipeline.DistinctTexts(["a", "a", "\udc00"]))


class SpoiltByCats(Sums):
    """Gives NaN for texts with the word cat, and those alone, whatever they are beside."""

    def _vectors(self, input_ids, attention_mask):
        rows = super()._vectors(input_ids, attention_mask)
        rows[(input_ids == VOCABULARY.index("cat")).any(axis=1)] = np.nan
        return rows


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("place", [0, 7, 900])
def test_the_position_of_a_text_without_finite_numbers_is_the_callers(tmp_path, place, streams):
    """Not its place among the distinct texts, and not that of another of its batch."""
    write_tiny_tokenizer(tmp_path / "tokenizer.json")
    encoder = Encoder(
        runtime=SpoiltByCats(streams=streams),
        tokenizer=Tokenizer(tmp_path / "tokenizer.json", max_length=MAX_LENGTH),
        settings=read_settings(write_tiny_model(tmp_path / "tiny"), name="tiny"),
        pad_token_id=PAD,
        fingerprint="none",
    )
    texts = ["the dog", "the dog", "a river"] * 400
    texts[place], texts[-1] = "the cat", "the cat"
    with pytest.raises(DamagedFilesError, match=rf"not finite \(NaN or infinity\) for text {place}: its weights"):
        encoder.encode_documents(texts)


def test_pairs_are_called_pairs(tmp_path):
    write_tiny_tokenizer(tmp_path / "tokenizer.json")
    model = CrossEncoder(
        runtime=SpoiltByCats(),
        tokenizer=Tokenizer(tmp_path / "tokenizer.json", max_length=MAX_LENGTH),
        settings=CrossEncoderSettings(max_length=MAX_LENGTH, activation=Activation.IDENTITY),
        second_text=0,
        pad_token_id=PAD,
        fingerprint="none",
    )
    with pytest.raises(DamagedFilesError, match="for pair 2: its weights"):
        model.score([("dog", "dog"), ("dog", "dog"), ("dog", "a cat"), ("dog", "cat")])
    with pytest.raises(InvalidTextError, match="the document of pair 1 is None of type NoneType"):
        model.score([("dog", "dog"), ("dog", None)])
    with pytest.raises(InvalidTextError, match=r"the query of pair 0 has the lone surrogate '\\udc00' at character 4"):
        model.score([("dog \udc00", "dog")])


def test_windows_give_the_ids_of_one_call(tmp_path):
    file = tmp_path / "tokenizer.json"
    write_tiny_tokenizer(file)
    tokenizer = Tokenizer(file, max_length=8)
    texts = ["the cat " * (number % 7) for number in range(1500)]
    at_once = tokenizer.encode(texts, instruction="what is ")
    windows = list(pipeline.tokenize_windows(texts, tokenizer, instruction="what is "))
    assert [len(window.token_ids) for window in windows] == [128, 256, 512, 512, 92]
    assert [ids for window in windows for ids in window.token_ids] == at_once.token_ids
    assert sum(len(window.truncated) for window in windows) == len(at_once.truncated)
