"""`ingest` into LangChain's vector stores: what each run does, what is refused, and a run interrupted at any call."""

from __future__ import annotations

import copy
import itertools
import json
import sqlite3
from pathlib import Path

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from intel_quantized_embeddings import IntelQuantizedEmbeddings
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.errors import OptionError, OtherEncoderError, VectorStoreError
from intel_quantized_embeddings.ingestion import IngestionReport, ingest, run
from support.ingestion import CAT, RIVER, iqe, write_small_docs, write_texts


class OnlyAddsAndDeletes(InMemoryVectorStore):
    """As langchain-lancedb's: it does not say what it holds, adds to what is there, and has no table at first."""

    get_by_ids = VectorStore.get_by_ids

    def __init__(self, embedding):
        super().__init__(embedding)
        self.number = itertools.count()

    def add_texts(self, texts, metadatas=None, *, ids=None, **kwargs):
        for text, metadata, id in zip(texts, metadatas, ids, strict=True):
            super().add_texts([text], [{**metadata, "told": id}], ids=[f"{id} {next(self.number)}"])
        return ids

    def delete(self, ids=None, **kwargs):
        if not self.store:
            raise AttributeError("'NoneType' object has no attribute 'delete'")
        for id in [id for id in self.store if id.split()[0] in ids]:
            del self.store[id]


class RefusesWhatIsThere(InMemoryVectorStore):
    """As FAISS: what is there can't be added again, and what is not can't be deleted."""

    def add_texts(self, texts, metadatas=None, *, ids=None, **kwargs):
        if found := set(ids) & set(self.store):
            raise ValueError(f"ids already exist: {found}")
        return super().add_texts(texts, metadatas, ids=ids)

    def delete(self, ids=None, **kwargs):
        if missing := set(ids) - set(self.store):
            raise ValueError(f"ids do not exist: {missing}")
        super().delete(ids)
        return True


STORES = [InMemoryVectorStore, OnlyAddsAndDeletes, RefusesWhatIsThere]


@pytest.fixture(scope="module")
def embeddings(tiny_int8) -> IntelQuantizedEmbeddings:
    return IntelQuantizedEmbeddings(model=tiny_int8)


@pytest.fixture(params=STORES)
def store(request, embeddings):
    return request.param(embeddings)


@pytest.fixture
def docs(tmp_path) -> Path:
    return write_small_docs(tmp_path / "docs")


@pytest.fixture
def ledger(tmp_path) -> Path:
    return tmp_path / "docs.ledger"


@pytest.fixture
def bring(docs, ledger):
    """Ingest the docs, or other sources, into a store."""

    def brought(store, *sources: Path, **options: object) -> IngestionReport:
        return ingest(sources or [docs], **{"store": store, "ledger": ledger} | options)

    return brought


def counts(report: IngestionReport) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.removed, report.unchanged


def contents(store: InMemoryVectorStore) -> list[tuple[str, str, list[float]]]:
    """Everything, sorted; what is there twice is there twice. Ids are each ledger's own."""
    rows = []
    for row in store.store.values():
        metadata = {name: value for name, value in row["metadata"].items() if name != "told"}
        rows.append((row["text"], json.dumps(metadata, sort_keys=True), row["vector"]))
    return sorted(rows)


class TestRuns:
    def test_a_first_run_stores_everything_as_the_encoder_embeds_it(self, bring, store, docs, ledger, tiny_encoder):
        report = bring(store)
        assert counts(report) == (3, 0, 0, 0)
        assert (report.store, report.ledger, report.chroma) == (type(store).__name__, str(ledger), None)
        assert str(report).startswith(f"{type(store).__name__} of {ledger}: 3 files")
        held = {text: (json.loads(metadata), vector) for text, metadata, vector in contents(store)}
        assert set(held) == {f"# cat\n\n{CAT}", RIVER, "music and light"}
        metadata, vector = held[RIVER]
        assert metadata["source"] == str(docs / "deep" / "river.txt")
        assert metadata["iqe_encoder"] == report.encoder == tiny_encoder.fingerprint
        assert vector == tiny_encoder.encode_documents([RIVER])[0].tolist()

    def test_a_second_run_does_nothing(self, bring, store):
        bring(store)
        before = copy.deepcopy(store.store)
        assert counts(bring(store)) == (0, 0, 0, 3)
        assert store.store == before

    def test_only_what_is_new_or_changed_is_written_and_what_is_gone_leaves(self, bring, store, docs, tmp_path):
        bring(store)
        (docs / "cat.md").unlink()
        (docs / "deep" / "river.txt").write_text(RIVER + " again", "utf-8")
        (docs / "lines.jsonl").write_text('{"text": "music and light", "id": 1, "year": 5}\n', "utf-8")
        assert counts(bring(store)) == (1, 1, 2, 0)
        fresh = type(store)(store.embeddings)
        bring(fresh, ledger=tmp_path / "fresh.ledger")
        assert contents(store) == contents(fresh)

    def test_other_sources_and_other_programs_are_never_touched(self, bring, store, docs, tmp_path, embeddings):
        other = write_texts(tmp_path / "other", files=2, paragraphs=2)
        bring(store, docs)
        bring(store, other)
        InMemoryVectorStore.add_texts(store, ["by hand"], [{}], ids=["mine"])
        before = contents(store)
        for source in (docs / "deep", docs / "cat.md", docs, other):
            assert counts(bring(store, source))[:3] == (0, 0, 0)
        assert contents(store) == before
        (docs / "cat.md").unlink()
        assert bring(store, other).removed == 0
        assert bring(store, docs).removed == 1
        assert "mine" in store.store

    def test_a_piece_of_two_sources_loses_a_place_and_stays(self, bring, store, docs, tmp_path):
        other = tmp_path / "other"
        other.mkdir()
        (other / "again.txt").write_text(RIVER, "utf-8")
        bring(store)
        assert counts(bring(store, other)) == (0, 1, 0, 0)
        (docs / "deep" / "river.txt").unlink()
        assert counts(bring(store)) == (0, 1, 0, 2)
        (metadata,) = (json.loads(metadata) for text, metadata, _ in contents(store) if text == RIVER)
        assert metadata["source"] == str(other / "again.txt")
        assert "iqe_places" not in metadata

    def test_a_dry_run_tells_the_same_numbers_and_writes_nothing(self, bring, store, docs, ledger):
        assert counts(bring(store, dry_run=True)) == (3, 0, 0, 0)
        assert not ledger.exists()
        bring(store)
        before = copy.deepcopy(store.store), ledger.read_bytes()
        (docs / "cat.md").write_text("the dog sat", "utf-8")
        assert counts(bring(store, dry_run=True)) == (1, 0, 1, 2)
        assert (store.store, ledger.read_bytes()) == before

    def test_two_ledgers_never_share_an_id(self, bring, embeddings, tmp_path):
        """langchain-postgres's PGVector has one space of ids for all collections of a database."""
        stores = [InMemoryVectorStore(embeddings) for _ in range(2)]
        for number, store in enumerate(stores):
            bring(store, ledger=tmp_path / f"{number}.ledger")
        assert not set(stores[0].store) & set(stores[1].store)

    def test_what_a_store_lost_is_put_back(self, bring, embeddings, caplog):
        store = InMemoryVectorStore(embeddings)
        bring(store)
        before = contents(store)
        store.delete(list(store.store)[:2])
        assert counts(bring(store)) == (0, 0, 0, 3)
        assert contents(store) == before
        assert "lacks 2 of the 3 pieces" in caplog.text

    def test_a_store_that_is_saved_is_saved_when_all_is_in_it_and_on_the_way(
        self, bring, embeddings, tmp_path, monkeypatch
    ):
        texts = write_texts(tmp_path / "texts", files=30, paragraphs=25)
        store, saved = InMemoryVectorStore(embeddings), []
        report = bring(store, texts, save=lambda store: saved.append(len(store.store)))
        assert report.added > 512
        assert saved == [512, report.added]
        assert bring(store, texts, save=lambda store: saved.append("again")).unchanged == report.added
        assert "again" not in saved


class TestInterrupted:
    @pytest.mark.parametrize("saved", [False, True], ids=["lasting", "saved whole"])
    def test_at_any_call_to_the_store_and_run_again(self, store, docs, tmp_path, monkeypatch, saved):
        """Before the call has done anything, or when it has done all; twice in a row too. Files stay or go back."""
        monkeypatch.setattr(run, "AT_ONCE", 2)
        states = [write_texts(tmp_path / "first", files=2, paragraphs=4), tmp_path / "second"]
        write_texts(states[1], files=2, paragraphs=4, seed=1, first=1)
        (states[1] / "text-000.txt").write_text((states[0] / "text-000.txt").read_text("utf-8") + "\n\nmore", "utf-8")
        target = tmp_path / "target"
        expected = []
        for number, state in enumerate(states):
            fresh = type(store)(store.embeddings)
            ingest([put(state, target)], store=fresh, ledger=tmp_path / f"fresh{number}.ledger")
            expected.append(contents(fresh))
        put(states[0], target)
        ingest([target], store=store, ledger=tmp_path / "l")
        before = copy.deepcopy(store.store), (tmp_path / "l").read_bytes()
        ended = False
        for number in itertools.count():
            if ended:
                break
            for after, then in itertools.product((False, True), (0, 1)):
                disk = Disk(type(store), store.embeddings, *before, ledger=tmp_path / "l", saved=saved)
                put(states[1], target)
                ended = not disk.interrupted(target, at=number, after=after)
                if number % 3 == 0:
                    disk.interrupted(target, at=number // 2, after=not after)
                put(states[then], target)
                disk.run(target)
                assert contents(disk.opened()) == expected[then], f"call {number}, {'after' if after else 'before'} it"
        assert number > 5


class Disk:
    """What lasts of a store and its ledger when a run is interrupted."""

    def __init__(self, kind, embeddings, kept, ledger_bytes, *, ledger: Path, saved: bool) -> None:
        self.kind, self.embeddings, self.kept, self.ledger, self.saved = kind, embeddings, kept, ledger, saved
        ledger.write_bytes(ledger_bytes)

    def opened(self):
        store = self.kind(self.embeddings)
        store.store = copy.deepcopy(self.kept)
        store.number = itertools.count(len(self.kept) + 10_000)
        return store

    def save(self, store) -> None:
        self.kept = copy.deepcopy(store.store)

    def run(self, docs: Path, store=None, save=None) -> None:
        store = store or self.opened()
        save = save or self.save
        assert ingest([docs], store=store, ledger=self.ledger, save=save if self.saved else None).complete
        self.save(store)

    def interrupted(self, docs: Path, *, at: int, after: bool) -> bool:
        """Run until the nth call to the store; whether there was one."""
        calls, disk = itertools.count(), self

        def counted(name):
            def call(*args, **kwargs):
                if not after and next(calls) == at:
                    raise KeyboardInterrupt
                result = name(*args, **kwargs)
                if after and next(calls) == at:
                    raise KeyboardInterrupt
                return result

            return call

        store = self.opened()
        store.add_texts, store.delete, save = counted(store.add_texts), counted(store.delete), counted(self.save)
        try:
            self.run(docs, store, save)
        except KeyboardInterrupt:
            if not disk.saved:
                disk.save(store)
            return True
        return False


def put(state: Path, target: Path) -> Path:
    target.mkdir(exist_ok=True)
    for file in target.iterdir():
        file.unlink()
    for file in state.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


class TestEncoders:
    def test_another_is_refused_with_both_names_and_the_way_out(self, bring, store, tiny_int8):
        bring(store)
        before = copy.deepcopy(store.store)
        other = IntelQuantizedEmbeddings(model=tiny_int8, max_length=32)
        store.embedding = other
        for dry_run in (False, True):
            with pytest.raises(OtherEncoderError) as refused:
                bring(store, dry_run=dry_run)
            for told in (
                next(iter(before.values()))["metadata"]["iqe_encoder"],
                other.encoder.fingerprint,
                "--reindex",
            ):
                assert told in str(refused.value)
        assert store.store == before

    def test_the_type_of_vectors_counts(self, bring, store, tiny_int8):
        bring(store)
        store.embedding = IntelQuantizedEmbeddings(model=tiny_int8, vector_type="int8")
        with pytest.raises(OtherEncoderError, match="int8"):
            bring(store)

    def test_reindexing_is_the_way_out(self, bring, store, tiny_int8, tmp_path):
        bring(store)
        InMemoryVectorStore.add_texts(store, ["by hand"], [{}], ids=["mine"])
        store.embedding = IntelQuantizedEmbeddings(model=tiny_int8, max_length=32)
        report = bring(store, reindex=True)
        assert counts(report) == (3, 0, 0, 0)
        assert store.store.pop("mine")
        fresh = type(store)(store.embedding)
        bring(fresh, ledger=tmp_path / "fresh.ledger")
        assert contents(store) == contents(fresh)
        assert counts(bring(store)) == (0, 0, 0, 3)

    def test_reindexing_never_loses_texts_of_other_sources(self, bring, store, docs, tmp_path):
        bring(store, docs, write_texts(tmp_path / "other", files=1, paragraphs=2))
        before = copy.deepcopy(store.store)
        with pytest.raises(OptionError, match="would lose"):
            bring(store, docs, reindex=True)
        assert store.store == before

    def test_a_store_without_its_ledger_still_tells(self, bring, store, ledger, tiny_int8):
        bring(store)
        ledger.unlink()
        with pytest.raises(OptionError, match="Name the ledger"):
            bring(store)
        store.embedding = IntelQuantizedEmbeddings(model=tiny_int8, max_length=32)
        with pytest.raises(OtherEncoderError, match="Name the ledger"):
            bring(store)


class TestTrouble:
    def test_two_runs_at_once_on_one_ledger(self, bring, store, ledger):
        def save(_):
            with pytest.raises(VectorStoreError, match="another iqe ingest"):
                bring(store)

        assert bring(store, save=save).added == 3

    def test_what_the_store_refuses_of_one_text_is_reported_for_its_file(self, bring, embeddings, docs):
        class Picky(InMemoryVectorStore):
            def add_texts(self, texts, metadatas=None, *, ids=None, **kwargs):
                if RIVER in texts:
                    raise ValueError("no rivers")
                return super().add_texts(texts, metadatas, ids=ids)

        store = Picky(embeddings)
        for _ in range(2):
            (problem,) = bring(store).problems
            assert problem.place.startswith(str(docs / "deep" / "river.txt"))
            assert problem.reason == "Picky does not take it: ValueError: no rivers"
            assert len(store.store) == 2

    @pytest.mark.parametrize(
        "error", [ConnectionError("gone"), ValueError("nothing any more")], ids=["away", "refuses"]
    )
    def test_a_store_that_takes_nothing_ends_the_run(self, bring, embeddings, tmp_path, error):
        class Down(InMemoryVectorStore):
            def add_texts(self, texts, metadatas=None, *, ids=None, **kwargs):
                raise error

        texts = write_texts(tmp_path / "texts", files=3, paragraphs=25)
        with pytest.raises(VectorStoreError, match="run it again"):
            bring(Down(embeddings), texts)
        store = InMemoryVectorStore(embeddings)
        assert bring(store, texts).added == len(store.store)

    def test_ids_of_the_stores_own_are_refused_and_nothing_stays(self, bring, embeddings):
        class Numbers(InMemoryVectorStore):
            def add_texts(self, texts, metadatas=None, *, ids=None, **kwargs):
                return super().add_texts(texts, metadatas, ids=[str(n) for n, _ in enumerate(ids)])

        store = Numbers(embeddings)
        with pytest.raises(OptionError, match="ids of its own"):
            bring(store)
        assert not store.store

    def test_a_store_that_would_replace_everything_with_each_batch_is_refused(self, bring, embeddings):
        class LanceDB(InMemoryVectorStore):  # as langchain-community's, by default
            mode = "overwrite"

        with pytest.raises(OptionError, match="mode='append'"):
            bring(LanceDB(embeddings))

    def test_the_embeddings_must_be_ours(self, bring):
        with pytest.raises(
            OptionError, match=r"DeterministicFakeEmbedding.*Make the store with IntelQuantizedEmbeddings"
        ):
            bring(InMemoryVectorStore(DeterministicFakeEmbedding(size=8)))
        with pytest.raises(OptionError, match="it is a LangChain VectorStore"):
            bring("qdrant")

    def test_a_file_that_is_no_ledger_is_refused_and_left_alone(self, bring, store, ledger):
        ledger.write_text("my notes, which are long enough to be read as the header of something else " * 3, "utf-8")
        before = ledger.read_bytes()
        with pytest.raises(OptionError, match="is not a ledger"):
            bring(store)
        assert ledger.read_bytes() == before
        ledger.unlink()
        with sqlite3.connect(ledger) as database:
            database.execute("CREATE TABLE mine (x)")
        database.close()
        with pytest.raises(OptionError, match="another program's"):
            bring(store)

    @pytest.mark.parametrize(
        "given",
        [
            {"chroma": "here"},
            {"model": "m"},
            {"patience_s": 5},
            {"max_length": 32},
            {"ledger": None},
            {"save": "later"},
        ],
        ids=str,
    )
    def test_options_that_contradict_each_other_are_refused(self, bring, embeddings, given):
        with pytest.raises(OptionError):
            bring(InMemoryVectorStore(embeddings), **given)


MY_STORES = """
from pathlib import Path
from langchain_core.vectorstores import InMemoryVectorStore

FILE = Path("store.json")


def make(embeddings):
    return InMemoryVectorStore.load(str(FILE), embeddings) if FILE.exists() else InMemoryVectorStore(embeddings)


def save(store):
    store.dump("store.part")
    Path("store.part").replace(FILE)


def broken(embeddings):
    raise ValueError("no server")
"""


class TestCommand:
    def test_it_calls_a_persons_own_functions(self, docs, tmp_path, tiny_int8):
        (tmp_path / "my_stores.py").write_text(MY_STORES, "utf-8")
        command = ("ingest", docs, "--store", "my_stores:make", "--save", "my_stores:save", "--ledger", "docs.ledger")
        for added in (3, 0):
            done = iqe(*command, "--model", tiny_int8, "--json", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["added"] == added

    @pytest.mark.parametrize(
        ("store", "told"),
        [
            ("my_stores", "MODULE:FUNCTION"),
            ("no_such_stores:make", "ModuleNotFoundError"),
            ("json:nothing", "AttributeError"),
            ("json:__name__", "not a function"),
            ("their_stores:broken", "ValueError: no server"),
        ],
    )
    def test_what_is_wrong_with_them_is_said(self, docs, tmp_path, monkeypatch, tiny_int8, capsys, store, told):
        (tmp_path / "their_stores.py").write_text(MY_STORES, "utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        words = ["ingest", str(docs), "--store", store, "--ledger", "l", "--model", str(tiny_int8)]
        assert main(words) == 2
        assert told in capsys.readouterr().err

    def test_it_says_what_is_missing(self, docs, capsys):
        assert main(["ingest", str(docs)]) == 2
        assert "--store" in capsys.readouterr().err
