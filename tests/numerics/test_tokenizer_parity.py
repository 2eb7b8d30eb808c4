"""Ids and token types beside transformers 5's AutoTokenizer, over files that contradict each other."""

from __future__ import annotations

import json

import pytest
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as FastTokenizer

from intel_quantized_embeddings.models.tokenizer import Tokenizer
from support.tiny_models import VOCABULARY

pytestmark = [pytest.mark.reference, pytest.mark.ipex]

TEXTS = [
    "The CAT café",
    "猫cat 東京 dog",
    "a [SEP] [UNK] b [PAD]x",
    "the  cat\t\n sat ",
    "#!Cat’s Ⅷ ﬁre <s> dog",
    "Hello <mask> cat ",
    "<new> cat",
    "  lead",
    "a\u0301 b\nc",
    "x" * 101,
]
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[UNK]",
}
ENDS = {"bos_token": "[CLS]", "eos_token": "[SEP]"}
FLAGS = [
    {},
    {"do_lower_case": True, "strip_accents": False},
    {"do_lower_case": False, "strip_accents": True},
    {"do_lower_case": False, "tokenize_chinese_chars": False},
    {"model_input_names": ["input_ids", "attention_mask"], "split_special_tokens": True},
    {"cls_token": "the", "sep_token": "cat", "additional_special_tokens": ["dog"]},
    {
        "added_tokens_decoder": {
            "37": {"content": VOCABULARY[37], "rstrip": True, "normalized": False, "special": False}
        }
    },
]


@pytest.fixture(scope="module", autouse=True)
def auto():
    transformers = pytest.importorskip("transformers", reason="transformers is in the reference environments only")
    return transformers.AutoTokenizer


def _version():
    import transformers

    return tuple(map(int, transformers.__version__.split(".")[:2]))


@pytest.fixture
def five():
    if _version() < (5, 0):
        pytest.skip("transformers 4 keeps what tokenizer.json has and changes BERT's flags in it")


def _agree(auto, folder):
    theirs = auto.from_pretrained(str(folder))
    ours = Tokenizer(folder / "tokenizer.json", max_length=500)
    assert ours.encode(TEXTS).token_ids == [theirs(text)["input_ids"] for text in TEXTS]
    pairs = list(zip(TEXTS, reversed(TEXTS), strict=True))
    for pair, ids in zip(pairs, ours.encode_pairs(pairs, second_text=10_000).token_ids, strict=True):
        given = theirs(*pair)
        types = given.get("token_type_ids", [0] * len(ids))
        assert ids == [i + 10_000 * t for i, t in zip(given["input_ids"], types, strict=True)]


def _write(folder, tokenizer, config, tokenizer_config, **files):
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in {"config": config, "tokenizer_config": tokenizer_config, **files}.items():
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


_NORMALIZERS = {
    "lowers": normalizers.BertNormalizer(lowercase=True),
    "keeps case": normalizers.BertNormalizer(lowercase=False, strip_accents=False),
    "others": normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
    "none": None,
}
_OWN_CLASS = {"mpnet": "MPNetTokenizer"}


@pytest.mark.parametrize("normalizer", _NORMALIZERS)
@pytest.mark.parametrize("model_type", ["bert", "distilbert", "mpnet", "electra"])
def test_word_pieces(auto, five, tmp_path, model_type, normalizer):
    tokenizer = FastTokenizer(models.WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    if _NORMALIZERS[normalizer] is not None:
        tokenizer.normalizer = _NORMALIZERS[normalizer]
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    own = _OWN_CLASS.get(model_type, "BertTokenizer")
    names = [own, f"{own}Fast", "PreTrainedTokenizerFast", "TokenizersBackend", None]
    for place, (name, flags) in enumerate((name, flags) for name in names for flags in FLAGS):
        described = {**SPECIAL, **(ENDS if model_type == "mpnet" else {}), "model_max_length": 500, **flags}
        if name is not None:
            described["tokenizer_class"] = name
        config = {"model_type": model_type, "vocab_size": len(VOCABULARY)}
        _agree(auto, _write(tmp_path / str(place), tokenizer, config, described))


@pytest.mark.parametrize("flags", FLAGS[:4], ids=str)
@pytest.mark.parametrize(
    ("model_type", "name"),
    [("distilbert", "DistilBertTokenizer"), ("roberta", "BertTokenizer"), ("electra", "ElectraTokenizer")],
)
@pytest.mark.parametrize("normalizer", ["lowers", "keeps case"])
def test_the_flags_of_a_class_that_is_not_the_architectures(auto, tmp_path, model_type, name, flags, normalizer):
    """Every DistilBERT names such a class. transformers 4.57 and 5.24 obey its flags, versions between do not."""
    if (5, 0) <= _version() < (5, 24):
        pytest.skip("this version of transformers passes them over")
    tokenizer = FastTokenizer(models.WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = _NORMALIZERS[normalizer]
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    described = {**SPECIAL, "tokenizer_class": name, "model_max_length": 500, **flags}
    _agree(auto, _write(tmp_path / "model", tokenizer, {"model_type": model_type}, described))


@pytest.mark.parametrize("model_type", ["modernbert", "electra"])
def test_a_class_that_builds_nothing_leaves_the_file_as_it_is(auto, five, tmp_path, model_type):
    """ModernBERT's in transformers 5, Electra's before 5.24: what surrounds the vocabulary was replaced."""
    if model_type == "electra" and _version() >= (5, 24):
        pytest.skip("this version of transformers builds what BERT's class builds")
    tokenizer = FastTokenizer(models.WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    name = {"modernbert": "BertTokenizer", "electra": "ElectraTokenizer"}[model_type]
    described = {**SPECIAL, "tokenizer_class": name, "model_max_length": 500}
    _agree(auto, _write(tmp_path / "model", tokenizer, {"model_type": model_type}, described))


def _byte_pairs(spaced, normalizer):
    tokenizer = FastTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat", "a café dog"] * 20, trainer)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=spaced)
    return tokenizer


def _unigram(normalizer):
    tokenizer = FastTokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(["the cat sat on the mat", "a café dog"] * 20, trainer)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


_BESIDE = [
    {},
    {"special_tokens_map": {"cls_token": "<s>", "mask_token": {"content": "<mask>", "rstrip": True, "lstrip": False}}},
    {"added_tokens": {"<new>": 1000}},
]
_OPTIONS = [{}, {"add_prefix_space": True}, {"add_prefix_space": False}, {"additional_special_tokens": ["<new>"]}]


@pytest.mark.parametrize(
    ("model_type", "make"),
    [
        ("roberta", lambda: _byte_pairs(False, None)),
        ("roberta", lambda: _byte_pairs(True, normalizers.Lowercase())),
        ("xlm-roberta", lambda: _unigram(None)),
        (
            "xlm-roberta",
            lambda: _unigram(normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])),
        ),
    ],
    ids=["bytes", "bytes, spaced and lowered", "unigram", "unigram, normalized"],
)
def test_bytes_and_unigrams(auto, five, tmp_path, model_type, make):
    tokenizer = make()
    own = {"roberta": "RobertaTokenizer", "xlm-roberta": "XLMRobertaTokenizer"}[model_type]
    cases = [
        (name, options, files)
        for name in (own, f"{own}Fast", "PreTrainedTokenizerFast", None)
        for options in _OPTIONS
        for files in _BESIDE
    ]
    for place, (name, options, files) in enumerate(cases):
        described = {"model_max_length": 500, **options, **({} if name is None else {"tokenizer_class": name})}
        _agree(auto, _write(tmp_path / str(place), tokenizer, {"model_type": model_type}, described, **files))
    _agree(auto, _write(tmp_path / "without", tokenizer, {"model_type": model_type}, None))
    named = {"model_type": model_type, "tokenizer_class": own}
    _agree(auto, _write(tmp_path / "named", tokenizer, named, {"model_max_length": 500}))


_WORDS = pre_tokenizers.Split(Regex(r"\p{N}{1,3}|[^\p{N}]+"), "isolated")
_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
_MARK = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
_DECODERS = {  # special tokens, whether of bytes, the steps that the file has
    "llama": (["<unk>", "<s>", "</s>"], False, (_MARK, None)),
    "llama, split": (["<unk>", "<s>", "</s>"], False, (None, pre_tokenizers.Metaspace(split=False))),
    "gemma": (["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], False, (normalizers.Lowercase(), None)),
    "bytes": (["<|endoftext|>", "<s>", "</s>"], True, (None, _BYTES)),
    "bytes, lowered": (
        ["<|endoftext|>", "<s>", "</s>"],
        True,
        (normalizers.Lowercase(), pre_tokenizers.Sequence([_WORDS, _BYTES])),
    ),
}


def _decoders(name, ends):
    special, of_bytes, steps = _DECODERS[name]
    tokenizer = FastTokenizer(models.BPE() if of_bytes else models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer, tokenizer.pre_tokenizer = steps
    alphabet = pre_tokenizers.ByteLevel.alphabet() if of_bytes else list("abcdehmnosty\u2581")
    trainer = trainers.BpeTrainer(
        vocab_size=330 if of_bytes else 80, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["the cat sat on the mat", "a café dog 12345"] * 20, trainer)
    if ends:
        first, last = special[1:3]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A {last}", pair=f"{first} $A {last} $B:1 {last}:1", special_tokens=[(first, 1), (last, 2)]
        )
    return tokenizer


@pytest.mark.parametrize("ends", [True, False], ids=["ends", "no ends"])
@pytest.mark.parametrize(
    ("model_type", "own", "files"),
    [
        ("qwen3", "Qwen2Tokenizer", ["bytes", "bytes, lowered"]),
        ("llama", "LlamaTokenizer", ["llama", "llama, split", "bytes", "bytes, lowered"]),
        ("eurobert", "LlamaTokenizer", ["llama", "bytes"]),
        ("llama", "GPT2Tokenizer", ["bytes", "bytes, lowered"]),
        ("llama", "Qwen2Tokenizer", ["bytes", "bytes, lowered"]),
        ("gemma3_text", "GemmaTokenizer", ["gemma"]),
        ("mistral", "LlamaTokenizer", ["llama"]),
        ("phi3", "LlamaTokenizer", ["llama"]),
    ],
)
def test_classes_of_decoders(auto, five, tmp_path, model_type, own, files, ends):
    names = [own, f"{own}Fast", "PreTrainedTokenizerFast"]
    if model_type in ("qwen3", "gemma3_text"):
        names.append(None)  # Llama has no class in 5.24, and 5.5 takes Gemma's for it
    options = [{}, {"add_prefix_space": True}, {"add_bos_token": True, "add_eos_token": True}, {"legacy": True}]
    for place, (file, name, option) in enumerate((f, n, o) for f in files for n in names for o in options):
        if own == "LlamaTokenizer" and file.startswith("bytes") and _version() < (5, 24):
            continue  # versions before build Llama 2's steps around bytes
        described = {"model_max_length": 500, **option, **({} if name is None else {"tokenizer_class": name})}
        folder = _write(tmp_path / str(place), _decoders(file, ends), {"model_type": model_type}, described)
        _agree(auto, folder)
