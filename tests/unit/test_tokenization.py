"""Texts to token ids."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import DamagedFilesError, InvalidTextError, ModelFilesError, OptionError
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.models.tokens import tokens_of
from support.tiny_models import VOCABULARY, write_tiny_tokenizer

CLS, SEP = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tiny_tokenizer(path)
    names = ["input_ids", "token_type_ids", "attention_mask"]
    path.with_name("tokenizer_config.json").write_text(json.dumps({"model_input_names": names}))
    return path


@pytest.fixture(scope="module")
def tokenizer(file):
    return Tokenizer(file, max_length=64)


def _ids(*words: str) -> list[int]:
    return [CLS, *(VOCABULARY.index(word) for word in words), SEP]


def test_padding_of_the_file_is_overridden(file, tokenizer):
    """tokenizer.json pads to 16, and every text still has its natural length."""
    assert json.loads(file.read_text())["padding"]["strategy"] == {"Fixed": 16}
    assert tokenizer.encode(["the cat", "a dog sat"]).token_ids == [_ids("the", "cat"), _ids("a", "dog", "sat")]


def test_the_ids_of_a_pairs_second_text_are_raised(tokenizer):
    """Its separator too, as the template gives it the second type."""
    first, second = _ids("the", "cat"), [*_ids("a", "dog")[1:-1], SEP]
    for raised in (0, 1000):
        found = tokenizer.encode_pairs([("the cat", "a dog")], second_text=raised)
        assert found.token_ids == [first + [token + raised for token in second]]
        assert found.truncated == set()


def test_the_longer_text_of_a_pair_is_cut(file):
    found = Tokenizer(file, max_length=8).encode_pairs(
        [("cat dog", "red " * 30), ("red " * 30, "cat dog"), ("cat", "dog")], second_text=0
    )
    cat, dog, red = (VOCABULARY.index(word) for word in ("cat", "dog", "red"))
    assert found.token_ids == [
        [CLS, cat, dog, SEP, red, red, red, SEP],
        [CLS, red, red, red, SEP, cat, dog, SEP],
        [CLS, cat, SEP, dog, SEP],
    ]
    assert found.truncated == {0, 1}


def test_truncation_of_the_file_is_overridden(file):
    """tokenizer.json cuts at 16; `max_length` decides instead, whether longer or shorter."""
    assert json.loads(file.read_text())["truncation"]["max_length"] == 16
    text = " ".join(["cat"] * 40)
    assert [len(ids) for ids in Tokenizer(file, max_length=64).encode([text]).token_ids] == [42]
    assert [len(ids) for ids in Tokenizer(file, max_length=8).encode([text]).token_ids] == [8]


def test_a_cut_text_keeps_its_start_and_its_special_tokens(file):
    """Truncation takes from the end, the closing token stays."""
    words = ["the", "cat", "sat", "on", "the", "mat"]
    assert Tokenizer(file, max_length=5).encode([" ".join(words)]).token_ids == [_ids("the", "cat", "sat")]


def test_cut_texts_are_noted(file):
    """Only what is longer than `max_length` counts as truncated; exactly fitting does not."""
    texts = [" ".join(["cat"] * n) for n in (1, 5, 6, 7, 60)]
    assert Tokenizer(file, max_length=8).encode(texts).truncated == {3, 4}
    assert Tokenizer(file, max_length=64).encode(texts).truncated == set()


def test_a_cut_is_logged_with_its_number(tiny_encoder, caplog):
    """The encoder says how many texts it cut and where."""
    tiny_encoder.encode_documents(["cat " * 100, "cat"])
    assert "1 of 2 texts are longer than 64 tokens" in caplog.text


def test_the_instruction_comes_before_each_text(tokenizer):
    """An instruction and a text are tokenized as one string."""
    assert tokenizer.encode(["cat", "dog"], instruction="what is a ").token_ids == [
        _ids("what", "is", "a", "cat"),
        _ids("what", "is", "a", "dog"),
    ]


def test_the_instruction_counts_towards_the_maximum(file):
    """A text is cut to leave room for its instruction."""
    encoded = Tokenizer(file, max_length=5).encode(["cat dog"], instruction="what is ")
    assert encoded.token_ids == [_ids("what", "is", "cat")]
    assert encoded.truncated == {0}


def test_no_texts_give_no_ids(tokenizer):
    """An empty list is fine."""
    assert tokenizer.encode([]).token_ids == []


def test_an_empty_text_has_only_special_tokens(tokenizer):
    """Nothing is still a text."""
    assert tokenizer.encode(["", "   \n"]).token_ids == [[CLS, SEP], [CLS, SEP]]


@given(st.lists(st.text(max_size=40), max_size=5))
def test_a_text_has_the_same_ids_whatever_its_batch_mates(tokenizer, texts):
    """Any valid text is accepted, and tokenized on its own."""
    together = tokenizer.encode(texts).token_ids
    assert together == [tokenizer.encode([text]).token_ids[0] for text in texts]
    assert all(2 <= len(ids) <= 64 for ids in together)


def test_numpy_strings_are_strings(tokenizer):
    """Rows of a NumPy array of text work as they are."""
    assert tokenizer.encode(list(np.array(["cat"]))).token_ids == [_ids("cat")]


@pytest.mark.parametrize(
    ("item", "kind"),
    [(None, "NoneType"), (float("nan"), "float"), (b"bytes", "bytes"), (3, "int"), (["nested"], "list")],
)
def test_what_is_no_text_is_named_with_its_position(tokenizer, item, kind):
    """A hole in a data frame, bytes or a nested list is refused with its place, not turned into text."""
    with pytest.raises(InvalidTextError, match=f"text 1 is .* of type {kind}; every text must be a str"):
        tokenizer.encode(["cat", item, "dog"])


def test_a_lone_surrogate_is_named_with_its_position(tokenizer):
    """Half a surrogate pair has no UTF-8 form: the error says which text, where in it, and how to clean it."""
    with pytest.raises(InvalidTextError, match=r"text 2 has the lone surrogate '\\ud83d' at character 4") as caught:
        tokenizer.encode(["cat", "dog", "sat \ud83d on"])
    assert "encode('utf-8', 'replace')" in str(caught.value)


def test_an_invalid_text_is_a_type_error(tiny_encoder):
    """Callers can catch the builtin they would reach for."""
    with pytest.raises(TypeError):
        tiny_encoder.encode_queries([None])


def test_a_missing_file_says_how_to_write_one(tmp_path):
    """Without tokenizer.json the error has the line that makes it."""
    with pytest.raises(ModelFilesError, match=r"tokenizer\.json is not there.*save_pretrained"):
        Tokenizer(tmp_path / "tokenizer.json", max_length=8)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b"\xff\xfe", b'{"model": {"type": "Nothing"}}'])
def test_a_damaged_file_is_named(tmp_path, content):
    """What the tokenizers library can't read is an error naming the file."""
    file = tmp_path / "tokenizer.json"
    file.write_bytes(content)
    with pytest.raises(DamagedFilesError, match=r"tokenizer\.json is not (a tokenizer of|text in UTF-8)"):
        Tokenizer(file, max_length=8)


def test_a_folder_without_tokenizer_does_not_load(tiny, tmp_path):
    """The encoder reports the missing tokenizer as a missing file."""
    for file in tiny.rglob("*"):
        if file.is_file() and file.name != "tokenizer.json":
            (tmp_path / file.relative_to(tiny)).parent.mkdir(exist_ok=True)
            (tmp_path / file.relative_to(tiny)).write_bytes(file.read_bytes())
    with pytest.raises(ModelFilesError, match=r"tokenizer\.json is not there"):
        Encoder.load(tmp_path, precision="fp32")


def test_lowercasing_is_the_models_choice_not_only_the_tokenizers(tmp_path):
    """A tokenizer that keeps case, in a model whose sentence_bert_config.json says do_lower_case."""
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers import models, pre_tokenizers

    cased = FastTokenizer(models.WordLevel({"[UNK]": 0, "cat": 1, "Cat": 2}, unk_token="[UNK]"))
    cased.pre_tokenizer = pre_tokenizers.Whitespace()
    cased.save(str(tmp_path / "tokenizer.json"))
    kept = Tokenizer(tmp_path / "tokenizer.json", max_length=8).encode(["Cat cat"])
    lowered = Tokenizer(tmp_path / "tokenizer.json", max_length=8, lowercase=True).encode(["Cat cat"])
    assert (kept.token_ids, lowered.token_ids) == ([[2, 1]], [[1, 1]])


def test_the_other_end_of_what_is_too_long_is_cut_where_it_is_asked_for(file):
    tokenizer = Tokenizer(file, max_length=6)
    left, right = (tokenizer.cutting(side).encode(["the cat sat on the mat"]) for side in ("left", "right"))
    assert right == tokenizer.encode(["the cat sat on the mat"])
    assert left.token_ids == tokenizer.encode(["sat on the mat"]).token_ids
    assert left.truncated == right.truncated == {0}
    assert tokenizer.cutting("left").cutting("right") is tokenizer


@pytest.mark.parametrize("side", ["up", "", 5, True])
def test_there_are_two_ends_to_cut(file, side):
    tokenizer = Tokenizer(file, max_length=6)
    for _ in range(2):
        with pytest.raises(OptionError, match=f"cut={side!r} is not allowed; it is 'left', 'right' or None"):
            tokenizer.cutting(side)
    assert (
        tokenizer.cutting("left").encode(["the cat sat on the mat"]).token_ids
        == tokenizer.encode(["sat on the mat"]).token_ids
    )


def test_tokens_have_their_place_in_the_texts_bytes(file):
    tokenizer = Tokenizer(file, max_length=6)
    text = "日本 The cat sat on the mat"
    tokens = tokens_of(tokenizer, text, special_tokens=True)
    assert [token.special for token in tokens] == [True, *[False] * (len(tokens) - 2), True]
    assert all(token.start is token.stop is None for token in tokens if token.special)
    for token in tokens[1:-1]:
        assert text.encode()[token.start : token.stop] == token.text.encode()
    assert tokens[-2].stop == len(text.encode())


def test_a_later_librarys_file_names_the_version_that_is_here(tiny, tmp_path):
    import tokenizers

    described = json.loads((tiny / "tokenizer.json").read_text("utf-8"))
    described["pre_tokenizer"] = {"type": "OfALaterVersion"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    with pytest.raises(DamagedFilesError, match=f"Version {re.escape(tokenizers.__version__)} is installed here"):
        Tokenizer(tmp_path / "tokenizer.json", max_length=8)
