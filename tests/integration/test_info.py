"""`iqe info` and `iqe models`: what a folder is and which models are known, for people and for scripts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder, quantize
from intel_quantized_embeddings.architectures.table import BUILT_IN
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.errors import QuantizedEmbeddingsError
from intel_quantized_embeddings.models.known_models import KNOWN_CROSS_ENCODERS, KNOWN_MODELS, KNOWN_SPARSE
from support.cpu_kinds import fails_where_onednn_is_limited
from support.few_texts import FEW
from support.tiny_models import write_tiny_cross_encoder, write_tiny_model


@pytest.fixture
def iqe(capsys, monkeypatch):
    """Run the command at a width; returns its status, and what it said on stdout and stderr."""

    def run(*arguments, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def facts_in(text: str) -> dict[str, str]:
    """Label -> everything said beside it."""
    facts = {}
    for line in text.splitlines():
        if not line.startswith(" "):
            label, _, rest = line.partition("   ")
            facts[label] = rest.strip()
        else:
            facts[label] += f" {line.strip()}"
    return facts


class TestAQuantizedFolder:
    def test_shows_the_manifest_and_checks_the_hashes(self, iqe, tiny, tiny_int8):
        status, shown, problem = iqe("info", tiny_int8)
        assert (status, problem) == (0, "")
        facts = facts_in(shown)
        manifest = json.loads((tiny_int8 / "manifest.json").read_text("utf-8"))
        assert facts["folder"] == str(tiny_int8)
        assert facts["made from"] == tiny.name
        assert facts["for"] == "runtime='native', precision='int8'"
        assert facts["method"] == "per-token int8"
        assert f"mean {manifest['fidelity']['documents']['mean']:.4f}" in facts["cosine to fp32"]
        assert facts["pooling"] == "mean, normalized"
        assert facts["queries"] == 'begin with "query: "'
        assert facts["documents"] == 'begin with "document: "'
        assert facts["longest text"] == "64 tokens"
        assert facts["dimension"] == "32"
        assert facts["written with"] == ", ".join(f"{n} {v}" for n, v in manifest["library_versions"].items())
        assert facts["hashes"] == "every file is as it was written"
        assert "limit" not in facts

    def test_says_what_a_limit_put_back_and_its_revision(self, iqe, tiny_int8, tmp_path):
        folder = shutil.copytree(tiny_int8, tmp_path / "limited")
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        manifest["drop"] = {
            "measure": "nDCG@10 on mine",
            "limit": 0.01,
            "before": 0.02,
            "kept": 0.005,
            "put_back": ["layer.0.output"],
            "speed": {"int8_by_fp32": 3.0, "kept_by_fp32": 2.5, "kept_by_int8": 0.83},
        }
        manifest["method"]["floating_point_layers"] = ["layer.0.output"]
        manifest["source"]["revision"] = "abc123"
        (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        facts = facts_in(iqe("info", folder)[1])
        assert facts["limit"].startswith("nDCG@10 on mine: 0.5 % lost to fp32, 1 % allowed")
        assert facts["method"].endswith("in floating point: layer.0.output")
        assert facts["made from"].endswith("revision abc123")

    def test_a_calibrated_one_says_how(self, iqe, tiny_int8_of):
        folder = tiny_int8_of("openvino")
        facts = facts_in(iqe("info", folder)[1])
        alpha = json.loads((folder / "manifest.json").read_text("utf-8"))["method"]["smooth_quant_alpha"]
        assert facts["for"] == "runtime='openvino', precision='int8'"
        assert facts["method"].startswith(f"static int8, SmoothQuant {alpha:g} calibrated on ")

    @fails_where_onednn_is_limited
    def test_a_dynamic_one_has_no_calibration(self, iqe, tiny, tmp_path):
        pytest.importorskip("nncf", reason="the openvino extra is not installed")
        folder = quantize(tiny, tmp_path / "dynamic", runtime="openvino", method="dynamic", **FEW).folder
        assert facts_in(iqe("info", folder)[1])["method"] == "dynamic int8"

    def test_a_changed_file_is_told_after_everything_else_and_is_status_1(self, iqe, tiny_int8, tmp_path):
        folder = shutil.copytree(tiny_int8, tmp_path / "changed")
        with (folder / "tokenizer.json").open("a") as opened:
            opened.write(" ")
        status, shown, problem = iqe("info", folder)
        assert status == 1
        assert facts_in(shown)["hashes"] == "NOT as written"
        assert "tokenizer.json has changed since it was written" in problem
        status, shown, _ = iqe("info", folder, "--json")
        assert status == 1
        assert json.loads(shown)["hashes_verify"] is False
        assert "tokenizer.json" in json.loads(shown)["problem"]

    def test_scripts_get_the_manifest_as_it_is(self, iqe, tiny_int8):
        facts = json.loads(iqe("info", tiny_int8, "--json")[1])
        assert facts["manifest"] == json.loads((tiny_int8 / "manifest.json").read_text("utf-8"))
        assert (facts["kind"], facts["hashes_verify"], facts["problem"]) == ("quantized", True, None)
        assert facts["bytes"] == sum(file.stat().st_size for file in tiny_int8.rglob("*") if file.is_file())

    def test_of_a_cross_encoder_says_how_near_its_scores_are(self, iqe, tiny_cross_encoder_int8):
        status, shown, problem = iqe("info", tiny_cross_encoder_int8)
        assert (status, problem) == (0, "")
        facts = facts_in(shown)
        assert facts["gives"] == "scores of pairs, through sigmoid"
        assert facts["scores beside fp32"].startswith("rank correlation 0.9")
        assert facts["hashes"] == "every file is as it was written"
        assert "pooling" not in facts


class TestAnotherFolder:
    def test_shows_what_the_encoder_will_use(self, iqe, tiny):
        encoder = Encoder.load(tiny, precision="fp32")
        facts = json.loads(iqe("info", tiny, "--json")[1])
        assert facts["kind"] == "model"
        assert facts["dimension"] == encoder.dimension
        assert facts["settings"]["max_length"] == encoder.max_length
        assert facts["settings"]["pooling"] == encoder.settings.pooling.value
        assert facts["settings"]["query_instruction"] == encoder.settings.query_instruction
        assert facts["weights"]["files"] == ["model.safetensors"]
        shown = facts_in(iqe("info", tiny)[1])
        assert shown["architecture"] == "bert"
        assert shown["pooling"] == "mean, normalized"
        assert shown["int8"].startswith("quantized as it is read")

    def test_a_text_longer_than_the_model_has_positions_for_is_not_promised(self, iqe, tmp_path):
        folder = write_tiny_model(tmp_path / "long", max_length=5000)
        assert json.loads(iqe("info", folder, "--json")[1])["settings"]["max_length"] == 130
        assert Encoder.load(folder, precision="fp32").max_length == 130

    @pytest.mark.parametrize("activation", [None, "torch.nn.modules.linear.Identity"])
    def test_of_a_cross_encoder_shows_what_it_will_use(self, iqe, tmp_path, activation):
        folder = write_tiny_cross_encoder(tmp_path / "scorer", activation=activation, max_length=5000)
        status, shown, problem = iqe("info", folder)
        assert (status, problem) == (0, "")
        settings = CrossEncoder.load(folder, precision="fp32").settings
        facts = facts_in(shown)
        assert facts["gives"] == f"scores of pairs, through {settings.activation.value.lower()}"
        assert facts["longest pair"] == f"{settings.max_length} tokens"
        assert not {"pooling", "queries", "dimension"} & facts.keys()
        facts = json.loads(iqe("info", folder, "--json")[1])
        assert (facts["kind"], facts["gives"], facts["problem"]) == ("model", "scores", None)
        expected = {"max_length": 130, "activation": settings.activation.value, "lowercase": False, "modules": []}
        expected |= {"template": "", "instruction": "", "in_parts": False}
        assert facts["settings"] == expected

    @pytest.mark.parametrize("spoil", ["three labels", "no head", "an export", "no weights", "a softmax"])
    def test_of_a_cross_encoder_that_will_not_load_says_what_loading_says(self, iqe, tmp_path, spoil):
        labels = 3 if spoil == "three labels" else 1
        activation = "torch.nn.modules.activation.Softmax" if spoil == "a softmax" else None
        folder = write_tiny_cross_encoder(tmp_path / "scorer", labels=labels, activation=activation)
        weights = folder / "model.safetensors"
        if spoil == "no head":
            write_tiny_model(tmp_path / "encoder")
            shutil.copyfile(tmp_path / "encoder" / "model.safetensors", weights)
        elif spoil == "an export":
            (folder / "onnx").mkdir()
            weights.rename(folder / "onnx" / "model.onnx")
        elif spoil == "no weights":
            weights.rename(folder / "pytorch_model.bin")
        with pytest.raises(QuantizedEmbeddingsError) as error:
            CrossEncoder.load(folder, precision="fp32")
        status, _, problem = iqe("info", folder)
        assert status == 1
        if spoil == "no weights":
            assert "has no weights that can be read" in problem
        else:
            assert problem == f"iqe: {error.value}\n"

    def test_what_it_does_not_say_is_told_with_status_1(self, iqe, tmp_path):
        folder = write_tiny_model(tmp_path / "silent", pooling=None)
        status, shown, problem = iqe("info", folder)
        assert status == 1
        assert facts_in(shown)["dimension"] == "32"
        assert "pooling" not in facts_in(shown)
        assert "Pass pooling='cls' or pooling='mean'" in problem

    def test_a_known_name_fills_the_gap(self, iqe, tmp_path):
        folder = write_tiny_model(tmp_path / "e5-small-v2", pooling=None)
        status, shown, _ = iqe("info", folder)
        assert status == 0
        assert facts_in(shown)["queries"] == 'begin with "query: "'

    @pytest.mark.parametrize("spoil", ["pickled", "no tokenizer", "another architecture", "an LSTM module"])
    def test_what_cannot_be_loaded_is_status_1_with_the_reason(self, iqe, tmp_path, spoil):
        folder = write_tiny_model(tmp_path / "spoilt")
        if spoil == "pickled":
            (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
            reason = "no weights that can be read"
        elif spoil == "no tokenizer":
            (folder / "tokenizer.json").unlink()
            reason = "tokenizer.json is not there"
        elif spoil == "another architecture":
            config = json.loads((folder / "config.json").read_text("utf-8"))
            (folder / "config.json").write_text(json.dumps({**config, "model_type": "deberta-v2"}), "utf-8")
            reason = "'deberta-v2', which is not built in"
        else:
            modules = json.loads((folder / "modules.json").read_text("utf-8"))
            modules.append({"idx": 3, "name": "3", "path": "3_LSTM", "type": "sentence_transformers.models.LSTM"})
            (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
            reason = "a LSTM module"
        status, shown, problem = iqe("info", folder)
        assert status == 1
        assert reason in problem
        assert "int8" not in facts_in(shown)
        with pytest.raises(QuantizedEmbeddingsError):
            Encoder.load(folder, precision="fp32")

    def test_an_absent_one_is_one_line_and_no_hub_is_asked(self, iqe):
        for name in ("./absent", "someone/absent"):
            status, shown, problem = iqe("info", name)
            assert (status, shown) == (1, "")
            assert problem.count("\n") == 1


class TestModels:
    def test_are_listed_with_what_is_known_of_them(self, iqe):
        facts = json.loads(iqe("models", "--json")[1])
        assert facts["architectures"] == list(BUILT_IN)
        by_id = {model["id"]: model for kind in ("models", "cross_encoders", "sparse") for model in facts[kind]}
        assert by_id["jinaai/jina-embeddings-v5-text-nano-retrieval"] == {
            "id": "jinaai/jina-embeddings-v5-text-nano-retrieval",
            "architecture": "eurobert",
            "dimension": 768,
            "shorter_dimensions": [32, 64, 128, 256, 512],
            "pooling": "last",
            "query_instruction": "Query: ",
            "document_instruction": "Document: ",
            "licence": "cc-by-nc-4.0",
            "source": "https://huggingface.co/jinaai/jina-embeddings-v5-text-nano-retrieval",
        }
        assert by_id["BAAI/bge-reranker-v2-m3"] == {
            "id": "BAAI/bge-reranker-v2-m3",
            "architecture": "xlm-roberta",
            "licence": "apache-2.0",
            "source": "https://huggingface.co/BAAI/bge-reranker-v2-m3",
        }
        assert by_id["opensearch-project/opensearch-neural-sparse-encoding-doc-v2-mini"] == {
            "id": "opensearch-project/opensearch-neural-sparse-encoding-doc-v2-mini",
            "architecture": "bert",
            "vocabulary": 30522,
            "queries": "table",
            "licence": "apache-2.0",
            "source": "https://huggingface.co/opensearch-project/opensearch-neural-sparse-encoding-doc-v2-mini",
        }
        rows = {line.split()[0]: line.split()[1:] for line in iqe("models")[1].splitlines() if line.strip()}
        assert all(model in rows for model in by_id)
        assert rows["jinaai/jina-embeddings-v5-text-nano-retrieval"] == ["32-768", "cc-by-nc-4.0"]
        assert rows["BAAI/bge-m3"] == ["1024", "mit"]

    def test_stand_below_what_they_begin_with(self, iqe):
        """Models that pool alike and take the same instructions are together; blanks and newlines are seen."""
        _, shown, _ = iqe("models")
        assert all(architecture in shown for architecture in BUILT_IN)
        tables = shown.split("\n\n")
        task = "Instruct: Given a web search query, retrieve relevant\n  passages that answer the query"
        for model, heading in (
            ("BAAI/bge-m3", "pooling cls, no instructions\n---"),
            (
                "lightonai/DenseOn",
                'pooling cls\n  queries begin with "query: "\n  documents begin with "document: "\n---',
            ),
            ("Qwen/Qwen3-Embedding-0.6B", f'pooling last\n  queries begin with "{task}\\nQuery:"\n---'),
            ("microsoft/harrier-oss-v1-270m", f'pooling last\n  queries begin with "{task}\\nQuery: "\n---'),
            ("BAAI/bge-reranker-base", "cross-encoders\n---"),
            ("ibm-granite/granite-embedding-30m-sparse", "sparse models\n---"),
            (
                "opensearch-project/opensearch-neural-sparse-encoding-doc-v1",
                "sparse models, queries looked up in a table\n---",
            ),
        ):
            (table,) = (table for table in tables if f"\n{model} " in table)
            assert table.startswith(heading)

    @pytest.mark.parametrize("columns", [80, 120])
    def test_fit_the_terminal(self, iqe, columns):
        assert max(map(len, iqe("models", columns=columns)[1].splitlines())) <= columns


# mteb has the models that these were merged from, or not this size.
_IN_MTEB = {
    "jinaai/jina-embeddings-v5-text-nano-retrieval": "jinaai/jina-embeddings-v5-text-nano",
    "jinaai/jina-embeddings-v5-text-small-retrieval": "jinaai/jina-embeddings-v5-text-small",
    "Alibaba-NLP/gte-large-en-v1.5": None,
    "cross-encoder/ms-marco-electra-base": None,
    "BAAI/bge-reranker-base": None,
    "BAAI/bge-reranker-large": None,
    "BAAI/bge-reranker-v2-m3": None,
    "Alibaba-NLP/gte-reranker-modernbert-base": None,
    "Alibaba-NLP/gte-multilingual-reranker-base": None,
    "ibm-granite/granite-embedding-30m-sparse": None,
}


@pytest.mark.reference
def test_facts_are_those_that_mteb_keeps():
    mteb = pytest.importorskip("mteb", reason="mteb is not installed: the `mteb` extra brings it")
    for known in KNOWN_MODELS:
        for model, listed in known.models.items():
            if (name := _IN_MTEB.get(model, model)) is None:
                continue
            meta = mteb.get_model_meta(name)
            sizes = [meta.embed_dim] if isinstance(meta.embed_dim, int) else sorted(meta.embed_dim)
            assert (sizes[-1], meta.license) == (listed.dimension, known.licence), model
            assert len(sizes) == 1 or tuple(sizes[:-1]) == listed.shorter, model
            prompts = (meta.loader_kwargs or {}).get("model_prompts", {})
            for kind, text in (("query", known.query_instruction), ("document", known.document_instruction)):
                kept = prompts.get(kind, prompts.get(f"Retrieval-{kind}"))
                assert kept is None or kept.removesuffix("{text}") == text, model
    for model, listed in KNOWN_CROSS_ENCODERS.items():
        if (name := _IN_MTEB.get(model, model)) is not None:
            assert mteb.get_model_meta(name).license == listed.licence, model
    for model, sparse in KNOWN_SPARSE.items():
        if (name := _IN_MTEB.get(model, model)) is not None:
            meta = mteb.get_model_meta(name)
            assert (meta.embed_dim, meta.license) == (sparse.vocabulary, sparse.licence), model


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m intel_quantized_embeddings.cli models --json | head -n 1"
    ended = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "{\n", "")
