"""Whole folders with what is published behind an encoder, against sentence-transformers: pooling, chains of modules."""

from __future__ import annotations

import json

import numpy as np
import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder, quantize, quantize_cross_encoder
from support.few_texts import FEW, TEN_TEXTS
from support.tiny_models import HIDDEN, write_tiny_model, write_tiny_modules

pytestmark = [pytest.mark.reference, pytest.mark.ipex]
sentence_transformers = pytest.importorskip(
    "sentence_transformers", reason="sentence-transformers is in the reference environment only (make test)"
)

TANH, GELU, SIGMOID = (f"activation.{name}" for name in ("Tanh", "GELU", "Sigmoid"))
UNIT = ("Normalize", {})


def dense(numbers, activation="linear.Identity", *, bias=True):
    return ("Dense", {"out_features": numbers, "activation": activation, "bias": bias})


# By the model that has this shape; the others are what sentence-transformers can do beside.
FOLDERS = {
    "LaBSE": ("cls", [dense(HIDDEN, TANH), UNIT]),
    "mdbr-leaf-ir": ("mean", [dense(2 * HIDDEN), UNIT]),
    "mdbr-leaf-mt": ("mean", [dense(83), UNIT]),
    "embeddinggemma": ("mean", [dense(4 * HIDDEN, bias=False), dense(HIDDEN, bias=False), UNIT]),
    "sentence-t5": ("mean", [dense(24, bias=False), UNIT]),
    "max": ("max", [UNIT]),
    "mean_sqrt_len_tokens": ("mean_sqrt_len_tokens", []),
    "weightedmean": ("weightedmean", [UNIT]),
    "lasttoken": ("lasttoken", []),
    "all-poolings": ("lasttoken+max+cls+mean_sqrt_len_tokens+weightedmean+mean", [dense(37)]),
    "every-module": (
        "cls+mean",
        [UNIT, dense(50, GELU), ("LayerNorm", {}), ("Dropout", {"dropout": 0.5}), dense(21, SIGMOID), UNIT, UNIT],
    ),
    "dense-after-normalize": ("mean", [UNIT, dense(40, "activation.ReLU", bias=False)]),
}
PUBLISHED = ("LaBSE", "mdbr-leaf-ir", "mdbr-leaf-mt", "embeddinggemma")
TEXTS = [*TEN_TEXTS, "", "a", "what is that?", " ".join(TEN_TEXTS)]


@pytest.fixture(scope="module", params=FOLDERS)
def folder(request, tmp_path_factory):
    pooling, behind = FOLDERS[request.param]
    made = tmp_path_factory.mktemp("endings") / request.param
    return write_tiny_model(made, pooling=pooling, behind=behind, prompts={"query": "the "})


@pytest.fixture(scope="module", params=["native", "openvino"])
def runtime(request):
    return request.param


def test_vectors_are_those_of_sentence_transformers(folder, runtime, tmp_path):
    """Those of the folder that it writes itself too."""
    reference = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    encoder = Encoder.load(folder, runtime=runtime, precision="fp32", warm_shapes=False)
    queries, documents = encoder.encode_queries(TEXTS), encoder.encode_documents(TEXTS)
    assert encoder.dimension == reference.get_embedding_dimension()
    np.testing.assert_allclose(queries, reference.encode_query(TEXTS), rtol=0, atol=2e-5)
    np.testing.assert_allclose(documents, reference.encode_document(TEXTS), rtol=0, atol=2e-5)
    reference.save_pretrained(str(tmp_path / "saved"))
    saved = Encoder.load(tmp_path / "saved", runtime=runtime, precision="fp32", warm_shapes=False)
    assert saved.settings.modules == encoder.settings.modules
    assert np.array_equal(saved.encode_documents(TEXTS), documents)


@pytest.mark.parametrize("folder", [*PUBLISHED, "every-module"], indirect=True)
def test_an_int8_folder_has_the_same_ending(folder, runtime, tmp_path):
    fp32 = Encoder.load(folder, runtime=runtime, precision="fp32", warm_shapes=False)
    quantize(folder, tmp_path / "int8", runtime=runtime, **FEW, search=False)
    int8 = Encoder.load(tmp_path / "int8")
    assert (int8.settings, int8.dimension) == (fp32.settings, fp32.dimension)
    ours, theirs = int8.encode_documents(TEXTS), fp32.encode_documents(TEXTS)
    cosines = (ours * theirs).sum(axis=1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    assert cosines.mean() > 0.98


@pytest.fixture(scope="module")
def reranker(tmp_path_factory):
    """A chain as the ettin rerankers are: GELU without a bias, LayerNorm, one score."""
    folder = write_tiny_model(tmp_path_factory.mktemp("ettin") / "reranker")
    score = ("Dense", {"out_features": 1, "module_output_name": "scores"})
    write_tiny_modules(folder, "cls", [dense(HIDDEN, GELU, bias=False), ("LayerNorm", {}), score])
    config = {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.linear.Identity"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": 64}
    described["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return folder


def test_a_chain_that_ends_in_a_score_is_a_cross_encoder(reranker, runtime, tmp_path):
    pairs = list(zip(TEXTS, reversed(TEXTS), strict=True))
    reference = sentence_transformers.CrossEncoder(str(reranker), device="cpu")
    expected = reference.predict(pairs)
    reference.save_pretrained(str(tmp_path / "saved"))
    for folder in (reranker, tmp_path / "saved"):
        fp32 = CrossEncoder.load(folder, runtime=runtime, precision="fp32").score(pairs)
        np.testing.assert_allclose(fp32, expected, rtol=0, atol=2e-5)
    quantize_cross_encoder(reranker, tmp_path / "int8", runtime=runtime, **FEW, search=False)
    int8 = CrossEncoder.load(tmp_path / "int8").score(pairs)
    assert np.corrcoef(int8, expected)[0, 1] > 0.95
