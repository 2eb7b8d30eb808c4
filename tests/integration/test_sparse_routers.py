"""Sparse models behind a Router: queries looked up in a table of weights, documents through a masked-LM head."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from intel_quantized_embeddings import Encoder, SparseEncoder, quantize, quantize_sparse
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.encoders.sparse_encoder import weights_of
from intel_quantized_embeddings.errors import (
    DamagedFilesError,
    ModelFilesError,
    OptionError,
    QuantizedEmbeddingsError,
    UnsupportedModelError,
)
from support.few_texts import FEW
from support.tiny_models import (
    VOCABULARY,
    write_tiny_model,
    write_tiny_router,
    write_tiny_sparse_router,
    write_tiny_weight_table,
)

pytest.importorskip("scipy", reason="SciPy is not installed (the extra `sparse`)")

TEXTS = ["the cat sat on the mat", "", "water", "a small house in the old city"]
TABLE = "query_0_SparseStaticEmbedding"


@pytest.fixture
def folder(tmp_path):
    return write_tiny_sparse_router(tmp_path / "router", own={"prompts": {"query": "what ", "document": "a "}})


def _load(folder, **options):
    return SparseEncoder.load(folder, **{"precision": "fp32", "warm_shapes": False, **options})


def _change(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


class TestLoaded:
    def test_a_query_has_the_weights_of_its_own_tokens(self, folder):
        weights = load_file(folder / TABLE / "model.safetensors")["weight"]
        encoder = _load(folder)
        (found,) = weights_of(encoder.encode_queries(["the cat the cat"]))
        ids = {VOCABULARY.index(word) for word in ("what", "the", "cat")}
        assert found == {id_: float(weights[id_]) for id_ in sorted(ids) if weights[id_]}
        assert encoder.decode(encoder.encode(["cat"])) != encoder.decode(encoder.encode_queries(["cat"]))
        assert encoder.for_queries.settings.pooling_name == "table"

    @pytest.mark.parametrize("runtime", ["native", "openvino"])
    def test_documents_go_through_the_layers(self, folder, runtime):
        if runtime == "openvino":
            pytest.importorskip("openvino", reason="OpenVINO is not installed (the extra `openvino`)")
        encoder, alone = _load(folder, runtime=runtime), _load(folder / "document_0_MLMTransformer", runtime=runtime)
        assert (encoder.encode_documents(TEXTS) != alone.encode_documents(TEXTS)).nnz == 0
        assert encoder.fingerprint == f"{alone.fingerprint}+{encoder.for_queries.fingerprint}"
        assert encoder.for_queries.fingerprint.startswith("static-fp32-sparse-")
        assert encoder.dimension == len(VOCABULARY)

    @pytest.mark.parametrize("default", ["query", "document", None])
    def test_other_texts_go_the_default_way(self, tmp_path, default):
        """The first that is listed, where none is named."""
        encoder = _load(write_tiny_sparse_router(tmp_path, default=default))
        way = encoder.for_documents if default == "document" else encoder.for_queries
        assert (encoder.encode(TEXTS) != way.encode(TEXTS)).nnz == 0
        ids = encoder.tokenize(TEXTS[:1], instruction="").token_ids
        assert (encoder.encode_token_ids(ids) != way.encode(TEXTS[:1])).nnz == 0

    def test_the_documents_model_may_be_in_the_routers_own_folder(self, folder, tmp_path):
        """As OpenSearch's repositories have it: it is the same model."""
        published = write_tiny_sparse_router(
            tmp_path / "published", as_published=True, own={"prompts": {"query": "what ", "document": "a "}}
        )
        assert not (published / "document_0_MLMTransformer").exists()
        assert _load(published).fingerprint == _load(folder).fingerprint
        assert SparseEncoder.load(published).fingerprint == SparseEncoder.load(folder).fingerprint

    def test_both_are_in_the_fingerprint(self, folder):
        before = _load(folder).fingerprint
        for file in (f"{TABLE}/model.safetensors", "document_0_MLMTransformer/model.safetensors"):
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
        assert (again.encode_queries(TEXTS) != encoder.encode_queries(TEXTS)).nnz == 0

    def test_options_hold_for_both(self, folder):
        encoder = _load(folder, max_length=3, query_instruction="")
        assert weights_of(encoder.encode_queries([TEXTS[0]])) == weights_of(encoder.encode_queries(["the cat sat"]))
        assert encoder.for_documents.max_length == 3
        for vectors in (encoder.encode_queries(TEXTS, max_active_dims=1), _load(folder).encode_documents(TEXTS)[:0]):
            assert (np.diff(vectors.indptr) <= 1).all()

    def test_a_tables_weights_below_0_are_kept_by_their_size(self, folder):
        weights = load_file(folder / TABLE / "model.safetensors")["weight"]
        weights[:] = 0
        weights[[VOCABULARY.index(word) for word in ("cat", "mat", "sat")]] = -3, 1, 2
        save_file({"weight": weights}, folder / TABLE / "model.safetensors")
        (kept,) = weights_of(_load(folder).encode_queries(["the cat sat on the mat"], max_active_dims=2))
        assert kept == {VOCABULARY.index("cat"): -3.0, VOCABULARY.index("sat"): 2.0}

    def test_int8_of_the_documents_model_is_made_while_it_is_read(self, folder):
        fp32, int8 = _load(folder), _load(folder, precision="int8")
        assert int8.fingerprint.startswith("native-int8-sparse-")
        assert (int8.encode_queries(TEXTS) != fp32.encode_queries(TEXTS)).nnz == 0
        one, other = fp32.encode_documents(TEXTS).toarray(), int8.encode_documents(TEXTS).toarray()
        assert ((one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).min() > 0.99

    def test_queries_may_have_layers_too(self, tmp_path):
        encoder = _load(write_tiny_sparse_router(tmp_path / "router", layered_queries=True))
        assert encoder.for_queries.settings.pooling_name == encoder.for_documents.settings.pooling_name == "splade"
        assert (encoder.encode_queries(TEXTS) != encoder.encode_documents(TEXTS)).nnz > 0

    def test_a_table_may_be_all_of_a_model(self, tmp_path):
        table = write_tiny_weight_table(tmp_path, max_length=None)
        kind = "sentence_transformers.sparse_encoder.modules.sparse_static_embedding.SparseStaticEmbedding"
        (table / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
        encoder = SparseEncoder.load(table)
        assert encoder.fingerprint.startswith("static-fp32-sparse-")
        assert (encoder.encode_queries(TEXTS) != encoder.encode_documents(TEXTS)).nnz == 0
        with pytest.raises(OptionError, match="runtime='native' is not available"):
            SparseEncoder.load(table, runtime="native")
        with pytest.raises(OptionError, match="precision='bf16' is not available"):
            SparseEncoder.load(table, precision="bf16")
        with pytest.raises(UnsupportedModelError, match="nothing to quantize"):
            quantize_sparse(table, tmp_path / "int8")


class TestInt8Folder:
    @pytest.mark.parametrize("runtime", ["native", "openvino"])
    @pytest.mark.parametrize("as_published", [False, True])
    def test_holds_the_table_as_it_was(self, runtime, as_published, tmp_path):
        if runtime == "openvino":
            pytest.importorskip("openvino", reason="OpenVINO is not installed (the extra `openvino`)")
        folder = write_tiny_sparse_router(
            tmp_path / "router", as_published=as_published, own={"max_active_dims": 9, "prompts": {"query": "what "}}
        )
        report = quantize_sparse(folder, tmp_path / "int8", runtime=runtime, search=False, **FEW)
        encoder, fp32 = SparseEncoder.load(tmp_path / "int8"), _load(folder, runtime=runtime)
        assert encoder.fingerprint.endswith(f"+{fp32.for_queries.fingerprint}")
        assert encoder.fingerprint.startswith(f"{runtime}-int8-sparse-")
        assert (encoder.encode_queries(TEXTS) != fp32.encode_queries(TEXTS)).nnz == 0
        assert encoder.for_documents.settings == fp32.for_documents.settings
        assert report.folder == tmp_path / "int8"
        assert report.fidelity.queries is None
        assert report.fidelity.documents.mean > 0.9
        assert min(report.bytes_before, report.bytes_after) > (folder / TABLE / "model.safetensors").stat().st_size

    def test_a_second_one_replaces_it_when_asked(self, folder, tmp_path):
        for overwrite in (False, True):
            quantize_sparse(folder, tmp_path / "int8", measure=False, overwrite=overwrite, **FEW)
        with pytest.raises(OptionError, match="exists"):
            quantize_sparse(folder, tmp_path / "int8", measure=False, **FEW)

    def test_both_may_have_layers(self, tmp_path):
        folder = write_tiny_sparse_router(tmp_path / "router", layered_queries=True)
        report = quantize_sparse(folder, tmp_path / "int8", **FEW)
        assert min(report.fidelity.documents.mean, report.fidelity.queries.mean) > 0.99
        assert SparseEncoder.load(tmp_path / "int8").fingerprint.count("native-int8-sparse-") == 2

    def test_what_the_copied_table_would_not_know_is_refused(self, folder, tmp_path):
        with pytest.raises(OptionError, match=r"query_instruction='a ' .* looked up in a table"):
            quantize_sparse(folder, tmp_path / "int8", query_instruction="a ", **FEW)

    def test_the_command_says_that_queries_are_looked_up(self, folder, tmp_path, capsys):
        texts = tmp_path / "texts.txt"
        texts.write_text("\n".join(FEW["calibration_texts"]))
        told = ["--calibration", str(texts), "--calibration-queries", str(texts)]
        assert main(["quantize", str(folder), str(tmp_path / "int8"), *told]) == 0
        assert "queries:   looked up in a table, as before" in capsys.readouterr().out
        for one in (folder, tmp_path / "int8"):
            assert main(["info", str(one)]) == 0
            said = " ".join(capsys.readouterr().out.split())
            assert "own tokens, looked up in a table, all kept" in said
            assert "nothing to quantize: a table" in said


class TestRefused:
    def test_each_class_names_the_other(self, folder, tmp_path):
        with pytest.raises(UnsupportedModelError, match=r"make sparse vectors: load it with SparseEncoder\.load"):
            Encoder.load(folder)
        with pytest.raises(UnsupportedModelError, match=r"table of tokens' weights, .*SparseEncoder\.load"):
            Encoder.load(folder / TABLE)
        with pytest.raises(UnsupportedModelError, match=r"embeddings of one vector a text: load it with Encoder\.load"):
            SparseEncoder.load(write_tiny_router(tmp_path / "dense"))
        with pytest.raises(UnsupportedModelError, match="quantize it with quantize_sparse"):
            quantize(folder, tmp_path / "int8")

    def test_vectors_of_two_sizes_are_not_mixed(self, folder):
        save_file({"weight": np.ones(9, dtype=np.float32)}, folder / TABLE / "model.safetensors")
        with pytest.raises(UnsupportedModelError, match=r"9 numbers of queries .* can't be compared\.$"):
            _load(folder)

    def test_a_token_without_a_weight_is_of_another_model(self, folder):
        weights = load_file(folder / TABLE / "model.safetensors")["weight"]
        save_file({"weight": weights[:20]}, folder / TABLE / "model.safetensors")
        with pytest.raises(DamagedFilesError, match=r"has no weight: the table has 20"):
            _load(folder / TABLE).encode_queries(["cat"])

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"path": "idf.json"}, UnsupportedModelError, r"path='idf\.json'"),
            ({"scale": 2}, UnsupportedModelError, "a key that is not known here"),
        ],
    )
    def test_keys_that_would_change_weights_are_named(self, folder, change, error, message):
        _change(folder / TABLE / "config.json", **change)
        with pytest.raises(error, match=message):
            _load(folder)

    def test_weights_are_read_from_safetensors_of_their_shape(self, folder):
        file = folder / TABLE / "model.safetensors"
        save_file({"weight": np.ones((3, 2), dtype=np.float32)}, file)
        with pytest.raises(DamagedFilesError, match="one weight for each token is expected"):
            _load(folder)
        file.unlink()
        with pytest.raises(ModelFilesError, match="unpickling runs code"):
            _load(folder)

    def test_nothing_stands_behind_a_table(self, folder):
        _change(folder / "router_config.json", structure={"query": [TABLE, "document_1_SpladePooling"]})
        config = json.loads((folder / "router_config.json").read_text())
        config["structure"]["document"] = ["document_0_MLMTransformer", "document_1_SpladePooling"]
        (folder / "router_config.json").write_text(json.dumps(config))
        with pytest.raises(UnsupportedModelError, match="is built in alone"):
            _load(folder)

    def test_documents_of_a_table_are_not_quantized(self, folder, tmp_path):
        config = json.loads((folder / "router_config.json").read_text())
        config["structure"]["document"] = [TABLE]
        (folder / "router_config.json").write_text(json.dumps(config))
        assert (_load(folder).encode_documents(["cat"]) != _load(folder).encode(["a cat"])).nnz == 0
        with pytest.raises(UnsupportedModelError, match="looks documents up in a table"):
            quantize_sparse(folder, tmp_path / "int8", **FEW)

    def test_a_dense_models_route_is_no_sparse_model(self, folder):
        shutil.rmtree(folder / "document_0_MLMTransformer")
        write_tiny_model(folder / "document_0_MLMTransformer", pooling=None)
        with pytest.raises(QuantizedEmbeddingsError, match="without the masked-LM head"):
            _load(folder)
