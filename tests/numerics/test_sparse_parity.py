"""Sparse models in fp32 against sentence-transformers' SparseEncoder, on every runtime that runs them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from intel_quantized_embeddings import SparseEncoder
from intel_quantized_embeddings.architectures.bert import BERT
from intel_quantized_embeddings.architectures.distilbert import DISTILBERT
from intel_quantized_embeddings.architectures.modernbert import MODERNBERT
from intel_quantized_embeddings.architectures.roberta import ROBERTA
from support.each_runtime import TEXTS
from support.tiny_models import write_tiny_sparse, write_tiny_sparse_router

pytestmark = pytest.mark.reference
sentence_transformers = pytest.importorskip("sentence_transformers", reason="it is in the reference environment only")

FAMILIES = {"bert": BERT, "roberta": ROBERTA, "distilbert": DISTILBERT, "modernbert": MODERNBERT}
WAYS = [("max", "relu"), ("max", "log1p_relu"), ("sum", "relu"), ("sum", "log1p_relu"), (None, "relu")]


@pytest.mark.parametrize("runtime", ["native", "openvino"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("pooling", "activation"), WAYS)
def test_weights_are_those_of_sentence_transformers(runtime, family, pooling, activation, tmp_path):
    """None is a plain checkpoint of transformers, of which that class makes SPLADE's own way."""
    folder = write_tiny_sparse(tmp_path, family=FAMILIES[family], pooling=pooling, activation=activation)
    theirs = sentence_transformers.SparseEncoder(str(folder), device="cpu").encode(TEXTS).to_dense().numpy()
    ours = SparseEncoder.load(folder, runtime=runtime, precision="fp32", warm_shapes=False).encode_documents(TEXTS)
    assert 0.01 < (theirs > 0).mean() < 0.99
    # A sum is of up to 40 tokens: 2.5e-6 of each.
    np.testing.assert_allclose(ours.toarray(), theirs, atol=1e-4 if pooling == "sum" else 2e-5)


def test_as_many_weights_are_kept(tmp_path):
    folder = write_tiny_sparse(tmp_path, own={"max_active_dims": 7})
    theirs = sentence_transformers.SparseEncoder(str(folder), device="cpu")
    ours = SparseEncoder.load(folder, precision="fp32")
    for asked in (None, 3, 1000):
        expected = theirs.encode(TEXTS, max_active_dims=asked).to_dense().numpy()
        np.testing.assert_allclose(ours.encode(TEXTS, max_active_dims=asked).toarray(), expected, atol=2e-5)


def test_tokens_are_named_alike(tmp_path):
    folder = write_tiny_sparse(tmp_path)
    theirs = sentence_transformers.SparseEncoder(str(folder), device="cpu")
    ours = SparseEncoder.load(folder, precision="fp32")
    for one, other in zip(
        ours.decode(ours.encode(TEXTS), top_k=5), theirs.decode(theirs.encode(TEXTS), top_k=5), strict=True
    ):
        assert [token for token, _ in one] == [token for token, _ in other]


def test_prompts_are_put_before_texts(tmp_path):
    folder = write_tiny_sparse(tmp_path, own={"prompts": {"query": "what is ", "document": "the "}})
    theirs = sentence_transformers.SparseEncoder(str(folder), device="cpu")
    ours = SparseEncoder.load(folder, precision="fp32")
    for method, reference in (
        (ours.encode_queries, theirs.encode_query),
        (ours.encode_documents, theirs.encode_document),
    ):
        np.testing.assert_allclose(method(TEXTS).toarray(), reference(TEXTS).to_dense().numpy(), atol=2e-5)


@pytest.mark.parametrize("runtime", ["native", "openvino"])
@pytest.mark.parametrize("family", ["bert", "distilbert"])
@pytest.mark.parametrize("as_published", [False, True])
def test_queries_are_looked_up_in_the_same_table(runtime, family, as_published, tmp_path):
    """Inference-free SPLADE: a Router of a SparseStaticEmbedding and a masked language model, on the hub and saved."""
    prompts = {"prompts": {"query": "what is ", "document": "the "}}
    folder = write_tiny_sparse_router(
        tmp_path / "model", family=FAMILIES[family], as_published=as_published, own=prompts
    )
    theirs = sentence_transformers.SparseEncoder(str(folder), device="cpu")
    theirs.save_pretrained(str(tmp_path / "saved"))
    for one in (folder, tmp_path / "saved"):
        ours = SparseEncoder.load(one, runtime=runtime, precision="fp32", warm_shapes=False)
        for method, reference in (
            (ours.encode_queries, theirs.encode_query),
            (ours.encode_documents, theirs.encode_document),
            (ours.encode, theirs.encode),
        ):
            for asked in (None, 3):
                expected = reference(TEXTS, max_active_dims=asked).to_dense().numpy()
                np.testing.assert_allclose(method(TEXTS, max_active_dims=asked).toarray(), expected, atol=2e-5)


@pytest.mark.parametrize("named", ["PreTrainedTokenizerFast", "BertTokenizer", "DistilBertTokenizer"])
def test_a_table_has_the_tokenizer_of_its_files(named, tmp_path):
    """Texts are cut at the tokenizer's own length, without room for special tokens; they are the table's alone too."""
    folder = write_tiny_sparse_router(tmp_path / "model")
    table = folder / "query_0_SparseStaticEmbedding"
    described = json.loads((table / "tokenizer_config.json").read_text())
    described |= {"tokenizer_class": named, "model_max_length": 7, "mask_token": "[UNK]"}
    (table / "tokenizer_config.json").write_text(json.dumps(described))
    texts = [*TEXTS, "the cat sat on the mat by the house", "[CLS] red [SEP] Blue"]
    theirs = sentence_transformers.SparseEncoder(str(folder), device="cpu")
    expected = theirs.encode_query(texts).to_dense().numpy()
    np.testing.assert_array_equal(SparseEncoder.load(folder).encode_queries(texts).toarray(), expected)
    alone = sentence_transformers.SparseEncoder(modules=[theirs[0].sub_modules["query"][0]], device="cpu")
    alone.save_pretrained(str(tmp_path / "alone"))
    np.testing.assert_array_equal(SparseEncoder.load(tmp_path / "alone").encode(texts).toarray(), expected)


def test_a_quantized_folder_is_one_of_sentence_transformers_to_read_settings_of(tmp_path):
    """Its modules and prompts are written as that library has them; the weights are the engine's own."""
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    from intel_quantized_embeddings import quantize_sparse
    from support.few_texts import FEW

    folder = write_tiny_sparse(tmp_path / "model", pooling="sum", activation="log1p_relu")
    quantize_sparse(folder, tmp_path / "int8", **FEW)
    pooling = SpladePooling.load(str(tmp_path / "int8"), subfolder="1_SpladePooling")
    assert (pooling.pooling_strategy, pooling.activation_function) == ("sum", "log1p_relu")
