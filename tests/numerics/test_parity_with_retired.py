"""The retired classes themselves, as published, against what stands under their names here.

Those on OpenVINO still run; here in fp32, where OpenVINO alone would compute in bfloat16 on a CPU that has it. Those on
IPEX don't: what they loaded their model with is gone from optimum-intel, so here they get the same model from
transformers in its place, and everything around it (instructions, length, pooling, normalization) is theirs.
"""

from __future__ import annotations

import inspect
import json
import shutil

import numpy as np
import pytest

from intel_quantized_embeddings.integrations.retired_classes import RETIRED_CLASSES
from support.tiny_models import write_tiny_model

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore"), pytest.mark.ipex]
torch = pytest.importorskip("torch", reason="torch is in the reference environment only (make test)")
transformers = pytest.importorskip("transformers", reason="transformers is in the reference environment only")
pytest.importorskip("langchain_community", reason="langchain-community is in the reference environment only")
pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

TEXTS = ["the cat sat on the mat", "a cold river and the old city " * 20, "moon", "why is the moon blue?"]
QUESTION = "what does the cat do?"
NAMES = [retired.name for retired in RETIRED_CLASSES]


def as_published(name):
    if name in ("IntelEmbedding", "OpenVINOEmbedding"):
        module = {"IntelEmbedding": "optimum_intel", "OpenVINOEmbedding": "openvino"}[name]
        package = pytest.importorskip(
            f"llama_index.embeddings.huggingface_{module}",
            reason=f"the package of LlamaIndex's {name} is not installed",
        )
        return getattr(package, name)
    import langchain_community.embeddings

    return getattr(langchain_community.embeddings, name)


def under_its_old_name(name):
    from intel_quantized_embeddings.integrations import retired_langchain, retired_llama_index

    return getattr(retired_langchain, name, None) or getattr(retired_llama_index, name)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = write_tiny_model(tmp_path_factory.mktemp("retired") / "tiny", pooling=None)
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64}
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")}
    (folder / "tokenizer_config.json").write_text(json.dumps({**tokenizer, **special}))
    return str(folder)


@pytest.fixture(scope="module")
def in_openvino(model, tmp_path_factory) -> str:
    """The same as OpenVINO's classes convert it, once for all of them."""
    from optimum.intel import OVModelForFeatureExtraction

    folder = tmp_path_factory.mktemp("retired") / "in-openvino"
    shutil.copytree(model, folder)
    OVModelForFeatureExtraction.from_pretrained(model, export=True).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def _transformers_for_ipex(monkeypatch):
    import optimum.intel

    monkeypatch.setattr(optimum.intel, "IPEXModel", transformers.AutoModel, raising=False)


@pytest.mark.parametrize("retired", RETIRED_CLASSES, ids=NAMES)
def test_the_table_has_every_argument_in_its_order(retired):
    published = as_published(retired.name)
    ours = list(dict.fromkeys(name.partition(".")[0] for name in retired.arguments))
    theirs = list(inspect.signature(published.__init__).parameters.values())[1:]
    if [parameter.name for parameter in theirs if parameter.kind is not parameter.VAR_KEYWORD]:
        named = [parameter.name for parameter in theirs if parameter.kind is not parameter.VAR_KEYWORD]
        assert ours[: retired.in_order] == named
    else:
        assert set(ours) == set(published.model_fields)


@pytest.mark.usefixtures("_transformers_for_ipex")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("QuantizedBiEncoderEmbeddings", {"max_seq_len": 64}),
        ("QuantizedBiEncoderEmbeddings", {"max_seq_len": 16, "pooling_strategy": "cls", "query_instruction": "find "}),
        ("QuantizedBiEncoderEmbeddings", {"max_seq_len": 64, "encode_kwargs": {"normalize_embeddings": True}}),
        ("OpenVINOEmbeddings", {}),
        ("OpenVINOEmbeddings", {"encode_kwargs": {"mean_pooling": True, "normalize_embeddings": False}}),
        ("OpenVINOBgeEmbeddings", {}),
        ("OpenVINOBgeEmbeddings", {"query_instruction": "find ", "embed_instruction": "the "}),
        ("IntelEmbedding", {"max_length": 32, "query_instruction": "find", "text_instruction": "the"}),
        ("IntelEmbedding", {"pooling": "mean", "normalize": False}),
        ("OpenVINOEmbedding", {}),
        ("OpenVINOEmbedding", {"pooling": "mean", "query_instruction": "find:", "text_instruction": "the"}),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value) or "defaults",
)
def test_vectors_are_those_of_the_class_as_published(model, name, arguments, request):
    (retired,) = (retired for retired in RETIRED_CLASSES if retired.name == name)
    named, *_ = retired.arguments
    given = {named: model, **arguments}
    in_fp32 = {"model_kwargs": {"ov_config": {"INFERENCE_PRECISION_HINT": "f32"}}} if "OpenVINO" in name else {}
    their_model = request.getfixturevalue("in_openvino") if "OpenVINO" in name else model
    theirs = as_published(name)(**{**given, named: their_model}, **in_fp32)
    ours = under_its_old_name(name)(**given, runtime="openvino", precision="fp32")
    embed = "embed_documents" if hasattr(theirs, "embed_documents") else "get_text_embedding_batch"
    ask = "embed_query" if hasattr(theirs, "embed_query") else "get_query_embedding"
    expected = np.array([*getattr(theirs, embed)(TEXTS), getattr(theirs, ask)(QUESTION)])
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    assert ours.normalize == np.allclose(lengths, 1, atol=1e-2)
    # IntelEmbedding computed in bfloat16 what was not int8.
    tolerance = 2e-2 if name == "IntelEmbedding" else 1e-5
    given_now = np.array([*getattr(ours, embed)(TEXTS), getattr(ours, ask)(QUESTION)])
    np.testing.assert_allclose(given_now / lengths, expected / lengths, atol=tolerance)
