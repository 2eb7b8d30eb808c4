"""A text that is far too long is cut before it is tokenized, and its ids are those of the whole text."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as FastTokenizer

from intel_quantized_embeddings.models import long_texts
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from support.tiny_models import write_tiny_tokenizer

CORPUS = [
    "the cat sat on the mat",
    "what is a river of cold water",
    "a café where dogs drink 12 cups",
    "東京 猫 dog",
] * 9


def _word_piece(folder):
    write_tiny_tokenizer(folder / "tokenizer.json")
    return FastTokenizer.from_file(str(folder / "tokenizer.json"))


def _byte_pairs(_):
    tokenizer = FastTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return tokenizer


def _unigram(normalizer, split):
    def made(_):
        tokenizer = FastTokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>")
        tokenizer.train_from_iterator(CORPUS, trainer)
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, split
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
        return tokenizer

    return made


_METASPACE = pre_tokenizers.Metaspace()
_ONE_SPACE = normalizers.Replace(Regex(" {2,}"), " ")
KINDS = {
    "WordPiece": _word_piece,
    "byte-level BPE": _byte_pairs,
    "Unigram": _unigram(None, pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), _METASPACE])),
    "Unigram, spaces merged": _unigram(normalizers.Sequence([normalizers.NFKC(), _ONE_SPACE]), _METASPACE),
    "Unigram, spaces kept": _unigram(normalizers.NFKD(), _METASPACE),
    "Unigram without words": _unigram(None, pre_tokenizers.Metaspace(split=False)),
    "Unigram whose spaces vanish": _unigram(normalizers.Replace(" ", ""), pre_tokenizers.WhitespaceSplit()),
}


@pytest.fixture(scope="module", params=KINDS)
def whole(request, tmp_path_factory):
    """Each kind of tokenizer, with tokens added by hand: of several words, and eating the spaces beside them."""
    tokenizer = KINDS[request.param](tmp_path_factory.mktemp("tokenizer"))
    tokenizer.no_padding()
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True)])
    tokenizer.add_tokens(["cat sat on", AddedToken("river of", single_word=True, normalized=True)])
    return tokenizer


@pytest.fixture(scope="module")
def cutting(whole, tmp_path_factory):
    """The same by this package, at 9 and 10 tokens."""
    folder = tmp_path_factory.mktemp("tokenizer")
    whole.save(str(folder / "tokenizer.json"))
    names = ["input_ids", "token_type_ids", "attention_mask"]
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return {length: Tokenizer(folder / "tokenizer.json", max_length=length) for length in (9, 10)}


@pytest.fixture(autouse=True)
def _soon(request, monkeypatch):
    """Texts count as long from 80 characters on."""
    if "cutting" in request.fixturenames:
        for tokenizer in request.getfixturevalue("cutting").values():
            monkeypatch.setattr(tokenizer._long_texts, "_least", 40)


# Words, letters that normalize to others, longer or none, words beyond WordPiece's 100 characters, runs of spaces.
_PIECES = st.one_of(
    st.sampled_from(
        ["the", "cat", "sat", "on", "river", "of", " ", "  ", "\n", "\t", "　", "<mask>", "cat sat on", "' "]
    ),
    st.sampled_from(
        ["é", "e\u0301", "ﬁ", "Ⅷ", "\u200b", "\x00", "\x1c", "\u0301", "東京", "猫", "ﷺ", "🙂", "ß", "Σ", "'s"]
    ),
    st.sampled_from(["x" * 99, "x" * 101, "x" * 300, " " * 120, "\x00" * 90, "\u0301" * 50, "the cat sat " * 8]),
    st.text(max_size=8),
)
_FEW = st.lists(_PIECES.filter(lambda piece: len(piece) < 100), min_size=10, max_size=20).map(" ".join)
_TEXTS = st.lists(_PIECES, min_size=10, max_size=60).map("".join)
_SPACED = st.lists(_PIECES, min_size=10, max_size=60).map(" ".join)
_quickly = settings(
    max_examples=settings.default.max_examples // 6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_quickly
@given(text=st.one_of(_TEXTS, _SPACED))
def test_the_ids_are_those_of_the_whole_text(whole, cutting, text):
    whole.enable_truncation(10)
    expected = whole.encode(text)
    found = cutting[10].encode([text])
    assert found.token_ids == [expected.ids]
    assert found.truncated == ({0} if expected.overflowing else set())


@_quickly
@given(
    first=_FEW,
    second=st.one_of(_FEW, st.just("a cat"), st.just("")),
    turned=st.booleans(),
    length=st.sampled_from([9, 10]),
)
def test_the_ids_of_a_pair_are_those_of_the_whole_texts(whole, cutting, first, second, turned, length):
    """Whichever is longer, and whether or not the tokens can be shared out evenly."""
    if turned:
        first, second = second, first
    whole.enable_truncation(length)
    expected = whole.encode(first, second)
    found = cutting[length].encode_pairs([(first, second)], second_text=1000)
    assert found.token_ids == [[i + 1000 * t for i, t in zip(expected.ids, expected.type_ids, strict=True)]]
    assert found.truncated == ({0} if expected.overflowing else set())


_CUT = ["WordPiece", "byte-level BPE", "Unigram", "Unigram, spaces merged", "Unigram, spaces kept"]


@pytest.mark.parametrize("whole", _CUT, indirect=True)
def test_words_are_cut(cutting):
    """Ordinary text is, whatever the tokenizer: the rest never reaches the tokenizers library."""
    text = "the river is cold water and the mat is red " * 1000
    assert len(cutting[10]._long_texts.cut(text)) < 200


@pytest.mark.parametrize("whole", ["WordPiece"], indirect=True)
@pytest.mark.parametrize("text", ["river\n" * 3000, "cat\tmat\r\n" * 3000, "東京の猫" * 3000])
def test_lines_cells_and_ideographs_are_words_too(whole, cutting, text):
    whole.enable_truncation(10)
    assert len(cutting[10]._long_texts.cut(text)) < 200
    assert cutting[10].encode([text]).token_ids == [whole.encode(text).ids]


@pytest.mark.parametrize("whole", _CUT, indirect=True)
def test_what_has_no_end_behind_the_last_kept_word_takes_no_time_of_its_square(whole, cutting):
    """A data URI behind just as many words as are kept. Looking for words in it took minutes."""
    text = "the " * 11 + "a" * 300_000
    whole.enable_truncation(10)
    cutting[10]._long_texts._least = 100_000
    assert cutting[10].encode([text]).token_ids == [whole.encode(text).ids]


@pytest.mark.parametrize("whole", ["Unigram without words", "Unigram whose spaces vanish"], indirect=True)
def test_what_has_no_words_is_left_whole(cutting):
    text = "the river is cold water and the mat is red " * 1000
    assert cutting[10]._long_texts.cut(text) == text


def test_a_text_from_which_the_end_is_kept_is_left_whole(tmp_path):
    """Where the beginning is cut off, it is not the beginning that counts."""
    write_tiny_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer_config.json").write_text('{"truncation_side": "left"}')
    text = "cat " * 9000 + "dog mat"
    found = Tokenizer(tmp_path / "tokenizer.json", max_length=4).encode([text, text + " cat"])
    short = Tokenizer(tmp_path / "tokenizer.json", max_length=4).encode(["dog mat", "mat cat"])
    assert (found.token_ids, found.truncated) == (short.token_ids, {0, 1})


def test_a_pair_is_shared_out_by_its_whole_lengths(tmp_path, monkeypatch):
    """Of an odd number of tokens the longer text gets one more: the longer whole, not what is left of it."""
    write_tiny_tokenizer(tmp_path / "tokenizer.json")
    tokenizer = Tokenizer(tmp_path / "tokenizer.json", max_length=8)
    monkeypatch.setattr(tokenizer._long_texts, "_least", 40)
    (found,) = tokenizer.encode_pairs([("cat " * 500, "dog " * 18)], second_text=0).token_ids
    (other,) = tokenizer.encode_pairs([("cat " * 18, "dog " * 500)], second_text=0).token_ids
    assert [len(ids) for ids in (found, other)] == [8, 8]
    cat, dog = found[1], found[-2]
    assert (found.count(cat), found.count(dog)) == (3, 2)
    assert (other.count(cat), other.count(dog)) == (2, 3)


def test_a_long_pair_takes_no_time_of_its_square(cutting):
    """The library combines all that it cuts of one text with all that it cuts of the other: here it would not end."""
    words = "the cat " * 20_000
    found = cutting[10].encode_pairs([(words, words)], second_text=0)
    assert (len(found.token_ids[0]), found.truncated) == (10, {0})


def test_the_library_sees_the_beginning_of_a_long_text_only(tmp_path):
    """20 million characters: what is tokenized is the least that is looked at."""
    write_tiny_tokenizer(tmp_path / "tokenizer.json")
    tokenizer = Tokenizer(tmp_path / "tokenizer.json", max_length=64)
    text = "the cat sat on the mat " * 900_000
    assert len(tokenizer._long_texts.cut(text)) == long_texts._LEAST
    found = tokenizer.encode([text])
    assert (len(found.token_ids[0]), found.truncated) == (64, {0})
