"""Which texts calibrate and which are held out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError
from intel_quantized_embeddings.quantization.calibration import (
    MOST_DOCUMENTS,
    MOST_QUERIES,
    Texts,
    built_in_texts,
    calibration_set,
    read_texts,
    split,
)

some_texts = st.lists(st.text(min_size=1, max_size=50), min_size=10, max_size=400, unique=True).map(tuple)


def test_the_built_in_texts_are_about_300_of_every_length_and_all_different():
    texts = built_in_texts()
    everything = texts.documents + texts.queries
    words = [len(text.split()) for text in everything]
    assert 280 <= len(everything) == len(set(everything))
    assert sum(1 for n in words if n >= 200) >= 25
    assert sum(1 for n in words if n <= 15) >= 60
    assert max(words) <= 420
    assert sum(not text.isascii() for text in everything) >= 25
    assert sum("def " in text or "SELECT" in text or "#include" in text for text in everything) >= 3


@given(some_texts, some_texts)
def test_no_text_is_both_calibrated_on_and_held_out(documents, queries):
    parts = split(Texts(documents=documents, queries=queries))
    assert not set(parts.calibrated.documents) & set(parts.held_out.documents)
    assert not set(parts.calibrated.queries) & set(parts.held_out.queries)


@given(some_texts, some_texts)
def test_a_split_is_bounded_and_leaves_no_part_empty(documents, queries):
    parts = split(Texts(documents=documents, queries=queries))
    for part in (parts.calibrated, parts.held_out):
        assert 1 <= len(part.documents) <= MOST_DOCUMENTS
        assert 1 <= len(part.queries) <= MOST_QUERIES


@given(some_texts, st.randoms())
def test_order_does_not_change_a_split(texts, random):
    shuffled = list(texts)
    random.shuffle(shuffled)
    assert split(Texts(documents=texts, queries=texts)) == split(Texts(documents=tuple(shuffled), queries=texts))


def test_both_halves_have_short_and_long_texts():
    parts = split(built_in_texts())
    for part in (parts.calibrated, parts.held_out):
        sizes = sorted(len(text.split()) for text in part.documents)
        assert sizes[0] <= 6
        assert sizes[-1] >= 350


def test_the_callers_texts_replace_the_built_in_ones_of_their_kind_only():
    own = [f"a document number {i}" for i in range(20)]
    texts = calibration_set(own)
    assert texts.documents == tuple(own)
    assert texts.queries == built_in_texts().queries


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["a", "b"], "at least 10"),
        ("one string", "a list of texts"),
        ({"a": "text"}, "a list of texts"),
        (["text"] * 20 + [None], "None"),
    ],
)
def test_unusable_texts_are_refused_with_the_reason(texts, problem):
    with pytest.raises(OptionError, match=problem):
        calibration_set(texts)


def test_the_digest_depends_on_every_text_and_its_kind():
    one = Texts(documents=("a", "b"), queries=("c",))
    assert one.digest == Texts(documents=("a", "b"), queries=("c",)).digest
    assert one.digest != Texts(documents=("a",), queries=("b", "c")).digest
    assert one.digest != Texts(documents=("a", "b"), queries=("d",)).digest


def test_a_text_file_is_read_a_line_a_text(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("first\n\nsecond\n", "utf-8")
    assert read_texts(file) == ["first", "second"]


def test_a_jsonl_file_is_read_with_its_titles(tmp_path):
    file = tmp_path / "corpus.jsonl"
    file.write_text(json.dumps({"title": "T", "text": "x"}) + "\n" + json.dumps({"text": "y"}) + "\n", "utf-8")
    assert read_texts(file) == ["T x", "y"]


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(ModelFilesError, match=r"absent\.txt"):
        read_texts(tmp_path / "absent.txt")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "fine"}\n{"no": 1}\n', "utf-8")
    with pytest.raises(DamagedFilesError, match="entry 2"):
        read_texts(bad)
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"caf\xe9\n")
    with pytest.raises(DamagedFilesError, match="UTF-8"):
        read_texts(latin)
