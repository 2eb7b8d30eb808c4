"""`ingest`, `query` and the commands of these names, on Chroma's embedded client."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.errors import InvalidTextError, OptionError, OtherEncoderError, VectorStoreError
from intel_quantized_embeddings.ingestion import IngestionReport, ingest, query, run
from intel_quantized_embeddings.integrations.chroma_collections import connect, open_collection
from support.cpu_kinds import SLOWER_IN_INT8
from support.ingestion import CAT, RIVER, contents, iqe, write_small_docs, write_texts


@pytest.fixture
def docs(tmp_path) -> Path:
    return write_small_docs(tmp_path / "docs")


@pytest.fixture
def chroma(tmp_path) -> Path:
    return tmp_path / "chroma"


@pytest.fixture
def bring(docs, chroma, tiny_int8):
    """Ingest the docs, or other sources, into the collection."""

    def brought(*sources: Path, **options: object) -> IngestionReport:
        return ingest(sources or [docs], **{"chroma": chroma, "collection": "docs", "model": tiny_int8} | options)

    return brought


def counts(report: IngestionReport) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.removed, report.unchanged


class TestRuns:
    def test_a_first_run_stores_everything_as_the_encoder_embeds_it(self, bring, docs, chroma, tiny_encoder):
        report = bring()
        assert counts(report) == (3, 0, 0, 0)
        assert (report.files, report.documents, report.encoder) == (3, 3, tiny_encoder.fingerprint)
        held = {text: (metadata, vector) for text, metadata, vector in contents(chroma).values()}
        assert set(held) == {f"# cat\n\n{CAT}", RIVER, "music and light"}
        metadata, _ = held[RIVER]
        assert metadata["source"] == str(docs / "deep" / "river.txt")
        assert held["music and light"][0]["title"] == "songs"

    def test_a_second_run_does_nothing_and_changes_no_bit(self, bring, chroma):
        bring()
        before = contents(chroma)
        assert counts(bring()) == (0, 0, 0, 3)
        assert contents(chroma) == before

    def test_only_what_is_new_or_changed_is_embedded_and_what_is_gone_leaves(self, bring, docs, chroma, tmp_path):
        bring()
        (docs / "cat.md").unlink()
        (docs / "deep" / "river.txt").write_text(RIVER + " again", "utf-8")
        (docs / "lines.jsonl").write_text('{"text": "music and light", "id": 1, "year": 5}\n', "utf-8")
        assert counts(bring()) == (1, 1, 2, 0)
        bring(chroma=tmp_path / "fresh")
        assert contents(chroma) == contents(tmp_path / "fresh")

    def test_other_sources_are_never_touched(self, bring, docs, chroma, tmp_path):
        """Each run answers for its own sources: another folder, one inside another, a single file, another program."""
        other = write_texts(tmp_path / "other", files=2, paragraphs=2)
        beside = write_texts(tmp_path / "docs-beside", files=1, paragraphs=1)  # "docs" begins its name
        bring(docs)
        bring(other, beside)
        with connect(chroma) as client:
            collection = client.get_collection("docs", embedding_function=None)
            collection.add(ids=["mine"], embeddings=[[0.5] * 32], documents=["by hand"])
        before = contents(chroma)
        for source in (docs / "deep", docs / "cat.md", docs):
            assert counts(bring(source))[:3] == (0, 0, 0)
        assert contents(chroma) == before
        (docs / "cat.md").unlink()
        assert bring(docs / "deep", other).removed == 0
        assert bring(docs).removed == 1
        assert "mine" in contents(chroma)

    def test_a_renamed_file_is_not_embedded_again(self, bring, docs, chroma):
        bring()
        (docs / "cat.md").rename(docs / "kitten.md")
        assert counts(bring()) == (0, 1, 0, 2)
        sources = {metadata["iqe_source"] for _, metadata, _ in contents(chroma).values()}
        assert str(docs / "kitten.md") in sources
        assert str(docs / "cat.md") not in sources

    def test_vectors_are_the_same_however_many_are_embedded_at_once(self, bring, chroma, tmp_path, monkeypatch):
        texts = write_texts(tmp_path / "texts", files=3, paragraphs=5)
        bring(texts)
        monkeypatch.setattr(run, "AT_ONCE", 4)
        bring(texts, chroma=tmp_path / "fours")
        assert contents(chroma) == contents(tmp_path / "fours")

    def test_a_dry_run_tells_the_same_numbers_and_writes_nothing(self, bring, docs, chroma):
        assert counts(bring(dry_run=True)) == (3, 0, 0, 0)
        assert not chroma.exists()
        bring()
        before = contents(chroma)
        (docs / "cat.md").write_text("the dog sat", "utf-8")
        report = bring(dry_run=True)
        assert counts(report) == (1, 0, 1, 2)
        assert "1 would be added" in str(report)
        assert contents(chroma) == before

    def test_other_chunks_replace_the_old_ones(self, bring, docs, chroma):
        bring()
        report = bring(chunk_tokens=6, overlap_tokens=0)
        assert counts(report)[2:] == (2, 1)  # three words were one chunk before and are now
        assert report.added > 2
        assert len(contents(chroma)) == report.chunks


class TestEncoders:
    def test_another_is_refused_with_both_names_and_the_way_out(self, bring, chroma, tiny_int8):
        bring()
        before = contents(chroma)
        with pytest.raises(OtherEncoderError) as refused:
            bring(max_length=32)
        other = Encoder.load(tiny_int8, max_length=32).fingerprint
        for told in (bring(dry_run=True).encoder, other, "--reindex"):
            assert told in str(refused.value)
        with pytest.raises(OtherEncoderError):
            bring(max_length=32, dry_run=True)
        with pytest.raises(OtherEncoderError):
            query("cat", chroma=chroma, collection="docs", model=tiny_int8, max_length=32)
        assert contents(chroma) == before

    def test_reindexing_is_the_way_out(self, bring, chroma, tmp_path):
        bring()
        assert counts(bring(max_length=32, reindex=True)) == (3, 0, 0, 0)
        bring(max_length=32, chroma=tmp_path / "fresh")
        assert contents(chroma) == contents(tmp_path / "fresh")
        assert counts(bring(max_length=32)) == (0, 0, 0, 3)

    def test_reindexing_keeps_the_collections_own_settings(self, bring, chroma):
        with connect(chroma) as client:
            client.create_collection(
                "docs", embedding_function=None, metadata={"of": "us"}, configuration={"hnsw": {"space": "ip"}}
            )
        bring()
        bring(reindex=True)
        with connect(chroma) as client:
            collection = client.get_collection("docs", embedding_function=None)
            assert (collection.metadata, collection.configuration_json["hnsw"]["space"]) == ({"of": "us"}, "ip")

    def test_reindexing_refuses_to_lose_texts_that_this_run_does_not_have(self, bring, docs, chroma):
        bring()
        before = contents(chroma)
        for prepare in (lambda: docs / "deep", lambda: (docs / "cat.md").write_bytes(b"\xff") and docs):
            with pytest.raises(OptionError, match="would lose"):
                bring(prepare(), reindex=True, max_length=32)
        assert contents(chroma) == before

    def test_a_collection_is_one_for_langchain_and_llama_index(self, bring, docs, chroma, tiny_int8):
        pytest.importorskip("langchain_chroma", reason="it comes with the `examples` extra")
        pytest.importorskip("llama_index.vector_stores.chroma", reason="it comes with the `examples` extra")
        from langchain_chroma import Chroma
        from llama_index.core import VectorStoreIndex
        from llama_index.vector_stores.chroma import ChromaVectorStore

        from intel_quantized_embeddings import IntelQuantizedEmbedding, IntelQuantizedEmbeddings

        bring()
        with connect(chroma) as client:
            embeddings = IntelQuantizedEmbeddings(model=str(tiny_int8))
            collection = open_collection(client, "docs", encoder=embeddings.encoder)
            store = Chroma(client=client, collection_name="docs", embedding_function=embeddings)
            assert store.similarity_search(RIVER, k=1)[0].metadata["source"] == str(docs / "deep" / "river.txt")
            index = VectorStoreIndex.from_vector_store(
                ChromaVectorStore(chroma_collection=collection),
                embed_model=IntelQuantizedEmbedding(model_name=str(tiny_int8)),
            )
            (found,) = index.as_retriever(similarity_top_k=1).retrieve(RIVER)
            assert (found.text, found.metadata["source"]) == (RIVER, str(docs / "deep" / "river.txt"))


class TestTrouble:
    def test_what_can_not_be_read_is_reported_and_stays_and_the_rest_goes_on(self, bring, docs, chroma):
        """Unreadable, vanished, broken in a line: nothing stored of such a file is taken for gone."""
        (docs / "more.jsonl").write_text('{"text": "one", "id": 1}\n{"text": "two", "id": 2}\n', "utf-8")
        bring()
        (docs / "cat.md").write_bytes(b"\xff\xfe")
        (docs / "deep" / "river.txt").unlink()
        (docs / "deep" / "river.txt").symlink_to("nowhere")
        (docs / "more.jsonl").write_text('{"text": "one", "id": 1}\n{"text": "two"\n{"text": "three"}\n', "utf-8")
        (docs / "new.txt").write_text("a new house", "utf-8")
        report = bring()
        assert counts(report) == (2, 0, 0, 2)
        assert [Path(problem.place).name for problem in report.problems] == ["cat.md", "river.txt", "more.jsonl:2"]
        assert not report.complete
        assert {"two", "three", RIVER, f"# cat\n\n{CAT}"} <= {text for text, _, _ in contents(chroma).values()}

    def test_a_source_that_is_suddenly_empty_is_taken_for_a_disk_that_is_not_mounted(self, bring, docs, chroma):
        bring()
        for file in [file for file in docs.rglob("*") if file.is_file()]:
            file.unlink()
        report = bring()
        assert report.removed == 0
        assert "not mounted" in report.problems[0].reason
        assert bring(docs.parent / "docs", docs.parent).removed == 0  # nor with the folder above, as empty as it
        (docs.parent / "left.txt").write_text("a book", "utf-8")
        assert bring(docs.parent).removed == 3

    def test_two_runs_do_not_write_in_one_folder(self, bring, chroma):
        from intel_quantized_embeddings.integrations.chroma_snapshots import only_writer

        with only_writer(chroma), pytest.raises(VectorStoreError, match="another iqe ingest"):
            bring()

    def test_a_run_leaves_nothing_of_its_own_but_the_lock(self, bring, chroma):
        bring()
        assert {path.name for path in chroma.iterdir() if path.name.startswith("iqe")} == {"iqe-ingest.lock"}

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"collection": "d"}, "collection='d'"),
            ({"chroma": "ftp://host"}, "ftp://host"),
            ({"chunk_tokens": 900}, "has at most"),
            ({"precision": "int9"}, "int9"),
            ({"modell": "x"}, "modell"),
        ],
    )
    def test_mistakes_are_told(self, bring, options, told):
        with pytest.raises(OptionError, match=told):
            bring(**options)

    @pytest.mark.parametrize(
        "wrong", [{"dry_run": "no"}, {"reindex": 1}, {"patience_s": "x"}, {"patience_s": math.nan}, {"patience_s": -1}]
    )
    def test_values_of_other_types_are_refused(self, bring, wrong):
        with pytest.raises(OptionError, match=f"{next(iter(wrong))}=.* is not allowed"):
            bring(**wrong)

    def test_one_source_wants_a_list_too(self, bring, docs, chroma):
        with pytest.raises(OptionError, match="sources=5 is not allowed"):
            ingest(5, chroma=chroma, collection="docs")
        with pytest.raises(OptionError, match="a SOURCE is None"):
            bring(None)
        with pytest.raises(OptionError, match="it is a list"):
            ingest(str(docs), chroma=chroma, collection="docs")

    @pytest.mark.parametrize("place", [3, b"x", "a\0b", "~nobody-of-this-name/chroma"], ids=repr)
    def test_what_is_no_path_is_refused_before_a_model_is_looked_up(self, docs, tmp_path, place):
        never = {"model": "me/never-looked-up", "local_files_only": True}
        with pytest.raises(OptionError, match=r"chroma=.* is not allowed; it is a path"):
            ingest([docs], chroma=place, collection="docs", **never)
        with pytest.raises(OptionError, match=r"chroma=.* is not allowed; it is a path"):
            query("cat", chroma=place, collection="docs", **never)
        with pytest.raises(OptionError, match=r"chroma=.* is not allowed; it is a path"):
            connect(place)

    @pytest.mark.parametrize("name", [3, b"docs"], ids=repr)
    def test_what_is_no_name_is_refused(self, bring, docs, chroma, tiny_encoder, name):
        with pytest.raises(OptionError, match=r"collection=.* is not allowed; it is a str"):
            bring(collection=name)
        bring()
        with pytest.raises(OptionError, match=r"collection=.* is not allowed; it is a str"):
            query("cat", chroma=chroma, collection=name)
        with connect(chroma) as client, pytest.raises(OptionError, match=r"collection=.* is not allowed; it is a str"):
            open_collection(client, name, encoder=tiny_encoder)

    def test_an_empty_path_is_not_the_current_folder(self, docs, tiny, monkeypatch, tmp_path):
        """As a script has it whose variable is not set: all of the folder was read, and the database written there."""
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(OptionError, match="SOURCE='' is not allowed; it is a path"):
            ingest([""], chroma=tmp_path / "new", collection="docs", model=tiny)
        with pytest.raises(OptionError, match="chroma='' is not allowed; it is a path"):
            ingest([docs], chroma="", collection="docs", model=tiny, precision="fp32")
        with pytest.raises(OptionError, match="chroma='' is not allowed; it is a path"):
            query("a", chroma="", collection="docs")
        assert sorted(tmp_path.iterdir()) == before


class TestQuery:
    def test_finds_with_the_encoder_that_the_collection_names(self, bring, docs, chroma):
        bring()
        found = query(RIVER, chroma=chroma, collection="docs", k=2)
        assert len(found) == 2
        assert (found[0].text, found[0].metadata["source"]) == (RIVER, str(docs / "deep" / "river.txt"))
        assert found[0].distance <= found[1].distance

    def test_says_what_is_missing(self, bring, chroma):
        bring()
        with pytest.raises(OptionError, match="there are 'docs'"):
            query("cat", chroma=chroma, collection="dogs")
        with pytest.raises(OptionError, match="k=None is not allowed"):
            query("cat", chroma=chroma, collection="docs", k=None)
        with pytest.raises(InvalidTextError, match="question is None"):
            query(None, chroma=chroma, collection="docs")
        with pytest.raises(OptionError, match="k=0"):
            query("cat", chroma=chroma, collection="docs", k=0)
        with connect(chroma) as client:
            client.create_collection("unknown", embedding_function=None)
        with pytest.raises(OtherEncoderError, match="does not say"):
            query("cat", chroma=chroma, collection="unknown")

    def test_a_folder_that_is_not_there_is_not_made(self, tmp_path):
        with pytest.raises(OptionError, match="nowhere' has no database of Chroma's"):
            query("cat", chroma=tmp_path / "nowhere", collection="docs")
        assert not (tmp_path / "nowhere").exists()


class TestCommand:
    def test_brings_files_in_and_answers(self, docs, chroma, tiny_int8, capsys):
        """As a person runs it; a script gets one JSON value on stdout and nothing else."""
        common = ("--chroma", str(chroma), "--collection", "docs")
        done = iqe("ingest", docs, *common, "--model", tiny_int8)
        told = [line for line in done.stderr.splitlines() if SLOWER_IN_INT8 not in line]
        assert (done.returncode, told) == (0, [])
        assert "3 added" in done.stdout
        assert main(["query", RIVER, *common, "-k", "1", "--json"]) == 0
        (passage,) = json.loads(capsys.readouterr().out)
        assert (passage["text"], passage["metadata"]["iqe_chunk"]) == (RIVER, 0)

    @pytest.fixture
    def ingest_docs(self, docs, chroma, tiny_int8, capsys):
        def ran(*arguments: object) -> tuple[int, str, str]:
            given = ["ingest", docs, "--chroma", chroma, "--collection", "docs", "--model", tiny_int8, *arguments]
            status = main([str(argument) for argument in given])
            return status, *capsys.readouterr()

        return ran

    def test_ends_with_a_status_that_a_script_can_go_by(self, ingest_docs, docs, chroma):
        assert ingest_docs()[0] == 0
        (docs / "cat.md").write_bytes(b"\xff")
        status, told, _ = ingest_docs("--json")
        assert status == 1
        assert json.loads(told)["problems"][0]["place"] == str(docs / "cat.md")
        status, told, warned = ingest_docs("--max-length", "32", "--json")
        assert status == 2
        assert json.loads(told)["error"]["type"] == "OtherEncoderError"
        assert warned.startswith("iqe: the collection 'docs' was filled by")
        status, told, warned = ingest_docs("--chroma", "http://127.0.0.1:9")
        assert (status, told) == (3, "")
        assert warned.count("\n") == 1

    def test_shows_passages_under_their_source(self, ingest_docs, chroma, capsys):
        ingest_docs()
        assert main(["query", "music", "--chroma", str(chroma), "--collection", "docs", "-k", "3"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line[:3] for line in lines if line[:1].isdigit()] == ["1. ", "2. ", "3. "]
        assert any("songs music and light" in line for line in lines)
        assert max(map(len, lines)) <= max(int(os.environ.get("COLUMNS", "80")), 120)
