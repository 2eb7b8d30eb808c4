"""`EmbedDocuments` on real Ray: what actors return, which cores they have, how they fail; and as it is, without Ray."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from support.documents import block_with
from support.local_ray import local_ray

pytest.importorskip("ray", reason="Ray is not installed: the `ray` extra brings it (make test runs this in .venv)")

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import InvalidTextError, OptionError, OtherEncoderError
from intel_quantized_embeddings.integrations.ray import EmbedDocuments
from intel_quantized_embeddings.process.cores import affinity, cpu_quota

TEXTS = ["the cat sat on the mat", "a cold river", "music and light in the old city"]


@pytest.fixture(scope="module")
def embed(tiny_int8) -> EmbedDocuments:
    """Constructed as it is, outside an actor."""
    return EmbedDocuments(tiny_int8)


@pytest.fixture(scope="module")
def two_cpus():
    if len(affinity()) < 2:
        pytest.skip("two actors that pin themselves need two cores")
    with local_ray(num_cpus=2):
        yield


def watched(died: Path | None = None) -> type[EmbedDocuments]:
    """The class with two columns more: an actor's process, and where all its threads may run.

    Args:
        died: If given, the first actor that is called is killed in the middle of it and this file written.
    """

    class Watched(EmbedDocuments):  # defined here, as Ray's workers can't import this module
        def __call__(self, batch):
            if died is not None and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            batch = super().__call__(batch)
            rows = len(batch["vector"])
            cores = {tuple(sorted(os.sched_getaffinity(int(task)))) for task in os.listdir("/proc/self/task")}
            told = {"process": [os.getpid()] * rows, "cores": [sorted(cores)[0] if len(cores) == 1 else ()] * rows}
            if isinstance(batch, dict):
                return batch | {name: np.array(values) for name, values in told.items()}
            for name, values in told.items():
                batch = batch.append_column(name, pa.array(values))
            return batch

    return Watched


def embedded(batch_format: str, actor: type[EmbedDocuments], **options: object) -> list[dict]:
    """What two actors of one core make of 200 texts."""
    texts = [{"id": n, "text": f"{TEXTS[n % 3]} {n}"} for n in range(200)]
    dataset = ray.data.from_items(texts, override_num_blocks=20).map_batches(
        actor,
        fn_constructor_kwargs=options,
        batch_format=batch_format,
        batch_size=10,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=2),
    )
    return sorted(dataset.take_all(), key=lambda row: row["id"])


@pytest.mark.usefixtures("two_cpus")
class TestActors:
    def test_return_each_texts_vector_to_the_bit_on_a_core_of_their_own(self, tiny_int8, tiny_encoder):
        rows = embedded("numpy", watched(), model=tiny_int8, fingerprint=tiny_encoder.fingerprint)
        assert [row["id"] for row in rows] == list(range(200))
        expected = tiny_encoder.encode_documents([row["text"] for row in rows])
        assert rows[0]["vector"].dtype == np.float32
        np.testing.assert_array_equal(np.stack([row["vector"] for row in rows]), expected)
        if cpu_quota() is not None:
            pytest.skip("nothing is pinned under a CPU quota")
        cores = {row["process"]: tuple(row["cores"]) for row in rows}
        assert {len(taken) for taken in cores.values()} == {1}
        assert len(set(cores.values())) == len(cores)

    @pytest.mark.slow
    def test_quantize_once_and_outlive_one_of_them(self, tiny, tmp_path):
        """Both ask for OpenVINO's int8 of an fp32 model at once; the first to be called dies, another takes over."""
        asked = {"model": tiny, "runtime": "openvino", "cache_folder": tmp_path / "cache"}
        rows = embedded("pyarrow", watched(tmp_path / "died"), **asked)
        assert (tmp_path / "died").exists()
        (int8,) = (folder for folder in (tmp_path / "cache" / "int8").iterdir() if folder.is_dir())
        expected = Encoder.load(int8).encode_documents([row["text"] for row in rows])
        np.testing.assert_array_equal(np.array([row["vector"] for row in rows], np.float32), expected)
        assert [row["id"] for row in rows] == list(range(200))

    def test_that_are_given_another_model_say_so(self, tiny_int8):
        with pytest.raises(ray.exceptions.RayError, match=r"OtherEncoderError: .* and another is wanted"):
            embedded("pyarrow", EmbedDocuments, model=tiny_int8, fingerprint="another")

    def test_need_whole_cpus(self, tiny_int8):
        actor = ray.remote(num_cpus=0.5)(EmbedDocuments).remote(tiny_int8)
        with pytest.raises(ray.exceptions.RayError, match=r"OptionError: Ray gave this actor 0.5 CPUs"):
            ray.get(actor.__ray_ready__.remote())


@pytest.mark.usefixtures("two_cpus")
def test_the_snippet_of_the_documentation_runs(minilm_int8, tmp_path, monkeypatch, capsys):
    snippet = block_with("scaling.md", "EmbedDocuments")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minilm-int8").symlink_to(minilm_int8, target_is_directory=True)
    snippet.run(capsys, known={})


class TestBatches:
    def test_of_arrow_get_a_column_that_parquet_holds_as_lists_of_float(self, embed, tiny_encoder, tmp_path):
        table = embed(pa.table({"id": [1, 2, 3], "text": TEXTS}))
        assert table.schema.field("vector").type == pa.list_(pa.float32(), 32)
        pq.write_table(table, tmp_path / "part.parquet")
        read = pq.read_table(tmp_path / "part.parquet", columns=["vector"]).to_pandas()["vector"]
        np.testing.assert_array_equal(np.stack(read.to_list()), tiny_encoder.encode_documents(TEXTS))

    def test_of_numpy_get_an_array(self, embed, tiny_encoder):
        for texts in (np.array(TEXTS), np.array(TEXTS, dtype=object)):
            batch = embed({"text": texts, "id": np.arange(3)})
            assert list(batch) == ["text", "id", "vector"]
            np.testing.assert_array_equal(batch["vector"], tiny_encoder.encode_documents(TEXTS))

    @pytest.mark.parametrize(
        "text_type", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
    )
    def test_may_hold_text_in_any_of_arrows_types(self, embed, tiny_encoder, text_type):
        table = pa.table({"text": pa.chunked_array([TEXTS[:1], TEXTS[1:]]).cast(text_type)})
        vectors = embed(table)["vector"].to_pylist()
        np.testing.assert_array_equal(np.array(vectors, np.float32), tiny_encoder.encode_documents(TEXTS))

    def test_may_be_empty(self, embed):
        table = embed(pa.table({"text": pa.array([], pa.string())}))
        assert (table.num_rows, table.schema.field("vector").type) == (0, pa.list_(pa.float32(), 32))
        assert embed({"text": np.array([], object)})["vector"].shape == (0, 32)

    def test_columns_may_have_other_names(self, tiny_int8):
        embed = EmbedDocuments(tiny_int8, text_column="body", vector_column="embedding")
        assert embed(pa.table({"body": TEXTS})).column_names == ["body", "embedding"]

    def test_are_embedded_with_the_options_of_the_encoder(self, tiny_int8, tiny_encoder):
        embed = EmbedDocuments(tiny_int8, document_instruction="find ", num_threads=1)
        expected = tiny_encoder.encode(TEXTS, instruction="find ")
        np.testing.assert_array_equal(embed({"text": np.array(TEXTS)})["vector"], expected)


class TestMistakes:
    def test_another_column(self, embed):
        for batch in (pa.table({"id": [1], "body": ["a"]}), {"id": np.array([1]), "body": np.array(["a"])}):
            with pytest.raises(OptionError, match=r"no column 'text'; text_column= takes one of \['id', 'body'\]"):
                embed(batch)

    def test_a_column_in_the_way(self, embed):
        with pytest.raises(OptionError, match="'vector' already"):
            embed(pa.table({"text": ["a"], "vector": [1]}))

    @pytest.mark.parametrize("value", [None, 5, b"bytes", ["a", "list"]])
    def test_what_is_not_text(self, embed, value):
        with pytest.raises(InvalidTextError, match=r"column 'text', .* text 0 is .* of type"):
            embed(pa.table({"text": [value]}))
        with pytest.raises(InvalidTextError, match=r"column 'text', .* text 1 is .* of type"):
            embed({"text": np.array(["text", value], dtype=object)})

    def test_pandas(self, embed):
        with pytest.raises(OptionError, match=r"DataFrame.*batch_format='pyarrow'"):
            embed(pa.table({"text": TEXTS}).to_pandas())

    def test_another_encoder(self, tiny_int8):
        with pytest.raises(OtherEncoderError, match="another is wanted"):
            EmbedDocuments(tiny_int8, fingerprint="another")

    @pytest.mark.parametrize(
        ("option", "value"),
        [("text_column", 1), ("vector_column", ""), ("pin_cores", 1), ("precision", "int9"), ("batch_size", 32)],
    )
    def test_a_wrong_option(self, tiny_int8, option, value):
        with pytest.raises(OptionError, match=option):
            EmbedDocuments(tiny_int8, **{option: value})


def test_outside_an_actor_nothing_is_pinned(tiny_int8):
    before = os.sched_getaffinity(0)
    EmbedDocuments(tiny_int8)
    assert os.sched_getaffinity(0) == before
