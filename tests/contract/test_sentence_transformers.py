"""What `IntelQuantizedSentenceTransformer` promises by itself; beside the real ones in tests/integration."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import InvalidTextError, OptionError
from intel_quantized_embeddings.integrations.sentence_transformers import IntelQuantizedSentenceTransformer

TEXTS = ["the cat sat on the mat", "a cold river", "music and light in the old city"]


@pytest.fixture(scope="module")
def model(tiny_encoder) -> IntelQuantizedSentenceTransformer:
    return IntelQuantizedSentenceTransformer(tiny_encoder)


@pytest.fixture(scope="module")
def bare(tiny_int8, runtime) -> Encoder:
    """The same model without instructions."""
    return Encoder.load(tiny_int8, runtime=runtime, query_instruction="", document_instruction="")


def same(one: np.ndarray, two: np.ndarray) -> bool:
    return one.shape == two.shape and np.allclose(one, two, atol=1e-5)


class TestPrompts:
    def test_each_method_puts_its_own_before_a_text(self, model, bare):
        assert same(model.encode(TEXTS), bare.encode_documents(TEXTS))
        assert same(model.encode_query(TEXTS), bare.encode_documents([f"query: {text}" for text in TEXTS]))
        assert same(model.encode_document(TEXTS), bare.encode_documents([f"document: {text}" for text in TEXTS]))
        assert not same(model.encode(TEXTS), model.encode_query(TEXTS))

    @pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
    def test_another_is_taken_by_name_or_as_it_is(self, model, bare, method):
        encode = getattr(model, method)
        assert same(encode(TEXTS, prompt_name="query"), model.encode_query(TEXTS))
        assert same(encode(TEXTS, prompt_name="passage"), model.encode_document(TEXTS))
        assert same(encode(TEXTS, prompt="find "), bare.encode_documents([f"find {text}" for text in TEXTS]))
        assert same(encode(TEXTS, prompt=""), model.encode(TEXTS))

    def test_a_default_is_for_encode_alone(self, tiny_encoder, model):
        defaulting = IntelQuantizedSentenceTransformer(tiny_encoder, default_prompt_name="query")
        assert same(defaulting.encode(TEXTS), model.encode_query(TEXTS))
        assert same(defaulting.encode(TEXTS, prompt=""), model.encode(TEXTS))
        assert same(defaulting.encode_document(TEXTS), model.encode_document(TEXTS))

    def test_an_unknown_name_is_refused(self, model, tiny_encoder):
        with pytest.raises(OptionError, match=r"prompt_name='clustering'.*'query', 'document'"):
            model.encode(TEXTS, prompt_name="clustering")
        with pytest.raises(OptionError, match="clustering"):
            IntelQuantizedSentenceTransformer(tiny_encoder, default_prompt_name="clustering")


class TestVectors:
    @pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
    def test_of_one_text_are_one_vector(self, model, method):
        alone, listed = (getattr(model, method)(given) for given in (TEXTS[0], TEXTS[:1]))
        assert (alone.shape, listed.shape, alone.dtype) == ((32,), (1, 32), np.float32)
        assert same(alone, listed[0])

    def test_do_not_depend_on_how_they_are_asked_for(self, model, capfd):
        plain = model.encode(TEXTS)
        asked = model.encode(
            np.array(TEXTS), batch_size=1, show_progress_bar=True, device="cpu", precision="float32", truncate_dim=None
        )
        assert same(asked, plain)
        assert "3/3" in capfd.readouterr().err

    def test_get_length_one_where_asked_and_the_model_does_not_give_it(self, tiny_int8, runtime, tiny):
        """A quantized folder says itself whether it normalizes: the fp32 model has both."""
        encoder = Encoder.load(tiny, runtime=runtime, precision="fp32", normalize=False)
        model = IntelQuantizedSentenceTransformer(encoder)
        raw, unit = model.encode(TEXTS), model.encode(TEXTS, normalize_embeddings=True)
        np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
        assert not np.allclose(np.linalg.norm(raw, axis=1), 1, atol=1e-2)
        assert same(model.similarity_pairwise(raw, unit), np.ones(3, dtype=np.float32))

    def test_are_cut_and_made_of_length_one_again_only_where_asked(self, model):
        whole = model.encode(TEXTS)
        assert same(model.encode(TEXTS, truncate_dim=12), whole[:, :12])
        unit = model.encode_query(TEXTS, truncate_dim=12, normalize_embeddings=True)
        np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
        assert same(model.encode(TEXTS[0], truncate_dim=1000), whole[0])

    def test_of_bits_have_eight_to_a_byte(self, model):
        whole, bits, signed = (model.encode(TEXTS, precision=kind) for kind in ("float32", "ubinary", "binary"))
        assert (bits.dtype, signed.dtype, bits.shape) == (np.uint8, np.int8, (3, 4))
        assert np.array_equal(np.unpackbits(bits, axis=1), whole > 0)
        assert np.array_equal(signed.astype(int), bits.astype(int) - 128)

    def test_of_what_is_not_text_are_refused(self, model):
        with pytest.raises(InvalidTextError, match="text 1 is 5"):
            model.encode(["one", 5])

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("output_value", "token_embeddings"),
            ("output_value", None),
            ("precision", "int8"),
            ("precision", "float16"),
            ("device", "cuda"),
            ("truncate_dim", 0),
            ("normalise_embeddings", True),
        ],
    )
    def test_that_can_not_be_had_are_refused_by_name(self, model, option, value):
        for encode in (model.encode, model.encode_query, model.encode_document):
            with pytest.raises(OptionError, match=f"{option}={value!r}"):
                encode(TEXTS, **{option: value})


class TestTensors:
    @pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed here")
    def test_are_torchs_where_it_is_installed(self, model):
        import torch

        tensor = model.encode(TEXTS, convert_to_tensor=True)
        assert isinstance(tensor, torch.Tensor)
        assert same(tensor.numpy(), model.encode(TEXTS))
        assert model.encode_query(TEXTS[0], convert_to_tensor=True).shape == (32,)
        rows = model.encode(TEXTS, convert_to_numpy=False)
        assert [type(row) for row in rows] == [torch.Tensor] * 3
        for given in (tensor, rows):
            similar = model.similarity(given, model.encode(TEXTS))
            assert isinstance(similar, torch.Tensor)
            assert same(similar.numpy(), model.similarity(model.encode(TEXTS), tensor))
        assert same(model.encode(TEXTS, device=torch.device("cpu")), model.encode(TEXTS))

    def test_are_refused_where_it_is_not(self, model, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        for option in ({"convert_to_tensor": True}, {"convert_to_numpy": False}):
            with pytest.raises(OptionError, match="pip install torch"):
                model.encode(TEXTS, **option)


class TestSimilarity:
    def test_is_the_cosine(self, model):
        vectors = model.encode(TEXTS)
        assert same(model.similarity(3 * vectors, vectors[:2]), vectors @ vectors[:2].T)
        assert same(model.similarity_pairwise(vectors, 2 * vectors), np.ones(3, dtype=np.float32))

    def test_takes_one_vector_and_lists_of_them(self, model):
        vectors = model.encode(TEXTS)
        assert same(model.similarity(vectors[0], vectors), vectors[:1] @ vectors.T)
        assert same(model.similarity(list(vectors), vectors.tolist()), vectors @ vectors.T)

    def test_with_a_vector_of_zeros_is_nought(self, model):
        assert model.similarity(np.zeros(32), model.encode(TEXTS)).tolist() == [[0, 0, 0]]


def test_tells_its_dimension_and_length(model, tiny_encoder):
    assert model.get_embedding_dimension() == model.get_sentence_embedding_dimension() == tiny_encoder.dimension
    assert model.get_max_seq_length() == model.max_seq_length == tiny_encoder.max_length
    assert model.prompts == {"query": "query: ", "document": "document: "}
