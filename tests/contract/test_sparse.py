"""What sparse models keep to, on every runtime that runs them and in int8 and fp32. One suite for all."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from intel_quantized_embeddings import Encoder, SparseEncoder, quantize, quantize_sparse
from intel_quantized_embeddings.encoders.sparse_encoder import weights_of
from intel_quantized_embeddings.errors import DamagedFilesError, InvalidTextError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.runtimes.table import RUNTIMES
from support.each_runtime import TEXTS
from support.few_texts import FEW
from support.tiny_models import VOCABULARY, write_tiny_sparse

scipy_sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed (the extra `sparse`)")

ABLE = [name.value for name, row in RUNTIMES.items() if row.sparse]


@pytest.fixture(scope="module")
def tiny_sparse(tmp_path_factory):
    return write_tiny_sparse(tmp_path_factory.mktemp("sparse"))


@pytest.fixture(scope="module", params=ABLE)
def runtime(request):
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed (the extra `openvino`)")
    return request.param


@pytest.fixture(scope="module")
def int8_folder(runtime, tiny_sparse, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8") / runtime
    quantize_sparse(tiny_sparse, folder, runtime=runtime, search=False, **FEW)
    return folder


@pytest.fixture(scope="module", params=["int8", "fp32"])
def encoder(request, runtime, tiny_sparse, int8_folder):
    folder = int8_folder if request.param == "int8" else tiny_sparse
    return SparseEncoder.load(folder, runtime=runtime, precision=request.param)


def test_vectors_are_rows_of_weights_that_are_not_zero(encoder):
    vectors = encoder.encode_documents(TEXTS)
    assert isinstance(vectors, scipy_sparse.csr_array)
    assert vectors.shape == (len(TEXTS), len(VOCABULARY)) == (len(TEXTS), encoder.dimension)
    assert vectors.dtype == np.float32
    assert (vectors.data > 0).all()
    assert 0 < vectors.nnz < len(TEXTS) * len(VOCABULARY)
    assert vectors.has_sorted_indices


def test_rows_come_back_in_input_order_and_owe_nothing_to_company(encoder):
    many = TEXTS * 30
    together = encoder.encode_documents(many).toarray()
    alone = np.concatenate([encoder.encode_documents([text]).toarray() for text in TEXTS])
    np.testing.assert_allclose(together, np.tile(alone, (30, 1)), atol=1e-5)


def test_no_texts_are_no_rows(encoder):
    assert encoder.encode_documents([]).shape == (0, encoder.dimension)


def test_the_largest_weights_are_kept(encoder):
    whole = encoder.encode_queries(TEXTS)
    few = encoder.encode_queries(TEXTS, max_active_dims=4)
    for all_of_them, kept in zip(weights_of(whole), weights_of(few), strict=True):
        assert kept == dict(sorted(sorted(all_of_them.items(), key=lambda pair: -pair[1])[:4]))
    with pytest.raises(OptionError, match="max_active_dims=0 is not allowed; it is 1 or more"):
        encoder.encode_queries(TEXTS, max_active_dims=0)


def test_weights_are_told_by_their_tokens(encoder):
    vectors = encoder.encode(["the cat"])
    (tokens,) = encoder.decode(vectors, top_k=3)
    assert len(tokens) == 3
    assert [weight for _, weight in tokens] == sorted((weight for _, weight in tokens), reverse=True)
    assert tokens[0] == (VOCABULARY[int(vectors.indices[vectors.data.argmax()])], float(vectors.data.max()))


def test_an_id_without_a_token_is_told_by_its_number(tmp_path):
    """Vocabularies are filled up to round numbers that the tokenizer does not reach."""
    file = write_tiny_sparse(tmp_path) / "tokenizer.json"
    described = json.loads(file.read_text("utf-8"))
    del described["model"]["vocab"][VOCABULARY[-1]]
    file.write_text(json.dumps(described), "utf-8")
    encoder = SparseEncoder.load(tmp_path, precision="fp32")
    beyond = encoder.dimension - 1
    vectors = scipy_sparse.csr_array(([0.5, 2.0], ([0, 0], [5, beyond])), shape=(1, beyond + 1), dtype=np.float32)
    assert encoder.decode(vectors) == [[(f"[{beyond}]", 2.0), (VOCABULARY[5], 0.5)]]


def test_what_is_no_text_is_named_by_its_place(encoder):
    with pytest.raises(InvalidTextError, match="text 1 is"):
        encoder.encode_documents(["a", None])
    with pytest.raises(InvalidTextError, match="a list of strings is expected"):
        encoder.encode_documents("a")


def test_pickles_are_the_same_model(encoder):
    again = pickle.loads(pickle.dumps(encoder))
    assert again.fingerprint == encoder.fingerprint
    assert "-sparse-" in encoder.fingerprint


def test_int8_is_close_to_fp32_and_says_how_close(runtime, tiny_sparse, tmp_path):
    report = quantize_sparse(tiny_sparse, tmp_path / "int8", runtime=runtime, search=False, **FEW)
    fp32 = SparseEncoder.load(tiny_sparse, runtime=runtime, precision="fp32").encode_documents(TEXTS).toarray()
    int8 = SparseEncoder.load(tmp_path / "int8").encode_documents(TEXTS).toarray()
    cosines = (fp32 * int8).sum(axis=1) / np.linalg.norm(fp32, axis=1) / np.linalg.norm(int8, axis=1)
    # OpenVINO's ranges are of ten texts, and of none as long as one of these.
    assert cosines.min() > (0.99 if runtime == "native" else 0.9)
    assert report.fidelity is not None
    assert 0.98 < report.fidelity.queries.worst <= report.fidelity.queries.mean <= 1
    assert report.fidelity.documents.overlap > 0.8


def test_a_folder_keeps_how_many_weights_its_model_has(runtime, tmp_path):
    folder = write_tiny_sparse(tmp_path / "model", own={"max_active_dims": 5, "prompts": {"query": "what "}})
    quantize_sparse(folder, tmp_path / "int8", runtime=runtime, search=False, measure=False, **FEW)
    encoder = SparseEncoder.load(tmp_path / "int8")
    assert encoder.settings.query_instruction == "what "
    assert max(map(len, weights_of(encoder.encode_documents(TEXTS)))) == 5


def test_a_weight_that_is_no_number_is_said(runtime, tiny_sparse, tmp_path):
    folder = write_tiny_sparse(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["cls.predictions.transform.LayerNorm.weight"][3] = np.finfo(np.float32).max
    tensors["cls.predictions.transform.LayerNorm.bias"][3] = np.finfo(np.float32).max
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(DamagedFilesError, match="not finite"):
        SparseEncoder.load(folder, runtime=runtime, precision="fp32").encode_documents(TEXTS)


@pytest.mark.parametrize("runtime", [name.value for name in RuntimeName if name.value not in ABLE])
def test_other_runtimes_refuse_sparse_models_by_name(runtime, tiny_sparse):
    with pytest.raises(OptionError, match=f"runtime='{runtime}' is not available for a sparse model"):
        SparseEncoder.load(tiny_sparse, runtime=runtime)


class TestKindsAreToldApart:
    def test_an_encoder_names_the_class_for_a_sparse_model(self, tiny_sparse, tmp_path):
        quantize_sparse(tiny_sparse, tmp_path / "int8", measure=False, **FEW)
        plain = write_tiny_sparse(tmp_path / "plain", pooling=None)
        for folder in (tiny_sparse, tmp_path / "int8", plain):
            with pytest.raises((UnsupportedModelError, OptionError), match=r"SparseEncoder\.load"):
                Encoder.load(folder)
        with pytest.raises(UnsupportedModelError, match="quantize it with quantize_sparse"):
            quantize(tiny_sparse, tmp_path / "other")

    def test_a_masked_language_model_is_an_embedder_where_pooling_is_given(self, tmp_path):
        plain = write_tiny_sparse(tmp_path, pooling=None)
        assert Encoder.load(plain, pooling="mean").encode_queries(["the cat"]).shape == (1, 32)
        assert SparseEncoder.load(plain).dimension == len(VOCABULARY)

    def test_a_sparse_encoder_names_the_class_for_an_embedder(self, tiny):
        with pytest.raises(UnsupportedModelError, match=r"Load a model that makes embeddings with Encoder\.load"):
            SparseEncoder.load(tiny)

    def test_the_modules_count_and_not_what_is_left_of_others(self, tmp_path):
        """As in a repository that was an embedder's before: its modules say what it is now."""
        folder = write_tiny_sparse(tmp_path / "model")
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
        assert find_model(folder).is_sparse
        (folder / "modules.json").unlink()
        assert not find_model(folder).is_sparse

    def test_options_of_embedders_are_refused(self, tiny_sparse):
        with pytest.raises(OptionError, match=r"truncate_dim=4 is for models that make embeddings; .* sparse vectors"):
            SparseEncoder.load(tiny_sparse, truncate_dim=4)


class TestFilesAreReadWhole:
    @pytest.mark.parametrize(
        ("file", "key", "value", "message"),
        [
            (
                "1_SpladePooling/config.json",
                "pooling_strategy",
                "mean",
                "pooling_strategy='mean'; built in are max, sum",
            ),
            ("1_SpladePooling/config.json", "activation_function", "gelu", "activation_function='gelu'; built in are"),
            ("1_SpladePooling/config.json", "other", 1, "a key that is not known here"),
            ("config_sentence_transformers.json", "model_type", "SentenceTransformer", "is a 'SparseEncoder'"),
            ("config_sentence_transformers.json", "max_active_dims", -1, "a number of 1 or more is needed"),
            ("config.json", "hidden_act", "swish", "hidden_act='swish'"),
        ],
    )
    def test_what_is_not_built_in_is_refused_by_name(self, tmp_path, file, key, value, message):
        folder = write_tiny_sparse(tmp_path)
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
        with pytest.raises((UnsupportedModelError, DamagedFilesError), match=message):
            SparseEncoder.load(folder)

    def test_weights_without_the_head_are_refused(self, tmp_path):
        folder = write_tiny_sparse(tmp_path)
        tensors = {name: array for name, array in load_file(folder / "model.safetensors").items() if "cls." not in name}
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(UnsupportedModelError, match="without the masked-LM head"):
            SparseEncoder.load(folder)


def test_a_channel_far_larger_than_the_others_does_not_spoil_int8(tmp_path):
    """What the vocabulary's layer reads is made of one size, by the norm in front of it, before it is quantized."""
    folder = write_tiny_sparse(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    large = [3, 17]
    for part in ("weight", "bias"):
        tensors[f"cls.predictions.transform.LayerNorm.{part}"][large] *= 300
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].copy()
    tensors["cls.predictions.decoder.weight"][:, large] /= 300
    save_file(tensors, folder / "model.safetensors")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"tie_word_embeddings": true', '"tie_word_embeddings": false'))
    fp32, int8 = (
        SparseEncoder.load(folder, precision=precision).encode_documents(TEXTS).toarray()
        for precision in ("fp32", "int8")
    )
    cosines = (fp32 * int8).sum(axis=1) / np.linalg.norm(fp32, axis=1) / np.linalg.norm(int8, axis=1)
    assert cosines.min() > 0.998


@pytest.mark.parametrize("texts", ["text", None, np.array("text")], ids=lambda texts: type(texts).__name__)
def test_what_is_no_list_of_texts_is_an_error(encoder, texts):
    for refused in (
        lambda: encoder.encode_documents(texts),
        lambda: encoder.tokenize(texts, instruction=""),
        lambda: encoder.encode_token_ids(texts),
    ):
        with pytest.raises(InvalidTextError, match=r"a list of .* is expected"):
            refused()
    with pytest.raises(OptionError, match="instruction=None"):
        encoder.encode(["text"], instruction=None)


def test_vectors_are_decoded_in_any_form(encoder):
    vectors = encoder.encode_documents(TEXTS)
    expected = encoder.decode(vectors, top_k=3)
    for form in (vectors.tocoo(), vectors.tocsc(), vectors.toarray(), scipy_sparse.csr_matrix(vectors)):
        assert encoder.decode(form, top_k=3) == expected
    for one in (vectors[0], vectors[0].toarray(), vectors[:1]):
        assert encoder.decode(one, top_k=3) == expected[:1]


@pytest.mark.parametrize(
    "form", [lambda v: None, lambda v: v.T, lambda v: v[:, :5], lambda v: "text", lambda v: [v[0]]]
)
def test_what_are_no_vectors_of_the_model_is_not_decoded(encoder, form):
    with pytest.raises(OptionError, match=rf"vectors .*of {encoder.dimension} numbers"):
        encoder.decode(form(encoder.encode_documents(TEXTS)))
