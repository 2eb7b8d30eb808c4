"""mteb's own evaluation of our encoder, beside our own figures. Runs in the reference environment, which has torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import OptionError
from support.retrieval import RetrievalSet, ndcg_at_10, read_beir
from support.tiny_models import write_tiny_model

pytestmark = pytest.mark.reference
mteb = pytest.importorskip("mteb", reason="mteb is in the reference environment only (make test)")

from mteb.models import EncoderProtocol  # noqa: E402
from mteb.types import PromptType  # noqa: E402

import mteb_scifact  # noqa: E402
from intel_quantized_embeddings.integrations.mteb import IntelQuantizedMTEBEncoder  # noqa: E402

BATCHES = [{"text": ["the cat sat", "a river of stars"]}, {"text": ["a dog"]}]
TEXTS = [text for batch in BATCHES for text in batch["text"]]


class Remembering(IntelQuantizedMTEBEncoder):
    """Keeps the vectors that mteb was given."""

    def encode(self, inputs, *, prompt_type, **options):
        vectors = super().encode(inputs, prompt_type=prompt_type, **options)
        self.__dict__.setdefault("given", {})[prompt_type] = vectors
        return vectors


def write_beir(folder: Path, data: RetrievalSet) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", data.documents), ("queries", data.queries)):
        lines = (json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items())
        (folder / f"{name}.jsonl").write_text("".join(lines), "utf-8")
    rows = [f"{query}\t{key}\t{score}" for query, answers in data.relevant.items() for key, score in answers.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows, ""]), "utf-8")
    return folder


def encode(model: IntelQuantizedMTEBEncoder, prompt_type: PromptType | None) -> np.ndarray:
    return model.encode(
        iter(BATCHES), task_metadata=None, hf_split="test", hf_subset="default", prompt_type=prompt_type, batch_size=1
    )


class TestEncoder:
    @pytest.fixture
    def model(self, tiny_encoder):
        return IntelQuantizedMTEBEncoder(tiny_encoder, name="me/tiny")

    def test_is_what_mteb_calls_an_encoder(self, model):
        assert isinstance(model, EncoderProtocol)

    def test_queries_and_documents_get_their_own_instructions(self, model, tiny_encoder):
        documents = tiny_encoder.encode_documents(TEXTS)
        queries = tiny_encoder.encode_queries(TEXTS)
        assert not np.allclose(documents, queries)
        assert np.array_equal(encode(model, PromptType.query), queries)
        assert np.array_equal(encode(model, PromptType.document), documents)
        assert np.array_equal(encode(model, None), documents)

    @pytest.mark.parametrize("name", ["dot", "euclidean", "manhattan"])
    def test_similarities_are_those_of_the_models_folder(self, tmp_path, name):
        folder = write_tiny_model(tmp_path / "tiny", normalize=False)
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": name}))
        encoder = Encoder.load(folder, precision="fp32", warm_shapes=False)
        model = IntelQuantizedMTEBEncoder(encoder, name="me/tiny")
        assert model.mteb_model_meta.similarity_fn_name.value == name
        vectors = encoder.encode_documents(TEXTS)
        expected = encoder.settings.similarity.matrix(vectors, vectors)
        np.testing.assert_allclose(model.similarity(vectors, vectors), expected, atol=1e-5)
        np.testing.assert_allclose(model.similarity_pairwise(vectors, vectors), np.diag(expected), atol=1e-4)

    def test_similarities_are_cosines(self, model, tiny_encoder):
        vectors = tiny_encoder.encode_documents(TEXTS)
        expected = vectors @ vectors.T
        np.testing.assert_allclose(model.similarity(3 * vectors, vectors).numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(
            model.similarity_pairwise(3 * vectors, vectors[::-1].copy()).numpy(),
            np.einsum("nd,nd->n", vectors, vectors[::-1]),
            atol=1e-5,
        )

    def test_its_metadata_tells_models_apart(self, model, tiny, tiny_encoder):
        """mteb files results by name and revision: another precision must not be answered by a cached result."""
        meta = model.mteb_model_meta
        assert (meta.name, meta.revision) == ("me/tiny", tiny_encoder.fingerprint)
        assert (meta.embed_dim, meta.max_tokens, meta.use_instructions) == (32, 64, True)
        fp32 = IntelQuantizedMTEBEncoder(Encoder.load(tiny, precision="fp32"), name="me/tiny")
        assert fp32.mteb_model_meta.revision != meta.revision

    @pytest.mark.parametrize("name", ["tiny", "", None])
    def test_a_name_without_an_organization_is_refused(self, tiny_encoder, name):
        with pytest.raises(OptionError, match="'me/my-model'"):
            IntelQuantizedMTEBEncoder(tiny_encoder, name=name)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_mteb_finds_the_ndcg_that_we_find(minilm, minilm_int8, shared, tmp_path, precision):
    """On 40 queries of scifact, all their documents and 100 others, at either precision."""
    whole = read_beir(shared / "data" / "scifact")
    data = whole.of_queries(40).reduced(100)
    source = minilm if precision == "fp32" else minilm_int8
    encoder = Encoder.load(source, precision=precision)
    model = Remembering(encoder, name="me/minilm")
    scores = mteb_scifact.evaluate(model, write_beir(tmp_path / "scifact", data))
    documents, asked = model.given[PromptType.document], model.given[PromptType.query]
    np.testing.assert_allclose(documents[:3], encoder.encode_documents(islice(data.documents.values(), 3)), atol=1e-5)
    assert scores["ndcg_at_10"] == pytest.approx(ndcg_at_10(data, documents, asked), abs=1e-4)
    assert scores["ndcg_at_10"] > 0.7  # a corpus this small is easy


@pytest.mark.soak
def test_mteb_finds_the_published_ndcg_of_minilm(minilm, shared):
    encoder = Encoder.load(minilm, precision="fp32", max_length=256)
    scores = mteb_scifact.evaluate(IntelQuantizedMTEBEncoder(encoder, name="me/minilm"), shared / "data" / "scifact")
    print(f"\nmteb {mteb.__version__}, all-MiniLM-L6-v2 in fp32 on scifact: nDCG@10 {scores['ndcg_at_10']:.4f}")
    assert scores["ndcg_at_10"] == pytest.approx(0.6451, abs=5e-4)


class TestExample:
    def test_prints_the_scores_with_no_network(self, tiny, tmp_path):
        data = RetrievalSet(
            {"a": "the cat sat", "b": "a river", "c": "old stone"}, {"q": "the cat sat"}, {"q": {"a": 1}}
        )
        done = subprocess.run(
            [
                sys.executable,
                mteb_scifact.__file__,
                write_beir(tmp_path, data),
                "--model",
                tiny,
                "--precisions",
                "fp32",
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        header, line = done.stdout.splitlines()
        assert header.split() == ["precision", *mteb_scifact.SCORES]
        assert line.split()[0] == "fp32"
        assert line.split()[-1] == "1.0000"  # all three documents are among the first 100

    def test_a_missing_folder_is_one_line(self, tiny, tmp_path, capsys):
        assert mteb_scifact.main([str(tmp_path / "nowhere"), "--model", str(tiny), "--precisions", "fp32"]) == 1
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith("error: ")
        assert "no folder" in told
