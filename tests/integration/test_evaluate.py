"""`iqe evaluate` from folders to table, JSON and plot."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder, SparseEncoder, quantize_sparse
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.similarity import Similarity
from intel_quantized_embeddings.tasks.datasets import read_dataset
from intel_quantized_embeddings.tasks.measure import measure, measure_reranking, measure_sparse
from support import tiny_models
from support.datasets import write_beir, write_intents
from support.few_texts import FEW
from support.hub_machine import Machine
from support.hub_server import HubServer

pytestmark = pytest.mark.usefixtures("quick_quantizing")

for needed in ("pytrec_eval", "bm25s", "sklearn", "scipy", "matplotlib"):
    pytest.importorskip(needed, reason=f"{needed} is not installed (the eval extra)")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """A retrieval and a classification folder in words that the tiny model knows."""
    root = tmp_path_factory.mktemp("datasets")
    return write_beir(root), write_intents(root)


def test_the_command_compares_int8_with_fp32(tiny, runtime, datasets, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["evaluate", str(tiny), "--runtime", runtime, "--output", str(output), "--dataset", *map(str, datasets)]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert "beir: retrieval, 60 documents, 20 queries" in shown.out
    assert re.search(
        rf"nDCG@10 +{runtime} fp32 +0\.\d{{4}}\n +{runtime} int8 +0\.\d{{4}} +\(?[+-]\d+\.\d\d %", shown.out
    )
    assert re.search(r"first ten documents in common: \d+\.\d %", shown.out)
    assert all(len(line) <= 100 for line in shown.out.splitlines())
    assert f"{runtime} int8 on beir" in shown.err
    results = json.loads((output / "evaluation.json").read_text("utf-8"))
    scores = results["datasets"][0]["reference"]
    expected = measure(read_dataset(datasets[0]), Encoder.load(tiny, runtime=runtime, precision="fp32"))
    assert scores == {metric.name: pytest.approx(metric.score) for metric in expected.metrics}
    compared = results["datasets"][1]["comparisons"][f"{runtime} int8"]
    assert compared["differences"][0]["metric"] == "accuracy"
    assert compared["cosines"]["texts"]["mean"] > 0.95
    assert str(tmp_path) not in json.dumps(results)
    assert (output / "evaluation.png").read_bytes()[:4] == b"\x89PNG"


def test_an_int8_folder_is_compared_with_its_source(tiny, tiny_int8_of, runtime, datasets, tmp_path, capsys):
    """Which a folder on disk can't be found by; the command says what to pass."""
    folder = tiny_int8_of(runtime)
    common = ["--output", str(tmp_path / "out"), "--dataset", str(datasets[1])]
    assert main(["evaluate", str(folder), *common]) == 1
    told = capsys.readouterr()
    assert "--against FOLDER_OR_ID" in told.err
    assert " on intents" not in told.out + told.err, "it was found out before anything was encoded"
    assert not (tmp_path / "out").exists()
    assert main(["evaluate", str(folder), "--against", str(tiny), *common]) == 0
    assert f"{runtime} int8" in capsys.readouterr().out


def test_an_int8_folder_of_the_hub_is_compared_with_the_very_commit_it_was_made_from(
    tiny, tiny_int8, datasets, tmp_path
):
    """Wherever the source's main branch is by now; and the files of both stay in the folder given."""
    int8 = shutil.copytree(tiny_int8, tmp_path / "int8")
    with HubServer() as hub:
        commit = hub.add("me/tiny", tiny)
        manifest = json.loads((int8 / "manifest.json").read_text("utf-8"))
        manifest["source"] |= {"id": "me/tiny", "revision": commit}
        (int8 / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        other = tiny_models.write_tiny_model(tmp_path / "other", seed=7)
        hub.add("me/tiny", other)
        hub.add("me/tiny-int8", tiny)
        hub.add("me/tiny-int8", int8, branch="v1")
        machine = Machine(hub, tmp_path / "home")
        command = ["evaluate", "me/tiny-int8", "--revision", "v1", "--cache-folder", tmp_path / "cache"]
        command += ["--dataset", datasets[1], "--output", tmp_path / "out"]
        done = machine.iqe(*command)
        assert done.returncode == 0, done.stderr
        results = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
        assert results["model"] == "me/tiny"
        assert results["fingerprints"] == {
            "native int8": Encoder.load(tiny_int8, max_length=64).fingerprint,
            "native fp32": Encoder.load(tiny, precision="fp32").fingerprint,
        }
        asked = len(hub.requests)
        offline = {"cache_folder": str(tmp_path / "cache"), "local_files_only": True}
        assert machine.find(model="me/tiny", revision=commit, **offline)["revision"] == commit
        assert "path" in machine.find(model="me/tiny-int8", revision="v1", **offline)
        assert len(hub.requests) == asked


def test_a_revision_is_of_one_model(tiny, tiny_int8, datasets, capsys):
    arguments = ["evaluate", str(tiny), str(tiny_int8), "--revision", "v1", "--dataset", str(datasets[1])]
    assert main(arguments) == 1
    assert "--revision 'v1' is of one model, and 2 are given" in capsys.readouterr().err


def test_several_folders_stand_side_by_side(tiny, tiny_int8, datasets, tmp_path, capsys):
    one = tiny_int8
    other = shutil.copytree(one, tmp_path / "again")
    common = ["--against", str(tiny), "--output", str(tmp_path / "out"), "--dataset", str(datasets[1])]
    assert main(["evaluate", str(one), str(other), *common]) == 0
    shown = capsys.readouterr().out
    assert f"{one.name} native int8" in shown
    assert "again native int8" in shown


def test_folders_of_one_name_and_models_of_different_sizes_are_refused(
    tiny, tiny_int8, datasets, tmp_path, monkeypatch, capsys
):
    """The one would stand in the other's place, and there is nothing to compare."""
    again = shutil.copytree(tiny_int8, tmp_path / tiny_int8.name)
    common = ["--against", str(tiny), "--output", str(tmp_path / "out"), "--dataset", str(datasets[1])]
    assert main(["evaluate", str(tiny_int8), str(again), *common]) == 1
    assert "give folders of different names" in capsys.readouterr().err
    monkeypatch.setattr(tiny_models, "HIDDEN", 2 * tiny_models.HIDDEN)
    common[1] = str(tiny_models.write_tiny_model(tmp_path / "other"))
    assert main(["evaluate", str(tiny_int8), *common]) == 1
    assert "only encoders of one model can be compared" in capsys.readouterr().err


def test_a_cross_encoder_reranks_in_int8_beside_fp32(tiny_cross_encoder, datasets, tmp_path, capsys):
    output = tmp_path / "out"
    assert main(["evaluate", str(tiny_cross_encoder), "--output", str(output), "--dataset", str(datasets[0])]) == 0
    shown = capsys.readouterr().out
    assert "tiny-cross-encoder, cross-encoder, 64 tokens at most" in shown
    assert re.search(r"reranked MAP +native fp32 +0\.\d{4}\n +native int8 +0\.\d{4} +\(?[+-]\d+\.\d\d %", shown)
    assert "cosine" not in shown
    data, fp32 = read_dataset(datasets[0]), CrossEncoder.load(tiny_cross_encoder, precision="fp32")
    found = json.loads((output / "evaluation.json").read_text("utf-8"))["datasets"][0]["reference"]
    assert found == {metric.name: pytest.approx(metric.score) for metric in measure_reranking(data, fp32).metrics}
    assert list(found) == ["reranked MAP", "reranked MRR"]


def test_candidates_are_ordered_by_the_scores_alone(datasets):
    """With scores that know the answers, every query's answer among the candidates comes first."""

    class Knowing:
        def score(self, pairs):
            return np.array([float(document.startswith(query)) for query, document in pairs], np.float32)

    data = read_dataset(datasets[0])
    measured = measure_reranking(data, Knowing())
    assert measured.main > 0.95  # a few queries begin two documents
    first = {query: data.documents[listed[0]] for query, listed in measured.ranking.items()}
    assert all(text.startswith(data.queries[query]) for query, text in first.items())


def test_a_cross_encoder_ranks_and_does_nothing_else(tiny, tiny_cross_encoder, datasets, tmp_path, capsys):
    common = ["--output", str(tmp_path / "out"), "--dataset"]
    assert main(["evaluate", str(tiny_cross_encoder), *common, str(datasets[1])]) == 1
    assert "only retrieval can be measured" in capsys.readouterr().err
    assert main(["evaluate", str(tiny_cross_encoder), str(tiny), *common, str(datasets[0])]) == 1
    assert "give one kind at a time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "int8"], "--against 'int8' is not allowed"),
        (["--precision", "bf16", "--against", "bf16"], "--precision 'bf16' would be compared with itself"),
        (["--runtime", "onnx"], "runtime='onnx' is not known"),
        (["--dataset", "absent"], "no folder absent; a dataset is a folder with"),
    ],
)
def test_mistakes_are_told_before_anything_is_encoded(tiny, datasets, arguments, message, capsys):
    given = [] if "--dataset" in arguments else ["--dataset", str(datasets[0])]
    assert main(["evaluate", str(tiny), *given, *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.soak
def test_the_published_score_is_reproduced(minilm, shared, tmp_path):
    """all-MiniLM-L6-v2 in fp32 on scifact's test queries: nDCG@10 0.6451."""
    measured = measure(read_dataset(shared / "data" / "scifact"), Encoder.load(minilm, precision="fp32"))
    assert measured.main == pytest.approx(0.6451, abs=5e-4)


class TestSparseModels:
    @pytest.fixture(scope="class", params=["layers", "table"])
    def model(self, request, tmp_path_factory):
        folder = tmp_path_factory.mktemp("sparse") / "model"
        if request.param == "layers":
            return tiny_models.write_tiny_sparse(folder)
        return tiny_models.write_tiny_sparse_router(folder, as_published=True)

    def test_rankings_by_int8_stand_beside_those_by_fp32(self, model, datasets, tmp_path, capsys):
        output = tmp_path / "out"
        assert main(["evaluate", str(model), "--output", str(output), "--dataset", str(datasets[0])]) == 0
        shown = capsys.readouterr().out
        assert "model, sparse (masked-lm), 64 tokens at most, compared by dot" in shown
        assert re.search(r"nDCG@10 +native fp32 +0\.\d{4}\n +native int8 +0\.\d{4} +\(?[+-]\d+\.\d\d %", shown)
        assert re.search(r"cosine, queries: mean [01]\.\d+, 1 % [01]\.\d+, worst [01]\.\d+\n", shown)
        assert re.search(r"weights, queries: \d+\.\d% of the 64 largest weights the same, over 20 texts\n", shown)
        assert all(len(line) <= 100 for line in shown.splitlines())
        results = json.loads((output / "evaluation.json").read_text("utf-8"))
        fp32 = SparseEncoder.load(model, precision="fp32")
        expected = measure_sparse(read_dataset(datasets[0]), fp32, similarity=Similarity.DOT)
        assert results["datasets"][0]["reference"] == {one.name: pytest.approx(one.score) for one in expected.metrics}
        assert results["fingerprints"]["native fp32"] == fp32.fingerprint
        assert results["datasets"][0]["comparisons"]["native int8"]["cosines"]["documents"]["mean"] > 0.95

    def test_an_int8_folder_is_compared_with_its_source(self, model, datasets, tmp_path, capsys):
        quantize_sparse(model, tmp_path / "int8", measure=False, **FEW)
        common = ["--output", str(tmp_path / "out"), "--dataset", str(datasets[0])]
        assert main(["evaluate", str(tmp_path / "int8"), *common]) == 1
        assert "--against FOLDER_OR_ID" in capsys.readouterr().err
        assert main(["evaluate", str(tmp_path / "int8"), "--against", str(model), *common]) == 0
        results = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
        assert results["fingerprints"]["native int8"] == SparseEncoder.load(tmp_path / "int8").fingerprint

    def test_a_ranking_is_by_the_folders_similarity(self, datasets, tmp_path):
        """Scores are those of the dense product of the same numbers."""
        dataset = read_dataset(datasets[0])

        class Dense:
            def __init__(self, encoder):
                self.encode_documents = lambda texts: encoder.encode_documents(texts).toarray()
                self.encode_queries = lambda texts: encoder.encode_queries(texts).toarray()

        encoder = SparseEncoder.load(tiny_models.write_tiny_sparse(tmp_path), precision="fp32")
        for similarity in (Similarity.DOT, Similarity.COSINE):
            found, dense = (
                measure_sparse(dataset, encoder, similarity=similarity),
                measure(dataset, Dense(encoder), similarity=similarity),
            )
            assert {q: listed[:5] for q, listed in found.ranking.items()} == {
                q: listed[:5] for q, listed in dense.ranking.items()
            }

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("classes", "only retrieval can be measured with it"),
            ("euclidean", "similarity_fn_name='euclidean' is not built in for ranking"),
            ("dense", "models that make embeddings and sparse models can't be compared"),
            ("table", "a table of tokens' weights, of which there is one precision"),
        ],
    )
    def test_what_does_not_fit_is_refused_by_name(self, tiny, datasets, tmp_path, capsys, change, message):
        own = {"similarity_fn_name": "euclidean"} if change == "euclidean" else {}
        sparse = tiny_models.write_tiny_sparse(tmp_path / "model", own=own)
        models = [str(sparse)]
        if change == "dense":
            models.insert(0, str(tiny))
        elif change == "table":
            router = tiny_models.write_tiny_sparse_router(tmp_path / "router")
            models = [str(router / "query_0_SparseStaticEmbedding")]
        dataset = datasets[1] if change == "classes" else datasets[0]
        assert main(["evaluate", *models, "--output", str(tmp_path / "out"), "--dataset", str(dataset)]) == 1
        assert message in capsys.readouterr().err
