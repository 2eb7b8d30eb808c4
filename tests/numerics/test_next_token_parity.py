"""Causal cross-encoders in fp32 against sentence-transformers: the yes and no of a chat template, and a classifier."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tokenizers

from intel_quantized_embeddings import CrossEncoder, quantize_cross_encoder
from intel_quantized_embeddings.errors import UnsupportedModelError

pytestmark = pytest.mark.reference
torch = pytest.importorskip("torch", reason="torch is in the reference environment only (make test)")
transformers = pytest.importorskip("transformers", reason="transformers is in the reference environment only")
sentence_transformers = pytest.importorskip("sentence_transformers", reason="it is in the reference environment only")

SIZES = {
    "vocab_size": 320,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 600,
    "pad_token_id": 256,
    "bos_token_id": 256,
    "eos_token_id": 257,
}
MAX_LENGTH = 300
# Of the shape of Qwen3-Reranker's own: an instruction with a default, and what the assistant begins with at the end.
TEMPLATE = """{%- set task = messages | selectattr("role", "eq", "system") | map(attribute="content") | first
 | default("find answers") -%}
<|im_start|>system
Judge the Document by the Query and the Instruct; "yes" or "no".<|im_end|>
<|im_start|>user
<Instruct>: {{ task }}
<Query>: {{ messages | selectattr("role", "eq", "query") | map(attribute="content") | first }}
<Document>: {{ messages | selectattr("role", "eq", "document") | map(attribute="content") | first }}<|im_end|>
<|im_start|>assistant
<think>

</think>


"""
IN_PARTS = """{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content[0].text }}<|im_end|>
{% endfor %}{{ eos_token }}yes or no?"""
PAIRS = [
    ("what is the cat on", "the cat sat on the red mat"),
    ("", ""),
    ("a", "stone " * 90),
    ("water " * 80, "fire"),
    ("Who is <|im_end|> in the middle?", "na\u00efve caf\u00e9 {{ 7 * 7 }} \u6771\u4eac"),
    ("the same pair", "again\n"),
    ("the same pair", "again"),
]


def _write(folder, kind, *, config=None, template=TEMPLATE, **sizes):
    """A random model, and a byte-level tokenizer as Qwen's, with words for yes and no."""
    torch.manual_seed(0)
    model = kind(config or transformers.Qwen3Config(**SIZES, head_dim=20, **sizes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1 if "norm" in name else 0, 0.3)
    model.save_pretrained(folder)
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, "no", "ye", "yes"]
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE({word: i for i, word in enumerate(words)}, [("n", "o"), ("y", "e"), ("ye", "s")])
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(["<|endoftext|>", "<|im_end|>", "<|im_start|>"])
    made.save(str(folder / "tokenizer.json"))
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    described |= {"padding_side": "left", "model_max_length": MAX_LENGTH}
    if template:
        described["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return folder


def _saved(folder, tmp_path, **options):
    theirs = sentence_transformers.CrossEncoder(str(folder), device="cpu", **options)
    theirs.save_pretrained(str(tmp_path / "saved"))
    return theirs, tmp_path / "saved"


def _agree(ours, theirs, pairs=PAIRS):
    assert ours.max_length == MAX_LENGTH
    found = ours.score(pairs)
    assert np.abs(found - theirs.predict(pairs)).max() <= 2e-5 * max(1, np.abs(found).max())
    assert np.ptp(found) > 0.01
    assert np.array_equal(found[:2], ours.score(pairs[:2]))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_the_next_token_scores_as_in_sentence_transformers(tmp_path, runtime, family, tied):
    """Qwen3-Reranker's way: yes less no behind a chat template, its end put back where a pair is cut."""
    if runtime == "ipex":
        pytest.skip("runtime='ipex' runs no cross-encoders")
    kind = transformers.Qwen3ForCausalLM
    config = transformers.Qwen3Config(**SIZES, head_dim=20, tie_word_embeddings=tied)
    if family == "llama":
        kind = transformers.LlamaForCausalLM
        config = transformers.LlamaConfig(**SIZES, tie_word_embeddings=tied)
    folder = _write(tmp_path / "model", kind, config=config)
    theirs, saved = _saved(folder, tmp_path, activation_fn=torch.nn.Identity())
    assert type(theirs[1]).__name__ == "LogitScore"
    ours = CrossEncoder.load(saved, runtime=runtime, precision="fp32")
    assert ours.settings.modules == (f"LogitScore {theirs[1].true_token_id} less {theirs[1].false_token_id}",)
    _agree(ours, theirs)


@pytest.mark.parametrize("template", [TEMPLATE, IN_PARTS], ids=["flat", "structured"])
def test_prompts_are_the_system_message(tmp_path, template):
    folder = _write(tmp_path / "model", transformers.Qwen3ForCausalLM, template=template)
    prompts = {"prompts": {"web": "Given a question, find the page"}, "default_prompt_name": "web"}
    theirs, saved = _saved(folder, tmp_path, **prompts)
    ours = CrossEncoder.load(saved, precision="fp32")
    assert (ours.settings.instruction, ours.settings.in_parts) == (prompts["prompts"]["web"], template == IN_PARTS)
    _agree(ours, theirs)
    without, plain = _saved(folder, tmp_path / "other")
    _agree(CrossEncoder.load(plain, precision="fp32"), without)
    assert np.abs(without.predict(PAIRS) - theirs.predict(PAIRS)).max() > 1e-4


def test_one_token_alone_and_a_template_of_its_own_file(tmp_path):
    """zerank's way: the logit of one token; `chat_template.jinja` counts before the tokenizer's."""
    folder = _write(tmp_path / "model", transformers.Qwen3ForCausalLM, template=IN_PARTS)
    _, saved = _saved(folder, tmp_path)
    (saved / "1_LogitScore" / "config.json").write_text(json.dumps({"true_token_id": 100, "false_token_id": None}))
    (saved / "chat_template.jinja").write_text(TEMPLATE)
    asked = json.loads((saved / "sentence_bert_config.json").read_text())
    asked["modality_config"]["message"]["format"] = "flat"
    (saved / "sentence_bert_config.json").write_text(json.dumps(asked))
    theirs = sentence_transformers.CrossEncoder(str(saved), device="cpu", activation_fn=torch.nn.Identity())
    theirs.save_pretrained(str(tmp_path / "again"))
    _agree(CrossEncoder.load(tmp_path / "again", precision="fp32"), theirs)


@pytest.mark.parametrize("template", [TEMPLATE, ""], ids=["chat", "pairs"])
@pytest.mark.parametrize("saved_again", [True, False])
def test_a_causal_classifier_scores_as_in_sentence_transformers(tmp_path, runtime, template, saved_again):
    """The converted copies of Qwen3-Reranker: one label on the last token's vector."""
    if runtime == "ipex":
        pytest.skip("runtime='ipex' runs no cross-encoders")
    folder = _write(tmp_path / "model", transformers.Qwen3ForSequenceClassification, template=template, num_labels=1)
    theirs, saved = _saved(folder, tmp_path)
    ours = CrossEncoder.load(saved if saved_again else folder, runtime=runtime, precision="fp32")
    assert bool(ours.settings.template) == bool(template)
    # Without a template, nothing is put around two empty texts.
    _agree(ours, theirs, PAIRS if template else [pair for pair in PAIRS if any(pair)])


def test_a_quantized_folder_keeps_the_template(tmp_path):
    folder = _write(tmp_path / "model", transformers.Qwen3ForCausalLM)
    _, saved = _saved(folder, tmp_path, prompts={"web": "find the page"}, default_prompt_name="web")
    fp32 = CrossEncoder.load(saved, precision="fp32")
    report = quantize_cross_encoder(saved, tmp_path / "int8", runtime="native")
    int8 = CrossEncoder.load(report.folder)
    assert int8.settings == fp32.settings
    assert np.corrcoef(int8.score(PAIRS), fp32.score(PAIRS))[0, 1] > 0.99


def test_a_template_that_leaves_a_text_out_is_refused_by_both(tmp_path):
    """A chat model's own, which has no role for either, makes one and the same text of every pair."""
    dropping = "{% for one in messages %}{% if one.role == 'user' %}{{ one.content }}{% endif %}{% endfor %}!"
    folder = _write(tmp_path / "model", transformers.Qwen3ForCausalLM, template=dropping)
    theirs, saved = _saved(folder, tmp_path)
    with pytest.raises(ValueError, match="cannot carry"):
        theirs.predict(PAIRS)
    with pytest.raises(UnsupportedModelError, match=r"leaves out messages.*chat_template\.jinja"):
        CrossEncoder.load(saved, precision="fp32")


def test_a_classifier_whose_pairs_end_in_padding_is_refused(tmp_path):
    """transformers looks for the last token that is no padding, and would find the one before."""
    folder = _write(tmp_path / "model", transformers.Qwen3ForSequenceClassification, template="", num_labels=1)
    made = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = ("<|endoftext|>", made.token_to_id("<|endoftext|>"))
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A <|endoftext|>", pair="$A $B <|endoftext|>", special_tokens=[end]
    )
    made.save(str(folder / "tokenizer.json"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": end[1]}))
    with pytest.raises(UnsupportedModelError, match=f"ends every pair in the token {end[1]}"):
        CrossEncoder.load(folder, precision="fp32")


def test_a_causal_model_that_does_not_say_its_tokens_is_refused_with_the_way_out(tmp_path):
    """As Qwen3-Reranker was published at first, and as every embedder of its layers is."""
    folder = _write(tmp_path / "model", transformers.Qwen3ForCausalLM)
    with pytest.raises(UnsupportedModelError, match=r"no 'score'.*LogitScore"):
        CrossEncoder.load(folder, precision="fp32")
