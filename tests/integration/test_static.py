"""Static models, of sentence-transformers and of model2vec: everything an Encoder does, without a runtime."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intel_quantized_embeddings import CrossEncoder, Encoder, quantize
from intel_quantized_embeddings.errors import (
    DamagedFilesError,
    ModelFilesError,
    OptionError,
    UnsupportedModelError,
)
from intel_quantized_embeddings.models.static import StaticTable
from intel_quantized_embeddings.runtimes.static import StaticRuntime
from support.few_texts import FEW
from support.tiny_models import VOCABULARY, save_in_halves, write_tiny_static

TEXTS = ["the cat sat", "", "water", "a small house in the old city", "the cat sat", "stone " * 40]
UNKNOWN = VOCABULARY.index("[UNK]")
TOKENS = len(VOCABULARY)


def _load(folder, **options):
    return Encoder.load(folder, **{"precision": "fp32", **options})


def _mean(rows, ids, *, normalize=True):
    """What a text's vector is, by its definition."""
    mean = rows[list(ids)].astype(np.float64).mean(axis=0) if len(ids) else np.zeros(rows.shape[1])
    return mean / max(np.linalg.norm(mean), 1e-12) if normalize else mean


def _ids(*words):
    return [VOCABULARY.index(word) for word in words]


@pytest.fixture(params=[False, True], ids=["sentence-transformers", "model2vec"])
def folder(request, tmp_path):
    return write_tiny_static(tmp_path / "static", model2vec=request.param)


class TestVectors:
    def test_are_the_mean_of_the_words_without_special_tokens(self, folder):
        encoder = _load(folder)
        rows = np.random.default_rng(0).normal(0, 1, (TOKENS, 24)).astype(np.float32)
        vectors = encoder.encode_documents(TEXTS)
        assert (vectors.shape, vectors.dtype, encoder.dimension) == ((6, 24), np.float32, 24)
        expected = [_mean(rows, ids) for ids in (_ids("the", "cat", "sat"), [], _ids("water"))]
        np.testing.assert_allclose(vectors[:3], expected, atol=1e-6)
        assert np.array_equal(vectors[0], vectors[4])
        assert not encoder.encode_documents([""]).any()

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.lists(st.integers(0, 29), max_size=40), min_size=1, max_size=30),
        st.sampled_from(["float32", "float16", "int8"]),
        st.booleans(),
    )
    def test_have_the_same_bits_in_any_company(self, texts, kept_as, mapped):
        random = np.random.default_rng(1)
        table = StaticTable(
            rows=random.normal(0, 40, (9 if mapped else 30, 19)).astype(kept_as),
            mapping=random.integers(0, 9, 30) if mapped else None,
            weights=random.random(30).astype(np.float32) if mapped else None,
        )
        for normalize in (False, True):
            runtime = StaticRuntime(table, normalize=normalize)
            together = runtime.run_ragged(texts)
            for place, text in enumerate(texts):
                assert np.array_equal(runtime.run_ragged([text])[0], together[place])

    def test_mapping_and_weights_of_model2vec_are_obeyed(self, tmp_path):
        random = np.random.default_rng(2)
        rows, mapping = random.normal(0, 1, (10, 8)).astype(np.float16), random.integers(0, 10, TOKENS)
        weights = random.random(TOKENS)  # in double precision, as model2vec makes them
        tensors = {"embeddings": rows, "mapping": mapping, "weights": weights}
        encoder = _load(write_tiny_static(tmp_path / "m", model2vec=True, tensors=tensors))
        whole = rows[mapping] * weights[:, None]
        expected = _mean(whole, _ids("the", "cat"))
        np.testing.assert_allclose(encoder.encode_queries(["the cat"])[0], expected, atol=1e-6)

    @pytest.mark.parametrize("kept_as", ["int8", "float16", "bfloat16", "float64"])
    def test_a_table_is_read_as_it_is_kept(self, tmp_path, kept_as):
        rows = np.random.default_rng(3).integers(-100, 100, (TOKENS, 8)).astype(np.float32)
        name = "embedding.weight"
        folder = write_tiny_static(
            tmp_path / "m", tensors=None if kept_as == "bfloat16" else {name: rows.astype(kept_as)}
        )
        if kept_as == "bfloat16":
            save_in_halves({name: rows}, folder / "0_StaticEmbedding" / "model.safetensors", bfloat16=True)
        found = _load(folder).encode_documents(["water"])[0]
        np.testing.assert_allclose(found, _mean(rows, _ids("water")), atol=1e-6)

    def test_unknown_words_count_as_whoever_wrote_the_table_counts_them(self, folder):
        encoder = _load(folder)
        known, other = encoder.encode_documents(["the cat", "the 猫 cat"])
        assert np.array_equal(known, other) is (folder / "config.json").is_file()  # model2vec leaves them out

    def test_texts_are_cut_where_the_files_say_or_the_caller(self, folder, caplog):
        encoder, cut = _load(folder), _load(folder, max_length=3)
        # By config.json, or by tokenizer.json, which sentence-transformers obeys here.
        assert encoder.max_length == (512 if (folder / "config.json").is_file() else 16)
        texts = ["the cat sat on the mat"]
        assert np.array_equal(cut.encode_documents(texts), encoder.encode_documents(["the cat sat"]))
        assert "1 of 1 texts are longer than 3 tokens" in caplog.text
        with pytest.raises(OptionError, match="max_length=1000000"):
            _load(folder, max_length=1_000_000)
        assert "longer" not in caplog.text.partition("than 3 tokens")[2]

    def test_long_texts_are_read_to_their_end_where_nothing_cuts(self, tmp_path):
        folder = write_tiny_static(tmp_path / "static")
        file = folder / "0_StaticEmbedding" / "tokenizer.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "truncation": None}))
        encoder = _load(folder)
        assert encoder.max_length == 1 << 17
        text = "stone " * 3000
        same, other = encoder.encode_documents([text, text + "water"])
        assert np.abs(same - other).max() > 0


class TestOptions:
    def test_int8_says_that_nothing_is_quantized(self, folder, caplog):
        int8, fp32 = Encoder.load(folder), _load(folder)
        (said,) = (record.getMessage() for record in caplog.records)
        assert "is a static model" in said
        assert "Nothing is quantized" in said
        assert int8.fingerprint == fp32.fingerprint
        assert fp32.fingerprint.startswith("static-fp32-mean-")

    @pytest.mark.parametrize(
        "options",
        [{"runtime": "native"}, {"pooling": "cls"}, {"precision": "bf16"}, {"instruction_set": "scalar"}],
        ids=str,
    )
    def test_what_it_has_not_is_refused(self, folder, options):
        ((name, value),) = options.items()
        with pytest.raises(OptionError, match=f"{name}={value!r} is not available for static"):
            _load(folder, **options)

    def test_length_instructions_and_dimension_can_be_chosen(self, tmp_path):
        folder = write_tiny_static(tmp_path / "static", prompts={"query": "the ", "document": "a "})
        encoder, plain = _load(folder), _load(folder, query_instruction="", truncate_dim=10, normalize=True)
        assert np.array_equal(encoder.encode_queries(["cat"]), encoder.encode(["the cat"], instruction=""))
        assert plain.encode_queries(["cat"]).shape == (1, 10)
        raw = _load(folder, normalize=False).encode_documents(["cat"])
        np.testing.assert_allclose(raw / np.linalg.norm(raw), encoder.encode_documents(["cat"]), atol=1e-6)

    def test_it_pickles_and_its_fingerprint_is_of_its_files(self, folder, tmp_path):
        import pickle

        encoder = _load(folder)
        again = pickle.loads(pickle.dumps(encoder))
        assert np.array_equal(again.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
        other = write_tiny_static(tmp_path / "other", model2vec=(folder / "config.json").is_file(), seed=1)
        assert _load(other).fingerprint != encoder.fingerprint

    def test_it_is_not_quantized_and_scores_no_pairs(self, folder, tmp_path):
        with pytest.raises(UnsupportedModelError, match=r"static model.*nothing to quantize"):
            quantize(folder, tmp_path / "int8", **FEW)
        with pytest.raises(UnsupportedModelError, match=r"static model.*scores no pairs"):
            CrossEncoder.load(folder)


class TestDamage:
    def test_no_table_is_an_error_with_the_way_out(self, folder):
        for file in folder.rglob("model.safetensors"):
            file.rename(file.with_name("pytorch_model.bin"))
        with pytest.raises(ModelFilesError, match=r"no model\.safetensors.*save_pretrained"):
            _load(folder)

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            ({"rows": np.ones((TOKENS, 4), np.float32)}, "neither 'embedding.weight' nor 'embeddings'"),
            ({"embeddings": np.ones(TOKENS, np.float32)}, "a table is expected"),
            ({"embeddings": np.full((TOKENS, 4), np.nan, np.float32)}, "not finite"),
            ({"embeddings": np.ones((2, 4), np.float32), "mapping": np.full(TOKENS, 2)}, "'mapping' of"),
            ({"embeddings": np.ones((TOKENS, 4), np.float32), "weights": np.ones(3, np.float32)}, "'weights' of"),
        ],
    )
    def test_a_table_that_is_none_is_named(self, tmp_path, tensors, message):
        with pytest.raises(DamagedFilesError, match=message):
            _load(write_tiny_static(tmp_path / "m", model2vec=True, tensors=tensors))

    def test_a_table_of_another_tokenizer_is_named(self, tmp_path):
        folder = write_tiny_static(tmp_path / "m", tensors={"embedding.weight": np.ones((3, 4), np.float32)})
        with pytest.raises(DamagedFilesError, match="has no vector: the table has 3"):
            _load(folder).encode_documents(["the cat"])

    def test_a_module_behind_it_that_is_not_built_in_is_named(self, tmp_path):
        folder = write_tiny_static(tmp_path / "m", normalize=False)
        modules = json.loads((folder / "modules.json").read_text())
        modules.append({"idx": 1, "name": "1", "path": "1_Dense", "type": "sentence_transformers.models.Dense"})
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Dense").mkdir()
        (folder / "1_Dense" / "config.json").write_text(json.dumps({"in_features": 24, "out_features": 8}))
        with pytest.raises(UnsupportedModelError, match="Dense 24 to 8, Tanh behind a StaticEmbedding"):
            _load(folder)


@pytest.mark.reference
class TestAgainstSentenceTransformers:
    @pytest.mark.parametrize("normalize", [False, True])
    def test_vectors_agree(self, tmp_path, normalize):
        theirs = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
        for model2vec in (False, True):
            folder = write_tiny_static(
                tmp_path / str(model2vec), model2vec=model2vec, normalize=normalize, prompts={"query": "the "}
            )
            reference = theirs.SentenceTransformer(str(folder), device="cpu")
            encoder = _load(folder)
            np.testing.assert_allclose(encoder.encode_queries(TEXTS), reference.encode_query(TEXTS), atol=2e-5)
            np.testing.assert_allclose(encoder.encode_documents(TEXTS), reference.encode_document(TEXTS), atol=2e-5)
            assert encoder.dimension == reference.get_embedding_dimension()


class TestElsewhere:
    def test_the_command_line_shows_it(self, folder, capsys):
        from intel_quantized_embeddings.cli import main

        assert main(["info", str(folder), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["architecture"], facts["dimension"], facts["problem"]) == ("static", 24, None)
        assert main(["info", str(folder)]) == 0
        assert "nothing to quantize" in capsys.readouterr().out

    def test_frameworks_embed_with_it(self, folder):
        from intel_quantized_embeddings.integrations.langchain import IntelQuantizedEmbeddings

        embeddings = IntelQuantizedEmbeddings(model=str(folder), precision="fp32")
        assert np.array_equal(embeddings.embed_query("water"), _load(folder).encode_queries(["water"])[0])
