"""Ids of chunks, and what a run decides to do."""

from __future__ import annotations

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")

from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion.documents import Document
from intel_quantized_embeddings.ingestion.plan import make_plan
from intel_quantized_embeddings.ingestion.splitting import CHUNK, SOURCE, ChunkSize, Record, RecordMaker, Splitter


def words(text: str) -> int:
    return len(text.split())


def records(*documents: Document, tokens: int = 4, overlap: int = 0) -> list[Record]:
    return list(RecordMaker(Splitter(words, ChunkSize(tokens=tokens, overlap=overlap))).records(documents))


def document(text: str, source: str = "/a.txt", key: str = "", **metadata: str) -> Document:
    return Document(text=text, source=source, key=key, metadata=metadata)


class TestIds:
    def test_the_same_text_in_two_files_or_twice_in_one_is_several_records(self):
        twice = document("one two three\n\nfour five six\n\none two three")
        made = records(twice, document("one two three", source="/b.txt"))
        assert len({record.id for record in made}) == len(made) == 4
        assert [record.text for record in made].count("one two three") == 3

    def test_a_chunk_keeps_its_id_when_what_is_before_it_changes(self):
        before = {record.text: record.id for record in records(document("one two three\n\nfour five six"))}
        after = {
            record.text: record.id for record in records(document("a new start\n\none two three\n\nfour five six"))
        }
        assert before.items() <= after.items()

    def test_lines_of_one_text_with_ids_keep_them_apart_and_stay_the_same_in_another_order(self):
        one, two = document("one two", key="1"), document("one two", key="2")
        assert {r.id for r in records(one, two)} == {r.id for r in records(two, one)}
        assert len({r.id for r in records(one, two)}) == 2

    def test_metadata_says_where_a_chunk_is_and_is_no_part_of_the_id(self):
        plain = records(document("one two three\n\nfour five six"))
        titled = records(document("one two three\n\nfour five six", title="numbers"))
        assert [r.id for r in plain] == [r.id for r in titled]
        assert [dict(r.metadata) for r in titled] == [
            {"title": "numbers", SOURCE: "/a.txt", CHUNK: number} for number in (0, 1)
        ]

    @pytest.mark.parametrize("text", ["", "  \n\n \n"])
    def test_no_words_give_no_records(self, text):
        assert records(document(text)) == []


class TestChunks:
    TEXT = "\n\n".join(" ".join(f"w{p}-{n}" for n in range(9)) for p in range(6))

    @pytest.mark.parametrize("name", ["/a.txt", "/a.md", "/a.rst", "/a.py"])
    def test_are_no_longer_than_asked_and_lose_no_word(self, name):
        made = records(document(self.TEXT, source=name), tokens=7, overlap=2)
        assert max(words(record.text) for record in made) <= 7
        assert set(self.TEXT.split()) <= {word for record in made for word in record.text.split()}

    def test_size_is_what_the_model_reads_whole(self, tiny_encoder):
        size = ChunkSize.settle(tiny_encoder, tokens=None, overlap=None)
        text = " ".join(["the cat sat on a mat with music"] * 60)
        made = list(RecordMaker(Splitter(tiny_encoder.tokenizer.counter(), size)).records([document(text)]))
        instruction = tiny_encoder.settings.document_instruction
        assert instruction
        tokenized = tiny_encoder.tokenizer.encode([record.text for record in made], instruction=instruction)
        assert tokenized.truncated == set()
        assert max(map(len, tokenized.token_ids)) > tiny_encoder.max_length - 8  # and no room is wasted

    @pytest.mark.parametrize(
        ("tokens", "overlap", "told"),
        [(65, None, "has at most"), (0, None, "1 or more"), (20, 20, "below the chunk's 20"), (20, -1, "0 or more")],
    )
    def test_a_size_that_can_not_be_is_refused(self, tiny_encoder, tokens, overlap, told):
        with pytest.raises(OptionError, match=told):
            ChunkSize.settle(tiny_encoder, tokens=tokens, overlap=overlap)


def record(id: str, source: str = "/a.txt", **metadata: object) -> Record:
    return Record(id=id, text=id, metadata={SOURCE: source, **metadata})


def answers_for_a(source: str) -> bool:
    return source == "/a.txt"


class TestPlan:
    def test_adds_changes_and_removes_and_leaves_the_rest(self):
        stored = {"same": {SOURCE: "/a.txt"}, "titled": {SOURCE: "/a.txt", "title": "old"}, "gone": {SOURCE: "/a.txt"}}
        plan = make_plan([record("same"), record("titled", page=2), record("new")], stored, answers_for=answers_for_a)
        assert [r.id for r in plan.add] == ["new"]
        assert [(change.id, dict(change.metadata)) for change in plan.change] == [
            ("titled", {"title": None, "page": 2})
        ]
        assert plan.remove == ["gone"]
        assert plan.unchanged == 1

    def test_never_removes_what_another_source_or_another_program_wrote(self):
        stored = {"other": {SOURCE: "/b.txt"}, "foreign": {}, "langchain's": {"source": "/a.txt"}}
        assert make_plan([], stored, answers_for=answers_for_a).remove == []

    @pytest.mark.parametrize(("was", "becomes"), [(1, True), (1, 1.0), (True, 1)])
    def test_tells_numbers_of_different_kinds_apart(self, was, becomes):
        plan = make_plan([record("a", n=becomes)], {"a": {SOURCE: "/a.txt", "n": was}}, answers_for=answers_for_a)
        assert [change.metadata for change in plan.change] == [{"n": becomes}]

    @given(
        wanted=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2)),
        stored=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2)),
    )
    def test_carried_out_gives_what_was_wanted_and_a_second_plan_is_empty(self, wanted, stored):
        asked = [record(id, n=n) for id, n in wanted.items()]
        held = {id: {SOURCE: "/a.txt", "n": n} for id, n in stored.items()}
        plan = make_plan(asked, held, answers_for=answers_for_a)
        assert plan.unchanged + len(plan.add) + len(plan.change) == len(asked)
        held |= {r.id: dict(r.metadata) for r in plan.add}
        for change in plan.change:
            held[change.id] = {k: v for k, v in (held[change.id] | dict(change.metadata)).items() if v is not None}
        for id in plan.remove:
            del held[id]
        assert held == {r.id: dict(r.metadata) for r in asked}
        again = make_plan(asked, held, answers_for=answers_for_a)
        assert (again.add, again.change, again.remove) == ([], [], [])
