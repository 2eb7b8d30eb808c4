"""Any text gives a finite unit vector, anything else a clear error, on every runtime; property tests."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intel_quantized_embeddings import CrossEncoder, Encoder, Reranker
from intel_quantized_embeddings.architectures.llama import LLAMA
from intel_quantized_embeddings.errors import InvalidTextError, OptionError
from support.tiny_models import without_special_tokens, write_tiny_model

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300)
PROPERTY = settings(
    max_examples=settings.default.max_examples // 4,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

AWKWARD = {
    "empty": "",
    "whitespace": " \t\r\n\v\f\u00a0\u2003\u3000",
    "NUL": "a\0b\0",
    "control characters": "".join(map(chr, [*range(32), *range(127, 160)])),
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627\u202c",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f3f3\ufe0f\u200d\U0001f308",
    "marks": "a" + "\u0301" * 20_000,
    "no characters": "\ufeff\ufffe\uffff\U0010ffff\ue000",
    "special tokens": "[CLS] [SEP] [PAD] [UNK] [MASK] </s>",
    "one long word": "x" * 200_000,
}


@pytest.fixture(scope="module")
def encoder(runtime, tiny_int8_of) -> Encoder:
    return Encoder.load(tiny_int8_of(runtime), runtime=runtime)


@pytest.fixture(scope="module")
def cross_encoder(tiny_cross_encoder_int8) -> CrossEncoder:
    return CrossEncoder.load(tiny_cross_encoder_int8)


def _assert_unit(vectors: np.ndarray, count: int) -> None:
    assert vectors.shape == (count, 32)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_texts_have_unit_vectors(encoder, name):
    _assert_unit(encoder.encode_documents([AWKWARD[name]]), 1)
    _assert_unit(encoder.encode_queries([AWKWARD[name], "the cat"]), 2)


def test_a_text_without_a_token_is_named(runtime, tmp_path):
    """Where the tokenizer puts nothing around a text, as BERT's puts two."""
    if runtime == "ipex":
        pytest.skip("it runs the BERT families alone, whose tokenizers put something around every text")
    folder = without_special_tokens(write_tiny_model(tmp_path / "bare", family=LLAMA))
    encoder = Encoder.load(folder, precision="fp32", runtime=runtime)
    _assert_unit(encoder.encode_documents(["the cat"]), 1)
    for texts in (["the cat", "the cat", "", "a river"], ["cat"] * 2 + [" \n"]):
        with pytest.raises(InvalidTextError, match="text 2 has no token"):
            encoder.encode_documents(texts)
        with pytest.raises(InvalidTextError, match="text 2 has no token"):
            encoder.tokenize(texts, instruction="")
    with pytest.raises(InvalidTextError, match="text 1 has no token"):
        encoder.encode_token_ids([[5], []])


@PROPERTY
@given(texts=st.lists(ANY_TEXT, max_size=8))
def test_any_texts_have_unit_vectors_of_their_own(encoder, texts):
    """A text's vector does not depend on the others, nor on being asked for twice."""
    vectors = encoder.encode_documents(texts)
    _assert_unit(vectors, len(texts))
    for text, vector in zip(texts[:2], vectors, strict=False):
        assert np.allclose(encoder.encode_documents([text])[0], vector, atol=1e-5)


@PROPERTY
@given(before=ANY_TEXT, half=st.characters(categories=["Cs"]), after=ANY_TEXT)
def test_half_a_surrogate_pair_anywhere_is_an_error_with_its_place(encoder, before, half, after):
    with pytest.raises(InvalidTextError, match=rf"text 1 has the lone surrogate .* at character {len(before)},"):
        encoder.encode_documents(["fine", before + half + after])


@PROPERTY
@given(
    wrong=st.one_of(
        st.none(), st.integers(), st.floats(), st.binary(), st.lists(st.text()), st.dictionaries(st.text(), st.text())
    )
)
def test_what_is_no_text_is_an_error_with_its_place(encoder, wrong):
    with pytest.raises(InvalidTextError, match=r"text 1 is .* of type \w+; every text must be a str"):
        encoder.encode_documents(["fine", wrong])


class Table:
    """As pandas': it has rows and columns, and its items are the columns' names."""

    ndim = 2

    def __iter__(self):
        return iter(["text", "title"])


NO_LIST = ["text", b"bytes", None, 7, 1.5, np.array("text"), np.str_("text"), {"text": 1}, Table(), object()]


@pytest.mark.parametrize("texts", NO_LIST, ids=lambda texts: type(texts).__name__)
def test_what_is_no_list_of_texts_is_an_error(encoder, cross_encoder, texts):
    for refused in (
        lambda: encoder.encode_documents(texts),
        lambda: encoder.encode(texts, instruction=""),
        lambda: encoder.tokenize(texts, instruction=""),
        lambda: cross_encoder.score(texts),
        lambda: cross_encoder.tokenize(texts),
        lambda: Reranker(encoder).rank("query", texts),
        lambda: encoder.encode_token_ids(texts),
        lambda: cross_encoder.encode_token_ids(texts),
    ):
        with pytest.raises(InvalidTextError, match=r"a list of .* is expected"):
            refused()


@pytest.mark.parametrize("several", [iter, tuple, np.array, lambda texts: (text for text in texts)])
def test_texts_may_come_from_any_iterable(encoder, cross_encoder, several):
    texts = ["the cat", "a river of stars"]
    assert np.array_equal(encoder.encode_documents(several(texts)), encoder.encode_documents(texts))
    assert encoder.tokenize(several(texts), instruction="") == encoder.tokenize(texts, instruction="")
    assert len(cross_encoder.tokenize(iter([("the cat", "a river")])).token_ids) == 1


@pytest.mark.parametrize("instruction", [None, 3, b"query: ", ["query: "], "\ud800"], ids=repr)
def test_what_is_no_instruction_is_an_error(encoder, instruction):
    for call in (encoder.encode, encoder.tokenize):
        with pytest.raises(OptionError, match="instruction"):
            call(["the cat"], instruction=instruction)


def test_token_ids_may_be_an_array(encoder):
    ids = [[2, 5, 3], [2, 6, 3]]
    assert np.array_equal(encoder.encode_token_ids(np.array(ids)), encoder.encode_token_ids(ids))


@pytest.mark.parametrize(
    "wrong", ["x" * 10_000_000, [b"x" * 10_000_000], [["x"] * 1_000_000]], ids=["text", "bytes", "list"]
)
def test_a_message_shows_a_part_of_what_is_large(tiny_encoder, wrong):
    with pytest.raises(InvalidTextError) as caught:
        tiny_encoder.encode_documents(wrong)
    assert len(str(caught.value)) < 500


@PROPERTY
@given(pairs=st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=6))
def test_any_pairs_have_finite_scores(cross_encoder, pairs):
    scores = cross_encoder.score(pairs)
    assert scores.shape == (len(pairs),)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("megabytes", [1, pytest.param(10, marks=pytest.mark.soak)])
@pytest.mark.parametrize("text", ["the cat sat on a mat. ", "\u732b", "x"], ids=["words", "Chinese", "one word"])
def test_megabytes_in_a_text(tiny_encoder, text, megabytes):
    _assert_unit(tiny_encoder.encode_documents([text * (megabytes * 10**6 // len(text.encode()))]), 1)


def _most_memory() -> int:
    """The most that this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_very_many_texts_in_a_call(tiny_encoder, count):
    """In memory that holds the vectors, a digest of every text, and little beside."""
    tiny_encoder.encode_documents(f"the cat {number}" for number in range(5_000))
    before, started = _most_memory(), time.perf_counter()
    vectors = tiny_encoder.encode_documents(f"the dog {number}" for number in range(count))
    assert time.perf_counter() - started < 60
    assert _most_memory() - before < count * 600 + 50_000_000
    _assert_unit(vectors, count)
