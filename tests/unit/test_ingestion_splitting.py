"""Texts without words to cut at: chunks that the model reads whole, of bounded length, and nothing lost."""

from __future__ import annotations

import base64
import random
from itertools import pairwise

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")

from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, pre_tokenizers

from intel_quantized_embeddings.ingestion.documents import Document
from intel_quantized_embeddings.ingestion.splitting import ChunkSize, Splitter
from intel_quantized_embeddings.models.tokenizer import Tokenizer

LENGTH = 8_000
WORD_LIMIT = 100  # of the tiny model's tokenizer


def _letters(first: int, last: int) -> str:
    random_ = random.Random(first)
    return "".join(chr(random_.randint(first, last)) for _ in range(LENGTH))


WALLS = {
    "hexadecimal": random.Random(1).randbytes(LENGTH // 2).hex(),
    "base64": base64.b64encode(random.Random(2).randbytes(LENGTH)).decode(),
    "minified JavaScript": "!function(e,t){return e(t)}(window,function(){return{};});" * (LENGTH // 58),
    "one letter": "a" * LENGTH,
    "Thai": _letters(0x0E01, 0x0E30),
    "Chinese": _letters(0x4E00, 0x9FA5),
    "combining accents": ("e" + "\u0301" * 50) * (LENGTH // 51),
    "families": "\U0001f468\u200d\U0001f469\u200d\U0001f467" * (LENGTH // 5),
}


@pytest.fixture
def split(tiny_encoder):
    """Split as `ingest` does."""
    tokenizer = tiny_encoder.tokenizer

    def made(text: str, source: str = "/a.txt", overlap: int | None = None) -> list[str]:
        size = ChunkSize.settle(tiny_encoder, tokens=None, overlap=overlap)
        splitter = Splitter(tokenizer.counter(), size, has_overlong_word=tokenizer.has_overlong_word())
        chunks = splitter.split(Document(text=text, source=source))
        assert all(tokenizer.counter()(chunk) <= size.tokens for chunk in chunks)
        assert not any(map(tokenizer.has_overlong_word(), chunks))
        assert max(map(len, chunks), default=0) <= 16 * size.tokens
        return chunks

    return made


@pytest.mark.parametrize("name", ["/a.txt", "/a.md", "/a.py", "/a.rst"])
@pytest.mark.parametrize("kind", [*WALLS])
def test_a_wall_of_characters_is_cut_and_nothing_of_it_is_lost(split, kind, name):
    chunks = split(WALLS[kind], name, overlap=0)
    assert len(chunks) > 4
    assert "".join("".join(chunks).split()) == "".join(WALLS[kind].split())


def test_neighbours_in_a_wall_share_some_as_others_do(split):
    chunks = split(WALLS["hexadecimal"])
    assert all(after[:4] in before[1:] for before, after in pairwise(chunks))
    assert sum(map(len, chunks)) < LENGTH * 1.25


def test_what_is_around_a_wall_stays_together(split):
    chunks = split(f"the cat sat on the mat\n\n{WALLS['hexadecimal']}\n\na cold river")
    assert chunks[0] == "the cat sat on the mat"
    assert chunks[-1] == "a cold river"


def test_a_word_longer_than_the_tokenizer_looks_into_is_cut_so_that_it_does(split, tiny_encoder):
    """As one word it would be one unknown token, and all such words one vector."""
    words = ["".join(random.Random(seed).choices("abcdef", k=WORD_LIMIT + 50)) for seed in (1, 2)]
    assert len({tuple(ids) for ids in tiny_encoder.tokenizer.encode(words).token_ids}) == 1
    chunks = split("\n\n".join(words))
    ids = tiny_encoder.tokenizer.encode(chunks).token_ids
    assert len({tuple(its) for its in ids}) == len(chunks) >= 4


@pytest.mark.parametrize("between", [" " * 500_000, "\n" * 500_000, "\t" * 999, "\u3000" * 5000])
def test_long_runs_of_whitespace_are_no_part_of_a_chunk_that_they_make_too_long(split, between):
    found = " ".join(split(f"the cat{between}sat")).split()
    assert found == ["the", "cat", "sat"]


@pytest.mark.parametrize("text", ["\u200b" * LENGTH, "\u00ad" * 300, " \u200b \n\u200d"])
def test_characters_that_the_tokenizer_drops_are_no_chunk(split, text):
    assert split(text) == []


def test_letters_keep_their_accents(split):
    chunks = split("e\u0301" * LENGTH)
    assert len(chunks) > 4
    assert not any(chunk.startswith("\u0301") for chunk in chunks)


def test_a_tokenizer_without_a_limit_has_no_overlong_words(tmp_path):
    fast = FastTokenizer(models.BPE(vocab={"a": 0, "aa": 1}, merges=[("a", "a")]))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text("{}")
    assert Tokenizer(tmp_path / "tokenizer.json", max_length=8).has_overlong_word() is None
