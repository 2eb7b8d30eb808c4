"""Beside the real SentenceTransformer, and under KeyBERT. Runs in the reference environment, which has torch."""

from __future__ import annotations

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.integrations.sentence_transformers import IntelQuantizedSentenceTransformer

pytestmark = pytest.mark.reference

TEXTS = ["The Danube flows into the Black Sea.", "Xeons are processors.", "Cats sleep most of the day."]


class TestBesideTheRealOne:
    @pytest.fixture(scope="class")
    def both(self, minilm):
        """all-MiniLM-L6-v2 in fp32 with instructions, in both."""
        real = pytest.importorskip("sentence_transformers", reason="only in the reference environments (make test)")
        from intel_quantized_embeddings.models.hub import find_model

        ours = Encoder.load(minilm, precision="fp32", query_instruction="query: ", document_instruction="passage: ")
        prompts = {"query": "query: ", "document": "passage: "}
        theirs = real.SentenceTransformer(str(find_model(minilm).path), device="cpu", prompts=prompts)
        return IntelQuantizedSentenceTransformer(ours), theirs

    @pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"prompt_name": "query"},
            {"prompt": "find "},
            {"convert_to_tensor": True},
            {"normalize_embeddings": True},
            {"truncate_dim": 64},
            {"truncate_dim": 64, "normalize_embeddings": True},
            {"precision": "binary"},
            {"precision": "ubinary", "truncate_dim": 100},
        ],
        ids=str,
    )
    def test_vectors_are_its(self, both, method, options):
        for texts in (TEXTS, TEXTS[0]):
            ours, theirs = (getattr(model, method)(texts, **options) for model in both)
            assert type(ours) is type(theirs)
            np.testing.assert_allclose(ours, theirs, atol=1e-5)

    def test_similarities_are_its(self, both):
        ours, theirs = both
        vectors = theirs.encode(TEXTS, convert_to_tensor=True)
        for one, two in ((vectors, vectors[:2]), (vectors[0], vectors)):
            np.testing.assert_allclose(ours.similarity(one, two), theirs.similarity(one, two), atol=1e-5)
        np.testing.assert_allclose(
            ours.similarity_pairwise(vectors, vectors.flip(0)),
            theirs.similarity_pairwise(vectors, vectors.flip(0)),
            atol=1e-5,
        )

    def test_dimension_and_length_are_its(self, both):
        ours, theirs = both
        new, old = "get_embedding_dimension", "get_sentence_embedding_dimension"
        named = new if hasattr(theirs, new) else old
        assert getattr(ours, named)() == getattr(theirs, named)()
        assert ours.max_seq_length == theirs.max_seq_length


class TestKeyBERT:
    @pytest.fixture
    def example(self):
        pytest.importorskip("keybert", reason="keybert is in the reference environment only (make test)")
        import keybert_keywords

        return keybert_keywords

    def test_names_what_a_text_is_about(self, example, minilm_int8, capsys):
        assert example.main(["--model", str(minilm_int8)]) == 0
        bees, mortgages = capsys.readouterr().out.splitlines()[1::2]
        assert "bee" in bees
        assert "mortgage" in mortgages
        assert "bee" not in mortgages

    def test_takes_a_file(self, example, minilm_int8, tmp_path, capsys):
        (tmp_path / "text.txt").write_text("Volcanoes erupt when magma rises to the surface.", "utf-8")
        assert example.main([str(tmp_path / "text.txt"), "--model", str(minilm_int8), "--most", "2"]) == 0
        phrases = capsys.readouterr().out.splitlines()[1].split(", ")
        assert len(phrases) == 2
        assert "magma" in phrases[0] or "volcano" in phrases[0]

    def test_never_meets_the_object_itself_unnoticed(self, example, tiny_encoder):
        """KeyBERT takes the hub's default model for what it does not know; ours must be an error instead."""
        with pytest.raises(ValueError, match="SentenceTransformer"):
            example.KeyBERT(model=IntelQuantizedSentenceTransformer(tiny_encoder))

    def test_a_missing_model_is_one_line(self, example, tmp_path, capsys):
        assert example.main(["--model", str(tmp_path / "nowhere")]) == 1
        assert capsys.readouterr().err.startswith("error: no folder")
