"""Which texts are measured: real, different, the same every time, of the length that is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings.benchmarks.texts import (
    choose,
    open_tokenizer,
    query_texts,
    read_corpus,
    texts_of_length,
)
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError
from support.tiny_models import write_tiny_tokenizer

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "red",
    "mat",
    "and",
    "the",
    "dog",
    "was",
    "by",
    "the",
    "river",
    "with",
    "a",
    "book",
    "of",
    "stars",
]
TEXTS = [" ".join(WORDS[i:] + WORDS[:i]) + f" {i}." for i in range(len(WORDS))]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tiny_tokenizer(file)
    return open_tokenizer(file)


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.lists(st.text(max_size=4), max_size=12), max_size=4),
    st.integers(0, 30),
)
def test_no_text_is_chosen_twice_and_blank_ones_never(sources, count):
    chosen = [text for texts in choose(sources, count=count, seed=3).values() for text in texts]
    there_are = {text for texts in sources.values() for text in texts if text.strip()}
    assert len(chosen) == len(set(chosen)) == min(count, len(there_are))
    assert set(chosen) <= there_are


def test_the_corpus_is_as_mixed_as_its_sources():
    sources = {"many": [f"m{i}" for i in range(9000)], "few": [f"f{i}" for i in range(1000)], "blank": [" "]}
    chosen = choose(sources, count=1000, seed=0)
    assert 60 <= len(chosen["few"]) <= 140
    assert len(chosen["many"]) + len(chosen["few"]) == 1000
    assert chosen["blank"] == []


def test_the_corpus_is_the_same_every_time_and_recorded(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(TEXTS * 2), "utf-8")
    corpus = read_corpus([file], count=10)
    assert corpus == read_corpus([file], count=10)
    assert corpus.sources == {"mine.txt": 10}
    assert corpus.digest != read_corpus([file], count=11).digest
    assert len(set(corpus.texts)) == 10


def test_files_of_one_name_are_told_apart(tmp_path):
    files = []
    for folder, first in (("a/x", 0), ("b/x", 4), ("c/y", 8)):
        (tmp_path / folder).mkdir(parents=True)
        files.append(tmp_path / folder / "corpus.txt")
        files[-1].write_text("\n".join(TEXTS[first : first + 4]), "utf-8")
    corpus = read_corpus([*files, files[0]], count=12)
    assert corpus.sources == {"x/corpus.txt": 4, "x/corpus.txt (2)": 4, "y/corpus.txt": 4}


def test_without_files_every_machine_has_texts():
    corpus = read_corpus([], count=300)
    assert sum(corpus.sources.values()) == 300
    assert all(corpus.sources[name] for name in ("Python's docstrings", "built-in texts"))


def test_bad_files_are_errors(tmp_path):
    with pytest.raises(ModelFilesError, match=r"absent\.txt"):
        read_corpus([tmp_path / "absent.txt"], count=10)
    (tmp_path / "few.txt").write_text("one\ntwo\none\n", "utf-8")
    with pytest.raises(OptionError, match="--texts gives 2 different texts; at least 8"):
        read_corpus([tmp_path / "few.txt"], count=10)
    (tmp_path / "bad.jsonl").write_text("{}\n", "utf-8")
    with pytest.raises(DamagedFilesError, match="entry 1"):
        read_corpus([tmp_path / "bad.jsonl"], count=10)


@pytest.mark.parametrize("tokens", [4, 16, 64, 130])
def test_texts_have_exactly_the_tokens_asked_for(tokenizer, tokens):
    texts = texts_of_length(TEXTS, tokenizer, tokens=tokens, count=12)
    assert len(set(texts)) == 12
    assert {len(tokenizer.encode(text).ids) for text in texts} == {tokens}


def test_queries_are_different_and_of_every_length(tokenizer):
    queries = query_texts(TEXTS, tokenizer, count=100, longest=16)
    lengths = [len(tokenizer.encode(text).ids) for text in queries]
    assert len(set(queries)) == 100
    assert min(lengths) == 3
    assert max(lengths) == 16
    assert queries == query_texts(TEXTS, tokenizer, count=100, longest=16)


def test_too_few_texts_to_cut_from_is_an_error(tokenizer):
    with pytest.raises(OptionError, match="100 are needed"):
        texts_of_length(TEXTS[:2], tokenizer, tokens=16, count=100)
    with pytest.raises(OptionError, match="400 are needed"):
        query_texts(TEXTS[:1], tokenizer, count=400, longest=8)
