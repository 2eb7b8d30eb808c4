"""Cross-encoders in fp32 against transformers and sentence-transformers; runs in the reference environment."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tokenizers import Tokenizer, processors

from intel_quantized_embeddings import CrossEncoder
from support.tiny_models import VOCABULARY, write_tiny_tokenizer

pytestmark = [pytest.mark.reference, pytest.mark.ipex]
torch = pytest.importorskip("torch", reason="torch is in the reference environment only (make test)")
transformers = pytest.importorskip("transformers", reason="transformers is in the reference environment only")

SIZES = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 170,
    "num_labels": 1,
}
DISTILBERT_SIZES = {
    "vocab_size": len(VOCABULARY),
    "dim": 32,
    "n_layers": 3,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": 170,
    "num_labels": 1,
}
ROTARY = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "eos_token_id": 3, "local_attention": 20}
# pad_token_id 0 is the tiny tokenizer's, whose vocabulary begins with [PAD]; transformers' MPNet knows only 1.
MODELS = {
    "bert": lambda: transformers.BertConfig(**SIZES),
    "bert-one-type": lambda: transformers.BertConfig(**SIZES, type_vocab_size=1),
    "roberta": lambda: transformers.RobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=0),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=0),
    "roberta-two-types": lambda: transformers.RobertaConfig(**SIZES, type_vocab_size=2, pad_token_id=0),
    "camembert": lambda: transformers.CamembertConfig(**SIZES, type_vocab_size=1, pad_token_id=0),
    "distilbert": lambda: transformers.DistilBertConfig(**DISTILBERT_SIZES),
    "mpnet": lambda: transformers.MPNetConfig(**SIZES, pad_token_id=1),
    "electra": lambda: transformers.ElectraConfig(**SIZES, embedding_size=20),
    "modernbert": lambda: transformers.ModernBertConfig(**SIZES, **ROTARY),
    "modernbert-mean": lambda: transformers.ModernBertConfig(
        **SIZES, **ROTARY, classifier_pooling="mean", classifier_bias=True, norm_bias=True, classifier_activation="relu"
    ),
}
if hasattr(transformers, "GteConfig"):
    MODELS["gte"] = lambda: transformers.GteConfig(**SIZES, pad_token_id=0, type_vocab_size=1)
if hasattr(transformers, "JinaEmbeddingsV3Config"):
    MODELS["jina-v3"] = lambda: transformers.JinaEmbeddingsV3Config(**SIZES, pad_token_id=0)
    MODELS["jina-v3-two-types"] = lambda: transformers.JinaEmbeddingsV3Config(
        **SIZES, pad_token_id=0, type_vocab_size=2
    )
PAIRS = [
    ("what is the cat on", "the cat sat on the red mat"),
    ("", ""),
    ("a", "stone " * 90),
    ("water " * 80, "fire"),
    ("water " * 50, "fire, wind and earth " * 20),
    ("Who is [SEP] in the middle?", "naïve café [SEP] 東京"),
    ("the same pair", "again"),
    ("the same pair", "again"),
]


@pytest.fixture(scope="module", params=MODELS)
def reference(request, tmp_path_factory):
    """A random transformers classifier, its tokenizer, and the folder of both."""
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_config(MODELS[request.param]()).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_scale = "norm" in name.lower() and name.endswith("weight")
            parameter.normal_(1 if is_scale else 0, 0.3)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    _write_tokenizer(folder, types=getattr(model.config, "type_vocab_size", 1) > 1)
    return model, transformers.AutoTokenizer.from_pretrained(folder), folder


def _write_tokenizer(folder, *, types):
    """As the family's own: with a type for each text, or with two separators between them and no types."""
    write_tiny_tokenizer(folder / "tokenizer.json")
    names = ["input_ids", "token_type_ids", "attention_mask"]
    if not types:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        tokenizer.save(str(folder / "tokenizer.json"))
        names.remove("token_type_ids")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "model_input_names": names}))


def test_every_family_scores_as_transformers_does(reference):
    """Pair template, token types, truncation of the longer text, padding, and the head."""
    model, tokenizer, folder = reference
    inputs = tokenizer(
        [query for query, _ in PAIRS],
        [document for _, document in PAIRS],
        padding=True,
        truncation=True,
        max_length=64,
        return_tensors="pt",
    )
    with torch.no_grad():
        expected = torch.sigmoid(model(**inputs).logits[:, 0]).numpy()
    found = CrossEncoder.load(folder, precision="fp32").score(PAIRS)
    assert np.abs(found - expected).max() <= 1e-5
    assert np.ptp(found) > 0.02


def test_a_pair_is_tokenized_as_by_transformers(reference):
    """Ids and token types, cut to every length that a pair may have."""
    _, tokenizer, folder = reference
    for max_length in (6, 7, 31, 64):
        ours = CrossEncoder.load(folder, precision="fp32", max_length=max_length, warm_shapes=False)
        ids = [ids for window in ours._token_ids(PAIRS, bytearray()) for ids in window]
        theirs = tokenizer(
            [query for query, _ in PAIRS],
            [document for _, document in PAIRS],
            truncation=True,
            max_length=max_length,
            return_token_type_ids=True,
        )
        second = ours._second_text
        assert [[token % second if second else token for token in one] for one in ids] == theirs["input_ids"]
        if second:
            assert [[token // second for token in one] for one in ids] == theirs["token_type_ids"]


@pytest.mark.parametrize("activation", ["Sigmoid", "Identity"])
def test_a_folder_that_sentence_transformers_saved_gives_its_scores(reference, activation, tmp_path):
    """Activation and length as its current version writes them, and as transformers' folder alone has them."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    _, _, folder = reference
    chosen = {"activation_fn": torch.nn.Identity()} if activation == "Identity" else {}
    theirs = sentence_transformers.CrossEncoder(str(folder), device="cpu", **chosen)
    theirs.save_pretrained(str(tmp_path / "saved"))
    ours = CrossEncoder.load(tmp_path / "saved", precision="fp32")
    assert ours.settings.activation.value == activation
    assert ours.max_length == 64
    assert np.abs(ours.score(PAIRS) - theirs.predict(PAIRS)).max() <= 1e-5
    if activation == "Sigmoid":
        plain = CrossEncoder.load(folder, precision="fp32")
        assert np.abs(plain.score(PAIRS) - theirs.predict(PAIRS)).max() <= 1e-5
