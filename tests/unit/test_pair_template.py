"""Pairs as chats, and scores of the next token: what a folder may ask for, without torch."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from intel_quantized_embeddings import CrossEncoder, Encoder
from intel_quantized_embeddings.architectures.embedding_gemma2 import EMBEDDING_GEMMA2
from intel_quantized_embeddings.architectures.llama import EUROBERT
from intel_quantized_embeddings.architectures.qwen3 import QWEN3
from intel_quantized_embeddings.errors import DamagedFilesError, MissingExtraError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.models.pair_template import PairTemplate, read_template
from support.tiny_models import PAIR_TEMPLATE as TEMPLATE
from support.tiny_models import (
    ask_for_chats,
    ask_for_messages,
    tiny_config,
    write_tiny_causal_scorer,
    write_tiny_cross_encoder,
    write_tiny_model,
)

YES, NO = 30, 31


def _template(source, tmp_path, **options):
    given = {"instruction": "", "in_parts": False, "special": {}, "where": tmp_path}
    return PairTemplate(source, **given | options)


@pytest.fixture
def causal(tmp_path):
    """A tiny Qwen3 that is scored by the next token."""
    return write_tiny_causal_scorer(tmp_path / "causal", family=QWEN3, tokens=(YES, NO))


def _tokens(folder, **config):
    (folder / "1_LogitScore" / "config.json").write_text(json.dumps(config))


PAIRS = [("what is red", "the mat"), ("", ""), ("river", "stone " * 80), ("a", "b")]


# --- templates ----------------------------------------------------------------------------------


def test_a_template_gets_the_instruction_and_the_two_texts_as_they_are(tmp_path):
    source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ eos_token }}"
    chat = _template(source, tmp_path, instruction="judge", special={"eos_token": "</s>"})
    assert chat("{{ 7 }}", " b\n") == "<system>judge<query>{{ 7 }}<document> b\n</s>"
    parts = _template(
        "{% for m in messages %}{{ m.content[0].type }}:{{ m.content[0].text }};{% endfor %}", tmp_path, in_parts=True
    )
    assert parts("a", "b") == "text:a;text:b;"


def test_json_in_a_template_is_written_as_transformers_writes_it(tmp_path):
    """Jinja's own filter gave apostrophes and angle brackets as numbers, and sorted keys."""
    source = "{{ messages[0].content | tojson }} {{ messages[1] | tojson }}"
    template = _template(source, tmp_path)
    assert template("what's <b>?", "é") == """"what's <b>?" {"role": "document", "content": "é"}"""


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("{{ messages[0].content ", DamagedFilesError, "not one of Jinja"),
        ("{{ messages[7].content.x }}", DamagedFilesError, "fails on a pair of texts"),
        ("{{ raise_exception('roles must alternate') }}", DamagedFilesError, "roles must alternate"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", DamagedFilesError, "fails on a pair of texts.*unsafe"),
        ("{{ messages.append(1) }}", DamagedFilesError, "fails on a pair of texts.*unsafe"),
        ("{{ messages[1].content }}", UnsupportedModelError, r"leaves out messages.*chat_template\.jinja"),
    ],
)
def test_a_template_that_does_not_do_is_named(tmp_path, source, error, said):
    with pytest.raises(error, match=said):
        _template(source, tmp_path)


def test_without_jinja_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"intel-quantized-embeddings\[templates\]"):
        _template(TEMPLATE, tmp_path)


def test_where_a_template_stands(tmp_path):
    """A file of its own counts first; of several in the tokenizer's the default one."""
    assert read_template(tmp_path) == ""
    named = [{"name": "tools", "template": "x"}, {"name": "default", "template": "y"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert read_template(tmp_path) == "y"
    (tmp_path / "chat_template.jinja").write_text("z")
    assert read_template(tmp_path) == "z"
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": 7}')
    with pytest.raises(DamagedFilesError, match="chat_template is 7"):
        read_template(tmp_path)


def test_a_cut_chat_keeps_its_end(causal):
    model = CrossEncoder.load(causal, precision="fp32", max_length=24)
    rows = [ids for window in model._token_ids(PAIRS, bytearray()) for ids in window]
    assert max(map(len, rows)) == len(rows[2]) == 24
    end = rows[0][-5:]
    assert all(row[-5:] == end for row in rows)


def test_a_chat_is_not_cut_at_its_beginning(causal):
    model = CrossEncoder.load(causal)
    pairs = [("a question", "a text")]
    assert model.tokenize(pairs, cut="right") == model.tokenize(pairs)
    with pytest.raises(OptionError, match="cut='left' is not allowed"):
        model.tokenize(pairs, cut="left")


def test_a_folder_of_transformers_alone_takes_the_template_that_is_there(tmp_path):
    folder = write_tiny_cross_encoder(tmp_path / "alone", family=QWEN3)
    plain = CrossEncoder.load(folder, precision="fp32").score(PAIRS[:1])
    ask_for_chats(folder)
    assert not np.array_equal(CrossEncoder.load(folder, precision="fp32").score(PAIRS[:1]), plain)
    (folder / "sentence_bert_config.json").unlink()
    assert CrossEncoder.load(folder, precision="fp32").settings.template == TEMPLATE
    (folder / "chat_template.jinja").write_text("{{ messages[0].content[0].text }}")
    with pytest.raises(UnsupportedModelError, match=r"texts or lists of their parts.*save_pretrained"):
        CrossEncoder.load(folder, precision="fp32")


def test_a_chat_without_a_template_is_refused(causal):
    described = json.loads((causal / "tokenizer_config.json").read_text())
    del described["chat_template"]
    (causal / "tokenizer_config.json").write_text(json.dumps(described))
    with pytest.raises(UnsupportedModelError, match=r"has none\. Write a chat_template\.jinja"):
        CrossEncoder.load(causal, precision="fp32")


# --- scores of the next token -------------------------------------------------------------------


def test_the_score_is_the_difference_of_two_logits(causal):
    both = CrossEncoder.load(causal, precision="fp32").score(PAIRS)
    _tokens(causal, true_token_id=YES)
    yes = CrossEncoder.load(causal, precision="fp32").score(PAIRS)
    _tokens(causal, true_token_id=NO, false_token_id=None)
    no = CrossEncoder.load(causal, precision="fp32").score(PAIRS)
    assert np.abs(both - (yes - no)).max() <= 1e-5 * np.abs(yes).max()
    assert np.ptp(both) > 0.01


def test_a_layer_of_its_own_counts_where_words_are_not_tied(causal):
    tied = CrossEncoder.load(causal, precision="fp32").score(PAIRS)
    tensors = load_file(causal / "model.safetensors")
    words = tensors["model.embed_tokens.weight"]
    config = json.loads((causal / "config.json").read_text())
    (causal / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    with pytest.raises(DamagedFilesError, match=r"no tensor 'lm_head\.weight'"):
        CrossEncoder.load(causal, precision="fp32")
    save_file(tensors | {"lm_head.weight": 2 * words}, causal / "model.safetensors")
    np.testing.assert_allclose(CrossEncoder.load(causal, precision="fp32").score(PAIRS), 2 * tied, rtol=1e-5)
    save_file(tensors | {"lm_head.weight": words[1:].copy()}, causal / "model.safetensors")
    with pytest.raises(DamagedFilesError, match=r"'lm_head\.weight' in .* is expected"):
        CrossEncoder.load(causal, precision="fp32")


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        ({"true_token_id": YES, "module_input_name": "scores"}, UnsupportedModelError, "module_input_name='scores'"),
        ({"true_token_id": YES, "other": 1}, UnsupportedModelError, "other=1, a key that is not known"),
        ({"false_token_id": NO}, DamagedFilesError, "has no true_token_id"),
        ({"true_token_id": "yes"}, DamagedFilesError, "true_token_id='yes'"),
        ({"true_token_id": YES, "false_token_id": -1}, DamagedFilesError, "false_token_id=-1"),
        ({"true_token_id": 10_000}, DamagedFilesError, "scored by the token 10000, and has"),
    ],
)
def test_tokens_that_can_not_be_are_named(causal, config, error, said):
    _tokens(causal, **config)
    with pytest.raises(error, match=said):
        CrossEncoder.load(causal, precision="fp32")


def test_a_logit_score_stands_behind_a_transformer_alone(causal):
    modules = json.loads((causal / "modules.json").read_text())
    modules.append({"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
    (causal / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(
        UnsupportedModelError, match="runs Transformer, LogitScore, Normalize; a LogitScore is built in"
    ):
        CrossEncoder.load(causal, precision="fp32")


def test_an_encoder_has_no_next_token(causal):
    config = tiny_config(EUROBERT)
    (causal / "config.json").write_text(json.dumps({**json.loads((causal / "config.json").read_text()), **config}))
    with pytest.raises(UnsupportedModelError, match="no model of the eurobert family is built in for that"):
        CrossEncoder.load(causal, precision="fp32")


# --- texts of models that take images too --------------------------------------------------------


@pytest.fixture
def with_images(tmp_path):
    """A tiny model, and the same as of one that takes images too, whose texts are messages."""
    plain = write_tiny_model(tmp_path / "plain", family=EMBEDDING_GEMMA2)
    whole = write_tiny_model(tmp_path / "whole", family=EMBEDDING_GEMMA2)
    text = json.loads((plain / "config.json").read_text())
    described = {"model_type": "embedding_gemma2", "text_config": text, "vision_config": {"hidden_size": 8}}
    (whole / "config.json").write_text(json.dumps(described))
    tensors = load_file(whole / "model.safetensors")
    tensors = {f"language_model.{name}": tensor for name, tensor in tensors.items()}
    tensors["embed_vision.embedding_projection.weight"] = np.zeros((8, 8), np.float32)
    save_file(tensors, whole / "model.safetensors")
    return plain, ask_for_messages(whole)


def test_a_template_that_adds_nothing_changes_nothing(with_images):
    plain, whole = (Encoder.load(folder, precision="fp32") for folder in with_images)
    texts = ["a cat", " the dog\n\nsat ", ""]
    assert np.array_equal(plain.encode(texts, instruction="query: "), whole.encode(texts, instruction="query: "))
    assert (whole.dimension, whole.max_length) == (plain.dimension, plain.max_length)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("user: {{ messages[-1].content[0].text }}", "makes 'user: .* words that it adds to texts"),
        ("{{ messages[-1].content[0].text }}", "words that it adds"),
        ("{{ messages[0].content[0].text | trim }}", "words that it adds"),
        ("{{ messages[9].content.x }}", "fails on a text"),
    ],
)
def test_a_template_that_makes_another_text_is_refused(with_images, template, said):
    folder = ask_for_messages(with_images[1], template=template)
    with pytest.raises((UnsupportedModelError, DamagedFilesError), match=said):
        Encoder.load(folder, precision="fp32")


def test_messages_of_a_model_of_texts_alone_stay_refused(with_images):
    """Its template's text would get no tokens around it."""
    with pytest.raises(UnsupportedModelError, match=r"modality_config=.*only.*'text'"):
        Encoder.load(ask_for_messages(with_images[0]), precision="fp32")
