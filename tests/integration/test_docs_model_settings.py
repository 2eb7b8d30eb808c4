"""docs/model-settings.md: every row of its tables, tried."""

from __future__ import annotations

import json
import re
import shutil
from itertools import product

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from intel_quantized_embeddings import CrossEncoder, Encoder, SparseEncoder
from intel_quantized_embeddings.errors import QuantizedEmbeddingsError
from intel_quantized_embeddings.models.sparse import is_sparse
from support.documents import ROOT
from support.tiny_models import (
    HIDDEN,
    VOCABULARY,
    write_tiny_cross_encoder,
    write_tiny_model,
    write_tiny_sparse,
    write_tiny_sparse_router,
)

# Together they change with every key that is obeyed: case, accents, Chinese, special tokens, parts of words, length.
TEXTS = ["The CAT café", "猫cat 東京", "dog [SEP] [CLS]", "catdog", " ".join(VOCABULARY[10:40]), "cat red"]
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[UNK]",
}


def _rows() -> list[tuple[str, str, str, str, object]]:
    """The tables' rows; one that names several files or keys is several."""
    rows, kind = [], ""
    for line in (ROOT / "docs" / "model-settings.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            kind = line.removeprefix("## ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 5:
            files, keys, fate, example = cells[:4]
            for file, key in product(files.split(", "), keys.split(", ")):
                rows.append((kind, file.strip("`"), key.strip("`"), fate, json.loads(example.strip("`"))))
    return rows


ROWS = _rows()


def _embedder(folder):
    dense = {"out_features": 24, "activation": "activation.Tanh"}
    write_tiny_model(folder, max_length=16, behind=[("Dense", dense), ("LayerNorm", {}), ("Normalize", {})])
    _change(folder / "tokenizer_config.json", SPECIAL | {"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": HIDDEN}))
    (folder / "4_Normalize").mkdir()
    (folder / "4_Normalize" / "config.json").write_text("{}")
    (folder / "other").mkdir()
    (folder / "other" / "config.json").write_text(json.dumps({"pooling_mode": "cls", "embedding_dimension": HIDDEN}))
    prompts = {"prompts": {"clustering": "of the "}, "model_type": "SentenceTransformer"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return folder


def _byte_level(folder):
    _embedder(folder)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=160, special_tokens=["<s>", "<pad>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(["the cat catdog dog"] * 5, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"tokenizer_class": "RobertaTokenizer", "unk_token": "<pad>", "mask_token": "<pad>", "model_max_length": 16}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    _change(folder / "config.json", {"model_type": "roberta", "type_vocab_size": 2, "pad_token_id": 1})
    return folder


def _cross_encoder(folder):
    write_tiny_cross_encoder(folder, max_length=16)
    label = {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    }
    _change(folder / "config.json", label)
    named = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, **SPECIAL, "model_input_names": None}
    _change(folder / "tokenizer_config.json", named)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["model_input_names"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    module = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}
    (folder / "modules.json").write_text(json.dumps([module]))
    (folder / "sentence_bert_config.json").write_text('{"transformer_task": "sequence-classification"}')
    own = {"model_type": "CrossEncoder", "prompts": {"query": "the "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(own))
    return folder


def _sparse(folder):
    write_tiny_sparse(folder, max_length=16, own={"prompts": {"clustering": "of the "}})
    named = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, **SPECIAL}
    _change(folder / "tokenizer_config.json", named)
    return folder


def _sparse_router(folder):
    return write_tiny_sparse_router(folder, own={"prompts": {"clustering": "of the "}})


# By the heading of its table.
BASES = {
    "Models that make embeddings": _embedder,
    "Models with a byte-level tokenizer, as RoBERTa's": _byte_level,
    "Cross-encoders": _cross_encoder,
    "Sparse models": _sparse,
    "Sparse models with a table for queries": _sparse_router,
}


def _change(file, values):
    described = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(described | values))


def _with(folder, file, key, value):
    """The folder with a key of a file set; "any other" is a key that nobody knows."""
    key = "unheard_of" if key == "any other" else key
    path = folder / file
    if file == "modules.json":
        modules = json.loads(path.read_text())
        modules[-1 if len(modules) == 1 else 1][key] = value
        path.write_text(json.dumps(modules))
        return folder
    outer, _, inner = key.rpartition(".")
    if outer:
        described = json.loads(path.read_text()) if path.is_file() else {}
        value = {**(described.get(outer) or {}), inner: value}
    _change(path, {outer or key: value})
    return folder


def _results(folder):
    router = (folder / "router_config.json").is_file()
    if not router and "ForSequenceClassification" in (folder / "config.json").read_text():
        model = CrossEncoder.load(folder, precision="fp32", warm_shapes=False)
        return model.score([(one, other) for one in TEXTS for other in TEXTS[:3]])
    if router or is_sparse(folder):
        sparse = SparseEncoder.load(folder, precision="fp32", warm_shapes=False)
        return np.concatenate([sparse.encode_documents(TEXTS).toarray(), sparse.encode_queries(TEXTS).toarray()])
    encoder = Encoder.load(folder, precision="fp32", warm_shapes=False)
    return np.concatenate([encoder.encode_documents(TEXTS), encoder.encode_queries(TEXTS)])


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """A folder for each table, and what it gives."""
    folders = {kind: write(tmp_path_factory.mktemp("base") / "model") for kind, write in BASES.items()}
    return {kind: (folder, _results(folder)) for kind, folder in folders.items()}


@pytest.fixture
def changed(bases, tmp_path, request):
    """A row's folder with its example in it, what the folder gave before, and the row."""
    row = kind, file, key, _, value = request.param
    base, before = bases[kind]
    return _with(shutil.copytree(base, tmp_path / "model"), file, key, value), before, row


def _id(row):
    return f"{row[0][:14]} {row[1]} {row[2]}"


def test_the_page_has_each_key_once():
    places = [row[:3] for row in ROWS]
    # An argument that is obeyed, and the table of the others, which is refused, are two rows of one place.
    assert len(places) == len(set(places))
    assert {row[0] for row in ROWS} == set(BASES)
    assert {row[3] for row in ROWS} == {"obeyed", "default", "refused", "no effect"}


def _of(*fates):
    return pytest.mark.parametrize("changed", [row for row in ROWS if row[3] in fates], indirect=True, ids=_id)


@_of("obeyed")
def test_what_is_obeyed_changes_the_results(changed):
    folder, before, _ = changed
    assert np.abs(_results(folder) - before).max() > 1e-3


@_of("default", "no effect")
def test_what_has_no_effect_changes_nothing(changed):
    folder, before, _ = changed
    assert np.array_equal(_results(folder), before)


@_of("refused")
def test_what_is_refused_is_named(changed):
    """Where the key is of a file, so is its name; an adapter's file is named itself."""
    folder, _, (_, file, key, _, _) = changed
    named = {"any other": "unheard_of", "peft_type": "adapter", "type": "of the type"}.get(key, key.split(".")[0])
    with pytest.raises(QuantizedEmbeddingsError, match=re.escape(named)) as refused:
        _results(folder)
    assert file in str(refused.value)


_NOT_COMPARED = {
    # 6.2 lets the empty prompts that it adds itself hide the default one; its `encode` uses it.
    ("config_sentence_transformers.json", "default_prompt_name"),
}


@pytest.mark.reference
@_of("obeyed", "default", "no effect")
def test_the_results_are_sentence_transformers(changed):
    """Text by text, so that nothing depends on how a batch is padded."""
    theirs = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    if int(theirs.__version__.split(".")[0]) < 6:
        pytest.skip("earlier versions read other keys, by transformers 4's tokenizers")
    folder, _, (kind, file, key, _, _) = changed
    if (file, key) in _NOT_COMPARED:
        pytest.skip("sentence-transformers does otherwise; the page says how")
    if kind == "Cross-encoders":
        model = theirs.CrossEncoder(str(folder), device="cpu")
        expected = np.stack([model.predict([(one, other)])[0] for one in TEXTS for other in TEXTS[:3]])
    elif kind.startswith("Sparse models"):
        model = theirs.SparseEncoder(str(folder), device="cpu")
        documents = [model.encode_document(text).to_dense().numpy() for text in TEXTS]
        expected = np.stack(documents + [model.encode_query(text).to_dense().numpy() for text in TEXTS])
    else:
        model = theirs.SentenceTransformer(str(folder), device="cpu")
        documents = [model.encode_document(text) for text in TEXTS]
        expected = np.stack(documents + [model.encode_query(text) for text in TEXTS])
    assert np.abs(_results(folder) - expected).max() < 1e-4
