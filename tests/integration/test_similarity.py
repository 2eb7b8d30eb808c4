"""A model trained for the dot product, or a distance, stays one: in the folder that is written and where we rank."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder, Reranker, quantize
from intel_quantized_embeddings.cli.inspection import inspect_folder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.int8_folder.manifest import Manifest
from intel_quantized_embeddings.similarity import Similarity
from support.few_texts import TEN_TEXTS
from support.tiny_models import VOCABULARY, write_tiny_model

pytestmark = pytest.mark.usefixtures("quick_quantizing")

QUERY = "what is a river"
# Of very different lengths, so that vectors are: the orders by cosine, product and distance have little in common.
TEXTS = [" ".join(VOCABULARY[4 + (5 * i + 3 * j) % 60] for j in range(1 + i % 9)) for i in range(30)]


def write(folder, similarity, *, normalize=False, **more):
    """A tiny model whose folder names a similarity."""
    write_tiny_model(folder, normalize=normalize, prompts={})
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": similarity, **more}))
    return folder


def told(folder):
    """What a folder says to sentence-transformers."""
    return json.loads((folder / "config_sentence_transformers.json").read_text("utf-8"))


@pytest.fixture(scope="module", params=[one.value for one in Similarity])
def model(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("similarity") / f"tiny-{request.param}", request.param)


@pytest.fixture(scope="module")
def int8(model):
    return quantize(
        model, f"{model}-int8", calibration_texts=TEN_TEXTS, calibration_queries=TEN_TEXTS, search=False
    ).folder


def test_the_int8_folder_says_what_the_source_says(model, int8):
    asked = told(model)["similarity_fn_name"]
    assert told(int8)["similarity_fn_name"] == asked
    manifest = json.loads((int8 / "manifest.json").read_text("utf-8"))
    assert manifest["settings"]["similarity"] == asked
    assert Encoder.load(int8).settings.similarity is Similarity(asked)
    assert f"compared by {asked}" in (int8 / "README.md").read_text("utf-8")
    for folder in (model, int8):
        assert ("product" in inspect_folder(folder).text) == (asked == "dot")
        assert ("distance" in inspect_folder(folder).text) == (asked in ("euclidean", "manhattan"))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_documents_are_ranked_by_it(model, int8, precision):
    encoder = Encoder.load(int8 if precision == "int8" else model, precision=precision)
    query, documents = encoder.encode_queries([QUERY])[0], encoder.encode_documents(TEXTS)
    lengths = np.linalg.norm(documents, axis=1)
    scores = {
        "cosine": documents @ query / (lengths * np.linalg.norm(query)),
        "dot": documents @ query,
        "euclidean": -np.linalg.norm(documents - query, axis=1),
        "manhattan": -np.abs(documents - query).sum(axis=1),
    }
    orders = {name: tuple(np.argsort(-found, kind="stable")) for name, found in scores.items()}
    assert len(set(orders.values())) == 4
    ranked = Reranker(encoder).rank(QUERY, TEXTS)
    asked = told(model)["similarity_fn_name"]
    assert tuple(document.index for document in ranked) == orders[asked]
    np.testing.assert_allclose([one.score for one in ranked], -np.sort(-scores[asked]), rtol=1e-4, atol=1e-5)


def test_a_manifest_that_does_not_say_is_of_a_cosine(model, int8, tmp_path):
    """As written before it was kept."""
    folder = shutil.copytree(int8, tmp_path / "old")
    content = json.loads((folder / "manifest.json").read_text("utf-8"))
    del content["settings"]["similarity"], content["settings"]["default_instruction"]
    (folder / "manifest.json").write_text(json.dumps(content), "utf-8")
    assert Manifest.read(folder).settings.similarity is Similarity.COSINE
    assert Encoder.load(folder).fingerprint == Encoder.load(int8).fingerprint


def test_vectors_and_fingerprint_do_not_depend_on_it(tmp_path):
    one, other = (
        Encoder.load(write(tmp_path / name, name), precision="fp32", warm_shapes=False) for name in ("cosine", "dot")
    )
    assert one.fingerprint == other.fingerprint
    assert np.array_equal(one.encode_documents(TEXTS[:3]), other.encode_documents(TEXTS[:3]))


def test_a_model_quantized_on_first_use_follows_its_folder(tmp_path, monkeypatch):
    """Also where the int8 form in the cache was made when the folder said otherwise."""
    monkeypatch.setattr("intel_quantized_embeddings.quantization.cache.built_in_texts", _few)
    folder = write(tmp_path / "mine", "cosine", normalize=True)
    cache = tmp_path / "cache"
    assert Encoder.load(folder, cache_folder=cache).settings.similarity is Similarity.COSINE
    write(folder, "dot", normalize=True)
    assert Encoder.load(folder, cache_folder=cache).settings.similarity is Similarity.DOT


def _few():
    from intel_quantized_embeddings.quantization.calibration import Texts

    return Texts(documents=tuple(TEN_TEXTS), queries=tuple(TEN_TEXTS))


def test_prompts_are_kept_for_sentence_transformers(tmp_path):
    prompts = {"cluster": "cluster: ", "sts": "alike: "}
    folder = write(tmp_path / "mine", "dot", prompts=prompts, default_prompt_name="cluster")
    int8 = quantize(
        folder, tmp_path / "int8", calibration_texts=TEN_TEXTS, calibration_queries=TEN_TEXTS, search=False
    ).folder
    written = told(int8)
    assert written["default_prompt_name"] == "cluster"
    assert prompts.items() <= written["prompts"].items()
    settings = Encoder.load(int8).settings
    assert (settings.default_instruction, dict(settings.other_prompts)) == ("cluster: ", prompts)


def _own_scores(encoder):
    query, documents = encoder.encode_queries([QUERY])[0], encoder.encode_documents(TEXTS)
    return encoder.settings.similarity.to_documents(query, documents)


def test_evaluation_ranks_by_it(model, tmp_path, capsys):
    pytest.importorskip("pytrec_eval", reason="the eval extra is not installed")
    pytest.importorskip("bm25s", reason="the eval extra is not installed")
    from intel_quantized_embeddings.tasks.datasets import RetrievalDataset
    from intel_quantized_embeddings.tasks.measure import measure

    encoder = Encoder.load(model, precision="fp32")
    best = int(np.argmax(_own_scores(encoder)))
    dataset = RetrievalDataset(
        name="one",
        documents={str(place): text for place, text in enumerate(TEXTS)},
        queries={"q": QUERY},
        relevant={"q": {str(best): 1}},
    )
    assert measure(dataset, encoder, similarity=encoder.settings.similarity).main == 1


SPACES = {"cosine": "cosine", "dot": "ip", "euclidean": "l2", "manhattan": "l2"}


class TestChroma:
    @pytest.fixture(autouse=True)
    def chroma(self):
        return pytest.importorskip("chromadb", reason="the chroma extra is not installed")

    @pytest.mark.parametrize("loaded", [False, True])
    def test_a_collection_compares_by_it(self, chroma, model, tmp_path, loaded):
        """Whether the model is loaded yet or not."""
        from intel_quantized_embeddings.integrations.chroma import IntelQuantizedEmbeddingFunction

        function = IntelQuantizedEmbeddingFunction(model, precision="fp32")
        if loaded:
            function.warm_up()
        client = chroma.PersistentClient(tmp_path / "chroma")
        collection = client.create_collection("texts", embedding_function=function)
        assert (function._encoder is None) == (not loaded)
        assert collection.configuration_json["hnsw"]["space"] == SPACES[told(model)["similarity_fn_name"]]
        collection.add(ids=[str(place) for place in range(len(TEXTS))], documents=TEXTS)
        found = collection.query(query_texts=[QUERY], n_results=1)["ids"][0]
        if told(model)["similarity_fn_name"] != "manhattan":  # of which the euclidean distance is a neighbour
            assert found == [str(int(np.argmax(_own_scores(function.encoder))))]

    def test_a_collection_of_ours_compares_by_it_or_is_refused(self, chroma, model, tmp_path):
        from intel_quantized_embeddings.integrations.chroma_collections import connect, open_collection

        encoder = Encoder.load(model, precision="fp32")
        client = connect(tmp_path / "chroma")
        if encoder.settings.similarity is Similarity.MANHATTAN:
            with pytest.raises(OptionError, match="Manhattan distance, which Chroma does not have"):
                open_collection(client, "texts", encoder=encoder, create=True)
            return
        collection = open_collection(client, "texts", encoder=encoder, create=True)
        assert collection.configuration_json["hnsw"]["space"] == SPACES[encoder.settings.similarity.value]

    @pytest.mark.parametrize(("similarity", "space"), [("dot", "cosine"), ("euclidean", "ip"), ("cosine", "l2")])
    def test_an_empty_collection_of_another_space_is_told_of(self, chroma, tmp_path, similarity, space):
        from intel_quantized_embeddings.integrations.chroma_collections import connect, open_collection

        encoder = Encoder.load(write(tmp_path / "mine", similarity), precision="fp32", warm_shapes=False)
        client = connect(tmp_path / "chroma")
        client.create_collection("texts", embedding_function=None, configuration={"hnsw": {"space": space}})
        for _ in range(2):  # when it is adopted, and afterwards
            with pytest.warns(UserWarning, match=f"compares by '{space}'.*to be compared by {similarity}"):
                open_collection(client, "texts", encoder=encoder)

    def test_reindexing_for_another_model_compares_as_that_one_is_made_for(self, chroma, tmp_path, caplog):
        pytest.importorskip("bs4", reason="the ingest extra is not installed")
        from intel_quantized_embeddings.ingestion import ingest
        from intel_quantized_embeddings.integrations.chroma_collections import connect, space_of

        (tmp_path / "docs").mkdir()
        (tmp_path / "docs" / "river.txt").write_text("the river flows", "utf-8")
        where = {"chroma": tmp_path / "chroma", "collection": "texts", "precision": "fp32"}

        def space_after(model, **options):
            ingest([tmp_path / "docs"], model=model, **where, **options)
            with connect(tmp_path / "chroma") as client:
                return space_of(client.get_collection("texts", embedding_function=None))

        assert space_after(write(tmp_path / "one", "cosine", normalize=True)) == "cosine"
        assert space_after(write(tmp_path / "two", "dot"), reindex=True) == "ip"
        assert "ranks otherwise" not in caplog.text
        with connect(tmp_path / "chroma") as client:
            client.delete_collection("texts")
            client.create_collection("texts", embedding_function=None, configuration={"hnsw": {"space": "l2"}})
        assert space_after(tmp_path / "two") == "l2"
        assert "compares by 'l2'" in caplog.text

    def test_a_model_that_was_not_here_when_the_collection_was_made_is_told_of(self, tmp_path, caplog, monkeypatch):
        from intel_quantized_embeddings.integrations import chroma

        folder = write(tmp_path / "mine", "dot")
        function = chroma.IntelQuantizedEmbeddingFunction(folder, precision="fp32")
        monkeypatch.setattr(chroma, "_similarity_of", lambda options: None)
        assert function.default_space() == "cosine"
        function.warm_up()
        assert "are to be compared by dot. Make it again" in caplog.text
        assert function.default_space() == "ip"


@pytest.mark.parametrize(("similarity", "warned"), [("cosine", False), ("dot", True), ("euclidean", True)])
def test_giving_out_vectors_without_their_lengths_is_told_once(tmp_path, caplog, similarity, warned):
    from intel_quantized_embeddings.vectors import VectorType, _warn_of_lost_lengths

    settings = Encoder.load(write(tmp_path / "mine", similarity), precision="fp32", warm_shapes=False).settings
    _warn_of_lost_lengths.cache_clear()
    for _ in range(2):
        VectorType.FLOAT32.listed(np.ones((1, 4), np.float32), lengths_matter=settings.lengths_matter)
        VectorType.INT8.listed(np.ones((1, 4), np.float32), lengths_matter=settings.lengths_matter)
    assert caplog.text.count("vector_type='int8' keeps the direction of vectors and not their length") == warned


def test_the_adapters_tell_it(tmp_path, caplog):
    pytest.importorskip("langchain_core", reason="the langchain extra is not installed")
    from intel_quantized_embeddings import IntelQuantizedEmbeddings
    from intel_quantized_embeddings.vectors import _warn_of_lost_lengths

    _warn_of_lost_lengths.cache_clear()
    folder = write(tmp_path / "mine", "dot")
    IntelQuantizedEmbeddings(model=str(folder), precision="fp32", vector_type="binary").embed_query("the cat")
    assert "vector_type='binary' keeps the direction" in caplog.text
