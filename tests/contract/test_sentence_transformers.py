"""What `IntelQuantizedSentenceTransformer` promises by itself; beside the real ones in tests/integration."""

from __future__ import annotations

import copy
import importlib.util
import json
import pickle
import re
import sys

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.integrations.sentence_transformers import IntelQuantizedSentenceTransformer
from intel_quantized_embeddings.similarity import Similarity
from support.tiny_models import write_tiny_model

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

    def test_of_whole_numbers_fill_the_ranges_of_the_call(self, model, caplog):
        """As sentence-transformers rounds; of so few vectors it is said what that means."""
        whole = model.encode(TEXTS)
        starts, ends = whole.min(axis=0), whole.max(axis=0)
        small, signed = model.encode(TEXTS, precision="uint8"), model.encode(TEXTS, precision="int8")
        assert (small.dtype, signed.dtype) == (np.uint8, np.int8)
        assert np.array_equal(signed.astype(int), small.astype(int) - 128)
        assert np.abs(starts + small * (ends - starts) / 255 - whole).max() <= (ends - starts).max() / 255 + 1e-6
        assert "are those of the 3 vectors of this call" in caplog.text
        for one in (TEXTS[0], TEXTS[:1]):
            with pytest.raises(OptionError, match="takes its ranges from the vectors of the call"):
                model.encode(one, precision="int8")

    def test_of_any_list_of_texts(self, model):
        whole = model.encode(TEXTS)
        for texts in (
            tuple(TEXTS),
            np.array(TEXTS),
            np.array(TEXTS, dtype=object),
            iter(TEXTS),
            dict.fromkeys(TEXTS).keys(),
        ):
            assert same(model.encode(texts), whole)
        assert same(model.encode(np.array(TEXTS[0])), whole[0])
        assert same(model.encode(np.array(TEXTS)[0]), whole[0])
        assert same(model.encode(sentences=TEXTS), whole)
        assert same(model.encode_query(inputs=TEXTS[0]), model.encode_query(sentences=TEXTS[0]))
        assert model.encode([]).shape == (0, 32)
        with pytest.raises(OptionError, match="no texts were given"):
            model.encode()

    def test_do_not_depend_on_where_or_in_how_many_processes(self, model):
        whole = model.encode(TEXTS)
        pool = model.start_multi_process_pool(target_devices=["cpu"] * 4)
        assert same(model.encode(TEXTS, pool=pool, chunk_size=2), whole)
        assert same(model.encode_multi_process(TEXTS, pool, "query"), model.encode_query(TEXTS))
        model.stop_multi_process_pool(pool)
        assert same(model.encode(TEXTS, device=["cpu", "cpu"], task="query"), whole)
        assert same(model.to("cpu").cpu().eval().encode(TEXTS, precision=None), whole)
        with pytest.raises(OptionError, match="device='cuda'"):
            model.to("cuda")
        with pytest.raises(OptionError, match="device="):
            model.start_multi_process_pool(["cuda:0"])

    def test_are_cut_for_all_calls_by_an_attribute_or_in_a_block(self, tiny_encoder):
        model = IntelQuantizedSentenceTransformer(tiny_encoder)
        whole = model.encode(TEXTS)
        for block in (model.truncate_embeddings, model.truncate_sentence_embeddings):
            with block(12):
                assert same(model.encode(TEXTS), whole[:, :12])
                assert same(model.encode_query(TEXTS, truncate_dim=5), model.encode_query(TEXTS)[:, :5])
                assert model.get_embedding_dimension() == model.get_sentence_embedding_dimension() == 12
            assert same(model.encode(TEXTS), whole)
        model.truncate_dim = 1000
        assert model.get_embedding_dimension() == 32
        assert same(model.encode(TEXTS), whole)

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("output_value", "token_embeddings"),
            ("output_value", None),
            ("precision", "float16"),
            ("device", "cuda"),
            ("device", ["cpu", "cuda:1"]),
            ("truncate_dim", 0),
            ("task", "clustering"),
            ("processing_kwargs", {"text": {"max_length": 8}}),
            ("normalise_embeddings", True),
        ],
    )
    def test_that_can_not_be_had_are_refused_by_name(self, model, option, value):
        for encode in (model.encode, model.encode_query, model.encode_document):
            with pytest.raises(OptionError, match=re.escape(f"{option}={value!r}")):
                encode(TEXTS, **{option: value})


class TestTensors:
    @pytest.mark.ipex
    @pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed here")
    def test_are_torchs_where_it_is_installed(self, model):
        import torch

        tensor = model.encode(TEXTS, convert_to_tensor=True)
        assert isinstance(tensor, torch.Tensor)
        assert same(tensor.numpy(), model.encode(TEXTS))
        assert model.encode_query(TEXTS[0], convert_to_tensor=True).shape == (32,)
        rows = model.encode(TEXTS, convert_to_numpy=False)
        assert [type(row) for row in rows] == [torch.Tensor] * 3
        vectors = model.encode(TEXTS)
        for given in (tensor, rows, vectors, list(vectors), tensor.double(), tensor.bfloat16().requires_grad_()):
            for one, other in ((given, vectors), (vectors, given), (given, given)):
                assert isinstance(model.similarity(one, other), torch.Tensor)  # as sentence-transformers has it
                assert np.allclose(model.similarity(one, other), vectors @ vectors.T, atol=1e-2)
                assert np.allclose(model.similarity_pairwise(one, other), 1, atol=1e-2)
        assert model.device == torch.device("cpu")
        assert model.tokenize(TEXTS)["input_ids"].dtype == torch.int64
        assert same(model.encode(TEXTS, device=torch.device("cpu")), model.encode(TEXTS))

    def test_are_numpys_where_it_is_not(self, model, runtime, monkeypatch):
        if runtime == "ipex":
            pytest.skip("the IPEX runtime itself is torch")
        monkeypatch.setitem(sys.modules, "torch", None)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        vectors = model.encode(TEXTS)
        assert type(model.similarity(vectors, vectors)) is np.ndarray
        assert type(model.similarity_pairwise(vectors, vectors)) is np.ndarray
        assert model.device == "cpu"

    def test_are_refused_where_it_is_not(self, model, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        for option in ({"convert_to_tensor": True}, {"convert_to_numpy": False}):
            with pytest.raises(OptionError, match="pip install torch"):
                model.encode(TEXTS, **option)


class TestSimilarity:
    @pytest.fixture
    def scores(self, monkeypatch):
        """Similarities as NumPy arrays, whatever is installed."""
        monkeypatch.setattr("intel_quantized_embeddings.integrations.sentence_transformers_parts.has_torch", _no)

    @pytest.fixture
    def model(self, tiny_encoder, scores):
        return IntelQuantizedSentenceTransformer(tiny_encoder)

    @pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
    def test_is_the_one_that_is_named(self, model, tiny_encoder, name):
        vectors = np.random.default_rng(0).normal(size=(4, 32)).astype(np.float32)
        expected = Similarity(name).matrix(vectors, vectors[:2])
        given = IntelQuantizedSentenceTransformer(tiny_encoder, similarity_fn_name=name)
        model.similarity_fn_name = Similarity(name)  # an enumeration's member, as sentence-transformers has
        for one in (given, model):
            assert one.similarity_fn_name == name
            assert same(one.similarity(vectors, vectors[:2]), expected)
            assert same(one.similarity_pairwise(vectors[:2], vectors[:2]), np.diag(expected))
        model.similarity_fn_name = None
        assert model.similarity_fn_name == "cosine"
        with pytest.raises(OptionError, match="similarity_fn_name='maxsim' is not known; it is one of 'cosine', 'dot'"):
            model.similarity_fn_name = "maxsim"

    def test_is_that_of_the_models_own_folder(self, tmp_path, scores):
        folder = write_tiny_model(tmp_path / "dot", normalize=False)
        (folder / "config_sentence_transformers.json").write_text('{"similarity_fn_name": "dot"}')
        model = IntelQuantizedSentenceTransformer(Encoder.load(folder, precision="fp32", warm_shapes=False))
        vectors = model.encode(TEXTS)
        assert model.similarity_fn_name == "dot"
        assert same(model.similarity(vectors, vectors), vectors @ vectors.T)

    def test_of_two_single_vectors_is_one_number(self, model):
        one, two = model.encode(TEXTS[0]), model.encode(TEXTS[1])
        assert np.ndim(model.similarity_pairwise(one, two)) == 0
        assert model.similarity(one, two).shape == (1, 1)

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


def test_a_length_that_is_set_cuts_from_then_on(tiny_int8, runtime):
    model = IntelQuantizedSentenceTransformer(Encoder.load(tiny_int8, runtime=runtime, warm_shapes=False))
    model.max_seq_length = 8
    assert (model.max_seq_length, model.encoder.max_length) == (8, 8)
    assert same(model.encode(["the cat " * 30]), model.encode(["the cat " * 40]))
    with pytest.raises(OptionError, match="max_length"):
        model.max_seq_length = 10_000


def test_prompts_may_be_added(tiny_encoder, bare):
    model = IntelQuantizedSentenceTransformer(tiny_encoder)
    model.prompts["cluster"] = "cluster: "
    assert same(model.encode(TEXTS, "cluster"), bare.encode_documents([f"cluster: {text}" for text in TEXTS]))
    model.prompts = {"query": "find "}
    assert same(model.encode_query(TEXTS), bare.encode_documents([f"find {text}" for text in TEXTS]))
    assert same(model.encode_document(TEXTS), bare.encode_documents(TEXTS))


def test_the_folders_own_prompts_are_there(tmp_path):
    """Under the names that sentence-transformers reads in it; "passage" is another name of the document's."""
    prompts = {"query": "query: ", "passage": "text: ", "cluster": "cluster: ", "plain": ""}
    folder = write_tiny_model(tmp_path / "prompting")
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    encoder = Encoder.load(folder, precision="fp32", warm_shapes=False)
    model = IntelQuantizedSentenceTransformer(encoder)
    assert model.prompts == {"query": "query: ", "document": "text: ", "cluster": "cluster: ", "plain": ""}
    for name, text in prompts.items():
        assert same(model.encode(TEXTS, prompt_name=name), encoder.encode(TEXTS, instruction=text))
    other = Encoder.load(folder, precision="fp32", warm_shapes=False, document_instruction="mine: ")
    assert IntelQuantizedSentenceTransformer(other).prompts["document"] == "mine: "


@pytest.mark.parametrize("asked", [{"prompt": 5}, {"prompt_name": ["query"]}])
def test_a_prompt_that_is_no_text_is_refused(model, asked):
    for method in (model.encode, model.encode_query, model.encode_document):
        with pytest.raises(OptionError, match=f"{next(iter(asked))}=.* is not allowed"):
            method(TEXTS, **asked)


def test_the_folders_default_prompt_is_for_texts_of_no_kind(tmp_path):
    folder = write_tiny_model(tmp_path / "defaulting")
    content = {"prompts": {"query": "query: ", "sts": "alike: "}, "default_prompt_name": "sts"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(content))
    encoder = Encoder.load(folder, precision="fp32", warm_shapes=False)
    model = IntelQuantizedSentenceTransformer(encoder)
    assert same(model.encode(TEXTS), encoder.encode(TEXTS, instruction="alike: "))
    assert same(model.encode(TEXTS, prompt=""), encoder.encode(TEXTS, instruction=""))
    assert same(model.encode_query(TEXTS), encoder.encode(TEXTS, instruction="query: "))


def test_tokens_are_those_that_are_encoded(model, tiny_encoder):
    tokens = model.tokenize([*TEXTS, "the cat " * 100])
    ids = tiny_encoder.tokenize([*TEXTS, "the cat " * 100], instruction="").token_ids
    assert tokens["input_ids"].shape == tokens["attention_mask"].shape == (4, tiny_encoder.max_length)
    assert [list(row[: sum(mask)]) for row, mask in zip(*tokens.values(), strict=True)] == ids


def test_what_is_not_here_is_an_error_that_says_so_and_hasattr_is_false(model):
    assert not hasattr(model, "smart_batching_collate")
    for name in ("fit", "save_pretrained", "parameters", "forward"):
        with pytest.raises(OptionError, match=rf"has no attribute '{name}': it encodes and compares"):
            getattr(model, name)
    assert same(copy.deepcopy(model).encode(TEXTS), model.encode(TEXTS))
    assert same(pickle.loads(pickle.dumps(model)).encode(TEXTS), model.encode(TEXTS))


def test_evaluators_leave_their_scores(model, tiny_encoder):
    """As in a SentenceTransformer's model card: all of them, and a row of the main ones."""

    def evaluator(given, output_path):
        given.model_card_data.set_evaluation_metrics(evaluator, {"accuracy": 0.5, "f1": 0.4}, epoch=2, step=7)
        return {"accuracy": 0.5, "f1": 0.4}

    evaluator.primary_metric = "accuracy"
    assert model.evaluate(evaluator) == {"accuracy": 0.5, "f1": 0.4}
    card = model.model_card_data
    assert card.eval_results_dict == {evaluator: {"accuracy": 0.5, "f1": 0.4}}
    assert card.training_logs == [{"Epoch": 2, "Step": 7, "accuracy": 0.5}]
    assert tiny_encoder.fingerprint in card.base_model


def _no():
    return False
