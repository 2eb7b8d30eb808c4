"""Routers: one model for queries, another for documents, behind one Encoder."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from intel_quantized_embeddings import CrossEncoder, Encoder, quantize
from intel_quantized_embeddings.errors import OptionError, QuantizedEmbeddingsError, UnsupportedModelError
from intel_quantized_embeddings.integrations.sentence_transformers import IntelQuantizedSentenceTransformer
from support.few_texts import FEW
from support.tiny_models import HIDDEN, write_tiny_router

TEXTS = ["the cat sat on the mat", "", "water", "a small house in the old city"]


@pytest.fixture
def folder(tmp_path):
    return write_tiny_router(tmp_path / "router", prompts={"query": "the "})


def _load(folder, **options):
    return Encoder.load(folder, **{"precision": "fp32", "warm_shapes": False, **options})


def _change(folder, **parameters):
    file = folder / "router_config.json"
    content = json.loads(file.read_text())
    content["parameters"] |= parameters
    file.write_text(json.dumps(content))
    return folder


class TestLoaded:
    def test_queries_and_documents_go_their_ways(self, folder):
        encoder = _load(folder)
        query, document = (_load(folder / f"{route}_0_Transformer") for route in ("query", "document"))
        assert np.array_equal(encoder.encode_queries(TEXTS), query.encode_queries(TEXTS))
        assert np.array_equal(encoder.encode_documents(TEXTS), document.encode_documents(TEXTS))
        assert query.settings.modules == (f"Dense {HIDDEN} to {HIDDEN}, Tanh",)
        assert query.settings.query_instruction == "the "
        assert document.settings.normalize
        assert np.abs(query.encode_documents(TEXTS) - document.encode_documents(TEXTS)).max() > 1e-2

    @pytest.mark.parametrize("default", ["query", "document", None])
    def test_other_texts_go_the_default_way(self, folder, default):
        encoder = _load(_change(folder, default_route=default))
        way = encoder.for_documents if default == "document" else encoder.for_queries  # the first, where none is named
        assert np.array_equal(encoder.encode(TEXTS, instruction=""), way.encode(TEXTS, instruction=""))

    def test_both_are_in_the_fingerprint(self, folder):
        before = _load(folder).fingerprint
        for file in ("query_2_Dense/model.safetensors", "document_0_Transformer/model.safetensors"):
            weights = load_file(folder / file)
            name = next(iter(weights))
            save_file({**weights, name: weights[name] + 1}, folder / file)
            changed = _load(folder).fingerprint
            assert changed != before
            before = changed

    def test_it_pickles(self, folder):
        encoder = _load(folder)
        again = pickle.loads(pickle.dumps(encoder))
        assert again.fingerprint == encoder.fingerprint
        assert np.array_equal(again.encode_queries(TEXTS), encoder.encode_queries(TEXTS))

    def test_options_hold_for_both(self, folder):
        encoder = _load(folder, truncate_dim=7, normalize=False)
        for vectors in (encoder.encode_queries(TEXTS), encoder.encode_documents(TEXTS)):
            assert vectors.shape == (len(TEXTS), 7)
            assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() > 1e-2

    def test_int8_of_both_is_made_while_they_are_read(self, folder):
        fp32, int8 = _load(folder), _load(folder, precision="int8")
        assert int8.fingerprint.count("native-int8-") == 2
        for method in ("encode_queries", "encode_documents"):
            cosines = (getattr(fp32, method)(TEXTS) * getattr(int8, method)(TEXTS)).sum(axis=1)
            assert cosines.min() > 0.98

    def test_the_shape_of_a_sentence_transformer_goes_the_same_ways(self, folder):
        encoder = _load(folder)
        model = IntelQuantizedSentenceTransformer(encoder)
        assert np.array_equal(model.encode_query(TEXTS), encoder.encode_queries(TEXTS))
        assert np.array_equal(model.encode_document(TEXTS), encoder.encode_documents(TEXTS))

    @pytest.mark.parametrize("runtime", [None, "native", "openvino"])
    def test_a_static_model_may_be_one_of_them(self, tmp_path, runtime):
        folder = write_tiny_router(tmp_path / "router", static_queries=True)
        encoder, document = _load(folder, runtime=runtime), _load(folder / "document_0_Transformer", runtime=runtime)
        assert np.array_equal(encoder.encode_documents(TEXTS), document.encode_documents(TEXTS))
        assert encoder.fingerprint == f"{document.fingerprint}+{encoder.for_queries.fingerprint}"
        assert encoder.for_queries.fingerprint.startswith("static-fp32-mean-")
        static = _load(folder / "query_0_StaticEmbedding")
        assert np.array_equal(encoder.encode_queries(TEXTS), static.encode_queries(TEXTS))
        with pytest.raises(UnsupportedModelError, match="nothing to quantize; load the Router as it is"):
            quantize(folder, tmp_path / "int8", **FEW)

    def test_a_service_has_one_model(self, folder):
        pytest.importorskip("starlette", reason="the `serve` extra brings it")
        pytest.importorskip("prometheus_client", reason="the `serve` extra brings it")
        from intel_quantized_embeddings.serving.served import ServedModel

        with pytest.raises(OptionError, match="is a Router of two models"):
            ServedModel.of(_load(folder), name="router")


@pytest.mark.parametrize("runtime", ["native", "openvino"])
class TestInt8Folder:
    def test_holds_both(self, folder, runtime, tmp_path):
        report = quantize(folder, tmp_path / "int8", runtime=runtime, search=False, **FEW)
        encoder, fp32 = Encoder.load(tmp_path / "int8"), _load(folder, runtime=runtime)
        assert encoder.fingerprint.count(f"{runtime}-int8-") == 2
        assert encoder.for_queries.settings == fp32.for_queries.settings
        for method in ("encode_queries", "encode_documents"):
            cosines = (getattr(encoder, method)(TEXTS) * getattr(fp32, method)(TEXTS)).sum(axis=1)
            assert cosines.mean() > 0.98
        assert report.folder == tmp_path / "int8"
        assert report.bytes_after > 0
        assert min(report.fidelity.queries.mean, report.fidelity.documents.mean) > 0.98


def test_the_folder_of_both_is_replaced_when_asked(folder, tmp_path):
    """It has no manifest but those of its routes."""
    quantize(folder, tmp_path / "int8", search=False, **FEW)
    (tmp_path / "int8" / "stale").write_text("from before")
    quantize(folder, tmp_path / "int8", search=False, overwrite=True, **FEW)
    assert not (tmp_path / "int8" / "stale").exists()


class TestRefused:
    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"route_mappings": {"('query', 'text')": "query"}}, "route_mappings="),
            ({"default_route": None, "allow_empty_key": False}, "allow_empty_key=false"),
            ({"unheard_of": 1}, "unheard_of=1"),
        ],
    )
    def test_what_else_a_router_may_do_is_named(self, folder, parameters, message):
        with pytest.raises(UnsupportedModelError, match=message):
            _load(_change(folder, **parameters))

    def test_other_routes_are_named(self, folder):
        file = folder / "router_config.json"
        content = json.loads(file.read_text())
        content["structure"]["image"] = content["structure"].pop("query")
        file.write_text(json.dumps(content))
        with pytest.raises(UnsupportedModelError, match="has the routes document, image; built in are"):
            _load(folder)

    def test_two_routes_that_part_behind_a_module_are_named(self, folder):
        """Its folder tells of one way on; the same way for both is no such thing."""
        file = folder / "router_config.json"
        content = json.loads(file.read_text())
        content["structure"]["document"] = content["structure"]["query"][:2]
        file.write_text(json.dumps(content))
        with pytest.raises(UnsupportedModelError, match="begins both routes with the module 'query_0_Transformer'"):
            _load(folder)
        content["structure"]["document"] = content["structure"]["query"]
        file.write_text(json.dumps(content))
        encoder = _load(folder)
        assert np.array_equal(encoder.encode_documents(["the cat"]), encoder.encode_queries(["cat"]))

    def test_vectors_of_two_sizes_are_not_mixed(self, folder):
        file = folder / "query_2_Dense" / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "out_features": 9}))
        weights = load_file(folder / "query_2_Dense" / "model.safetensors")
        halved = {name: weight[:9] for name, weight in weights.items()}
        save_file(halved, folder / "query_2_Dense" / "model.safetensors")
        with pytest.raises(UnsupportedModelError, match="9 numbers of queries and of 32 of documents"):
            _load(folder)
        assert _load(folder, truncate_dim=9).dimension == 9

    @pytest.mark.parametrize("path", ["../outside", "/etc"])
    def test_nothing_is_read_outside_the_folder(self, folder, path):
        file = folder / "router_config.json"
        content = json.loads(file.read_text())
        content["structure"]["query"][0] = path
        file.write_text(json.dumps(content))
        with pytest.raises(QuantizedEmbeddingsError, match="outside the folder"):
            _load(folder)

    def test_an_asym_and_a_router_without_its_file_are_named(self, folder):
        (folder / "router_config.json").unlink()
        with pytest.raises(UnsupportedModelError, match=r"has a Router module in a place.*load the two apart"):
            _load(folder)

    def test_it_scores_no_pairs_and_has_no_limit_of_its_loss(self, folder, tmp_path):
        with pytest.raises(UnsupportedModelError, match=r"router is a Router.*Encoder\.load"):
            CrossEncoder.load(folder)
        with pytest.raises(OptionError, match=r"max_drop=0\.1 is not available for router"):
            quantize(folder, tmp_path / "int8", max_drop=0.1, **FEW)


def test_the_command_line_shows_both(folder, capsys):
    from intel_quantized_embeddings.cli import main

    assert main(["info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["problem"], list(facts["routes"])) == ("router", None, ["query", "document"])
    assert main(["info", str(folder)]) == 0
    assert "document_0_Transformer" in capsys.readouterr().out


@pytest.mark.reference
@pytest.mark.parametrize("runtime", ["native", "openvino"])
def test_vectors_are_those_of_sentence_transformers(folder, runtime):
    theirs = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    reference, encoder = theirs.SentenceTransformer(str(folder), device="cpu"), _load(folder, runtime=runtime)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS), reference.encode_query(TEXTS), atol=2e-5)
    np.testing.assert_allclose(encoder.encode_documents(TEXTS), reference.encode_document(TEXTS), atol=2e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS, instruction=""), reference.encode(TEXTS), atol=2e-5)
    reference.save_pretrained(str(folder / "saved"))
    saved = _load(folder / "saved", runtime=runtime)
    assert np.array_equal(saved.encode_queries(TEXTS), encoder.encode_queries(TEXTS))
    assert np.array_equal(saved.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
