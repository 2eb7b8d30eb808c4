"""Weights of a text's own tokens, as bge-m3 gives them, beside what torch makes of the same files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder, SparseEncoder, quantize_sparse
from intel_quantized_embeddings.architectures.roberta import ROBERTA
from intel_quantized_embeddings.encoders.sparse_encoder import weights_of
from intel_quantized_embeddings.errors import ModelFilesError, UnsupportedModelError
from support.documents import blocks, page_at
from support.each_runtime import TEXTS
from support.few_texts import FEW
from support.tiny_models import HIDDEN, VOCABULARY, write_tiny_model

pytestmark = pytest.mark.reference
torch = pytest.importorskip("torch", reason="torch is in the reference environment only (make test)")
transformers = pytest.importorskip("transformers", reason="transformers is in the reference environment only")


@pytest.fixture
def pickled(tmp_path):
    """As the hub has it: an embedder's folder, and the layer beside it as a pickle of torch."""
    folder = write_tiny_model(tmp_path / "m3", family=ROBERTA, pooling="cls")
    torch.manual_seed(0)
    layer = torch.nn.Linear(HIDDEN, 1)
    with torch.no_grad():
        layer.weight.normal_(0, 1)
        layer.bias.fill_(6)  # some weights are above 0, some are not
    torch.save(layer.state_dict(), folder / "sparse_linear.pt")
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "cls_token": "[CLS]", "eos_token": "[SEP]"}
    described |= {"pad_token": "[PAD]", "unk_token": "[UNK]", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return folder


@pytest.fixture
def folder(pickled, monkeypatch):
    """Converted by the documentation's own lines."""
    monkeypatch.chdir(pickled)
    (block,) = (block for block in blocks(page_at("sparse.md"), "python") if "sparse_linear.pt" in block.text)
    exec(compile(block.text, block.page, "exec"), {})
    return pickled


def expected(folder) -> list[dict[int, float]]:
    """What the authors compute: ReLU of the layer, the greatest for a token, none for special ones."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    layer = torch.nn.Linear(HIDDEN, 1)
    layer.load_state_dict(torch.load(folder / "sparse_linear.pt", weights_only=True))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    special = {VOCABULARY.index(token) for token in ("[CLS]", "[SEP]", "[PAD]", "[UNK]")}
    texts = []
    for text in TEXTS:
        batch = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            weights = torch.relu(layer(model(**batch).last_hidden_state))[0, :, 0].tolist()
        found: dict[int, float] = {}
        for token, weight in zip(batch["input_ids"][0].tolist(), weights, strict=True):
            if token not in special and weight > 0:
                found[token] = max(found.get(token, 0.0), weight)
        texts.append(found)
    return texts


def test_weights_are_those_of_torch(folder):
    ours = weights_of(SparseEncoder.load(folder, precision="fp32").encode(TEXTS))
    for one, other in zip(ours, expected(folder), strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(
            [one[token] for token in sorted(one)], [other[token] for token in sorted(one)], atol=2e-5
        )
    tokens = {len(one) for one in ours}
    assert len(tokens) > 2


def test_int8_is_close_and_a_folder_of_it_loads(folder, tmp_path):
    report = quantize_sparse(folder, tmp_path / "int8", **FEW)
    fp32, at_once, int8 = (
        SparseEncoder.load(where, **options).encode(TEXTS).toarray()
        for where, options in ((folder, {"precision": "fp32"}), (folder, {}), (tmp_path / "int8", {}))
    )
    assert (at_once == int8).all()
    assert (fp32 * int8).sum() / np.linalg.norm(fp32) / np.linalg.norm(int8) > 0.99
    assert report.fidelity is not None
    assert report.fidelity.documents.mean > 0.98


def test_it_is_an_embedder_all_the_same(folder):
    """Which of the two is meant the class says; the layer changes no dense vector and no fingerprint of them."""
    dense = Encoder.load(folder)
    (folder / "sparse_linear.safetensors").unlink()
    assert Encoder.load(folder).fingerprint == dense.fingerprint


def test_the_pickle_is_not_read(pickled):
    with pytest.raises(ModelFilesError, match=r"is a pickle, which is not read.*docs/sparse\.md"):
        SparseEncoder.load(pickled)


def test_openvino_refuses_it(folder):
    with pytest.raises(UnsupportedModelError, match="not built in for runtime='openvino'"):
        SparseEncoder.load(folder, runtime="openvino", precision="fp32")
