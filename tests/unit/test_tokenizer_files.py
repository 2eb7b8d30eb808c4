"""What the files beside tokenizer.json make of it; test_tokenizer_parity.py compares with transformers."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, normalizers, pre_tokenizers

from intel_quantized_embeddings import CrossEncoder, Encoder, quantize, quantize_cross_encoder
from intel_quantized_embeddings.errors import DamagedFilesError, QuantizedEmbeddingsError, UnsupportedModelError
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from support.tiny_models import VOCABULARY, write_tiny_cross_encoder, write_tiny_model

pytestmark = pytest.mark.usefixtures("quick_quantizing")

TEN = [
    "the cat sat",
    "a dog",
    "red river",
    "cold water",
    "old stone",
    "new city",
    "a big tree",
    "moon",
    "the sun",
    "fire",
]


@pytest.fixture
def folder(tmp_path):
    return write_tiny_model(tmp_path / "model")


def _words(folder, text, *, max_length=32):
    (ids,) = Tokenizer(folder / "tokenizer.json", max_length=max_length).encode([text]).token_ids
    return [VOCABULARY[i] for i in ids]


def _configure(folder, **config):
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_the_architectures_class_obeys_its_flags(folder):
    assert _words(_configure(folder, do_lower_case=False), "Cat cat") == ["[CLS]", "[UNK]", "cat", "[SEP]"]
    assert _words(_configure(folder), "Cat cat") == ["[CLS]", "cat", "cat", "[SEP]"]


@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "TokenizersBackend", "XLMRobertaTokenizer", "Whatever"])
def test_under_another_class_the_file_counts_as_it_is(folder, name):
    configured = _configure(folder, tokenizer_class=name, do_lower_case=False)
    assert _words(configured, "Cat cat") == ["[CLS]", "cat", "cat", "[SEP]"]


@pytest.mark.parametrize(("model_type", "name"), [("modernbert", "BertTokenizer"), ("electra", "ElectraTokenizer")])
def test_a_class_that_builds_nothing_leaves_the_file_as_it_is(folder, model_type, name):
    """ModernBERT has none in transformers 5; Electra's keeps what surrounds the vocabulary, as DistilBERT's does."""
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text()) | {"normalizer": None}
    file.write_text(json.dumps(tokenizer))
    assert _words(_configure(folder, tokenizer_class=name), "Cat cat") == ["[CLS]", "[UNK]", "cat", "[SEP]"]


def test_of_another_architectures_class_only_berts_flags_count(folder):
    """As every DistilBERT's: what else its tokenizer.json says is kept."""
    configured = _configure(folder, tokenizer_class="DistilBertTokenizer", do_lower_case=False, cls_token="the")
    assert _words(configured, "Cat cat") == ["[CLS]", "[UNK]", "cat", "[SEP]"]


def test_a_file_that_can_not_be_the_classs_counts_as_it_is(folder):
    """MPNet's class wants <s> around a text, which this vocabulary does not have."""
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "mpnet"}
    (folder / "config.json").write_text(json.dumps(config))
    assert _words(_configure(folder), "cat") == ["[CLS]", "cat", "[SEP]"]


def _byte_pairs(folder, model_type, tokens, normalizer, pre_tokenizer, **config):
    """A folder whose tokenizer has these tokens, special ones in angles, and no merges."""
    folder.mkdir()
    tokenizer = FastTokenizer(models.BPE({token: place for place, token in enumerate(tokens)}, []))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.add_special_tokens([token for token in tokens if token.startswith("<")])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    _configure(folder, **config)
    opened = Tokenizer(folder / "tokenizer.json", max_length=32)
    return lambda text: [tokens[i] for i in opened.encode([text]).token_ids[0]]


@pytest.mark.parametrize("named", [{}, {"tokenizer_class": "Qwen2TokenizerFast"}], ids=str)
def test_qwens_class_replaces_what_surrounds_the_byte_pairs(tmp_path, named):
    tokens = ["<|endoftext|>", "A", "a", "\u0120"]
    steps = (normalizers.Lowercase(), pre_tokenizers.ByteLevel(add_prefix_space=False))
    assert _byte_pairs(tmp_path / "own", "qwen3", tokens, *steps, **named)("A a") == ["A", "\u0120", "a"]
    spaced = _byte_pairs(tmp_path / "spaced", "qwen3", tokens, *steps, **named, add_prefix_space=True)
    assert spaced("A") == ["\u0120", "A"]
    as_it_is = _byte_pairs(tmp_path / "other", "qwen3", tokens, *steps, tokenizer_class="PreTrainedTokenizerFast")
    assert as_it_is("A") == ["a"]


def test_gpt2s_class_replaces_them_too(tmp_path):
    tokens = ["<|endoftext|>", "A", "a", "\u0120"]
    steps = (normalizers.Lowercase(), pre_tokenizers.ByteLevel(add_prefix_space=True))
    assert _byte_pairs(tmp_path / "m", "eurobert", tokens, *steps, tokenizer_class="GPT2Tokenizer")("A") == ["A"]


@pytest.mark.parametrize(
    ("config", "marks"),
    [({}, [1, 0]), ({"legacy": True}, [1, 1]), ({"add_prefix_space": False}, [0, 0])],
    ids=str,
)
def test_llamas_class_marks_the_first_word(tmp_path, config, marks):
    """The file marks the first word twice, and what follows a special token."""
    tokens = ["<unk>", "<s>", "</s>", "\u2581", "a"]
    steps = (normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]), None)
    split = _byte_pairs(tmp_path / "m", "llama", tokens, *steps, tokenizer_class="LlamaTokenizer", **config)
    first, second = (["\u2581"] * count for count in marks)
    assert split("a<s>a") == [*first, "a", "<s>", *second, "a"]
    assert split(" a") == ["\u2581", "a"]
    for name, model_type, given in (
        ("unnamed", "llama", {}),
        ("other", "mistral", {"tokenizer_class": "LlamaTokenizer"}),
    ):
        assert _byte_pairs(tmp_path / name, model_type, tokens, *steps, **given)(" a") == ["\u2581", "\u2581", "a"]


def test_bytes_under_llamas_class_count_as_they_are(tmp_path):
    """Llama 3's tokenizers are called so; the class is for Llama 2's, whose special tokens they don't have."""
    tokens = ["a", "\u0120", "<", "s", ">", "/"]
    tokenizer = FastTokenizer(models.BPE({token: place for place, token in enumerate([*tokens, "<s>"])}, []))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    opened = Tokenizer(_configure(tmp_path, tokenizer_class="LlamaTokenizer") / "tokenizer.json", max_length=32)
    assert [tokens[i] for i in opened.encode(["A a<s>"]).token_ids[0]] == ["a", "\u0120", "a", "<", "s", ">"]


def test_gemmas_class_needs_its_token_for_unknown_characters(tmp_path):
    steps = (normalizers.Lowercase(), None)
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "\u2581", "a", "A"]
    assert _byte_pairs(tmp_path / "own", "gemma3_text", tokens, *steps)("A ?") == ["A", "\u2581", "<unk>"]
    assert _byte_pairs(tmp_path / "without", "gemma3_text", ["\u2581", "a"], *steps)("A") == ["a"]


def test_special_tokens_that_the_file_does_not_know_are_damage(folder):
    with pytest.raises(DamagedFilesError, match=r"tokenizer_config\.json has '<cls>' at the start or the end"):
        _words(_configure(folder, cls_token="<cls>"), "cat")


def test_a_special_token_without_a_vector_is_left_out(folder):
    """BERT's class has a [MASK], this vocabulary does not: transformers gives an id that the model does not have."""
    assert _words(_configure(folder), "( mask )")[1:-1] == _words(folder, "(mask)")[1:-1]
    assert max(Tokenizer(folder / "tokenizer.json", max_length=9).encode(["[MASK]"]).token_ids[0]) < len(VOCABULARY)


def test_the_end_is_kept_where_the_files_say_so(folder):
    assert _words(_configure(folder, truncation_side="left"), "the cat sat", max_length=4) == [
        "[CLS]",
        "cat",
        "sat",
        "[SEP]",
    ]
    described = json.loads((folder / "tokenizer.json").read_text())
    described["truncation"]["direction"] = "Left"
    (folder / "tokenizer.json").write_text(json.dumps(described))
    assert _words(_configure(folder), "the cat sat", max_length=4) == ["[CLS]", "cat", "sat", "[SEP]"]
    assert _words(_configure(folder, truncation_side="right"), "the cat sat", max_length=4)[1] == "the"


def test_a_pair_is_cut_at_its_start_too(folder):
    tokenizer = Tokenizer(_configure(folder, truncation_side="left") / "tokenizer.json", max_length=7)
    tokenizer._long_texts._least = 8
    first, second = "the cat sat on the mat", "red river of cold water"
    long = tokenizer.encode_pairs([(first, second)], second_text=0)
    tokenizer._long_texts._least = 800
    assert long == tokenizer.encode_pairs([(first, second)], second_text=0)


def test_a_token_type_for_a_text_alone_is_refused(folder):
    """The graphs built here give a text alone the first type."""
    described = json.loads((folder / "tokenizer.json").read_text())
    for part in described["post_processor"]["single"]:
        next(iter(part.values()))["type_id"] = 1
    (folder / "tokenizer.json").write_text(json.dumps(described))
    names = ["input_ids", "token_type_ids"]
    with pytest.raises(UnsupportedModelError, match=r"gives a text alone other token types than 0"):
        _words(_configure(folder, tokenizer_class="PreTrainedTokenizerFast", model_input_names=names), "cat")
    assert _words(_configure(folder, tokenizer_class="PreTrainedTokenizerFast"), "cat") == ["[CLS]", "cat", "[SEP]"]


def test_a_tokenizer_of_the_repositorys_own_is_refused(folder):
    with pytest.raises(UnsupportedModelError, match="auto_map"):
        _words(_configure(folder, auto_map=["tokenization.Own", None]), "cat")
    assert _words(_configure(folder, auto_map={"AutoProcessor": "x.Y"}), "cat") == ["[CLS]", "cat", "[SEP]"]


@pytest.mark.parametrize(
    "config",
    [
        {"do_lower_case": "yes"},
        {"strip_accents": 1},
        {"truncation_side": "middle"},
        {"padding_side": 3},
        {"model_input_names": "input_ids"},
        {"tokenizer_class": 3},
        {"cls_token": 3},
        {"cls_token": {"text": "[CLS]"}},
        {"added_tokens_decoder": [1]},
        {"added_tokens_decoder": {"x": {"content": "a"}}},
        {"added_tokens_decoder": {"1": {"content": 3}}},
        {"extra_special_tokens": "cat"},
        {"extra_special_tokens": [{}]},
    ],
    ids=json.dumps,
)
def test_what_a_key_can_not_be_is_named(folder, config):
    with pytest.raises(QuantizedEmbeddingsError, match=r"tokenizer_config\.json"):
        _words(_configure(folder, **config), "cat")


def test_tokens_of_added_tokens_json_need_numbers(folder):
    (folder / "added_tokens.json").write_text('{"cat": "x"}')
    with pytest.raises(DamagedFilesError, match=r"added_tokens\.json"):
        _words(folder, "cat")


# --- folders that are written ------------------------------------------------------------------


def test_a_quantized_folder_keeps_what_is_obeyed(folder, tmp_path):
    """Its ids are the source's, and so is what its fingerprint rests on."""
    _configure(folder, do_lower_case=False, truncation_side="left", model_max_length=8)
    (folder / "added_tokens.json").write_text(json.dumps({"cat": VOCABULARY.index("cat")}))
    quantize(folder, tmp_path / "int8", calibration_texts=TEN, search=False)
    source, written = (
        Encoder.load(where, precision=precision, warm_shapes=False)
        for where, precision in ((folder, "fp32"), (tmp_path / "int8", "int8"))
    )
    texts = ["Cat catdog", "the cat sat on the mat with a dog and a Moon"]
    assert written.tokenize(texts, instruction="") == source.tokenize(texts, instruction="")
    (tmp_path / "int8" / "tokenizer_config.json").write_text("{}")
    with pytest.raises(DamagedFilesError, match=r"tokenizer_config\.json"):
        Encoder.load(tmp_path / "int8")


def test_the_fingerprint_tells_the_tokenizers_files_apart(folder):
    before = Encoder.load(folder, precision="fp32", warm_shapes=False).fingerprint
    _configure(folder, do_lower_case=False, model_max_length=64)
    assert Encoder.load(folder, precision="fp32", warm_shapes=False).fingerprint != before


def test_a_quantized_cross_encoder_keeps_its_token_types(tmp_path):
    """Both ways: scores with and without them differ, and int8's follow fp32's of the same files."""
    scores = {}
    pairs = [(one, other) for one in TEN[:5] for other in TEN[5:]]
    for names in (["input_ids"], ["input_ids", "token_type_ids"]):
        folder = write_tiny_cross_encoder(tmp_path / f"{len(names)}")
        _configure(folder, model_input_names=names, model_max_length=64, tokenizer_class="BertTokenizer")
        quantize_cross_encoder(folder, tmp_path / f"int8-{len(names)}", calibration_texts=TEN, search=False)
        tokenizer = CrossEncoder.load(tmp_path / f"int8-{len(names)}", warm_shapes=False)._tokenizer
        (ids,) = tokenizer.encode_pairs(pairs[:1], second_text=1000).token_ids
        scores[len(names)] = max(ids) >= 1000
    assert scores == {1: False, 2: True}
