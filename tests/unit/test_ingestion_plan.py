"""Ids of chunks, and what a run decides to do."""

from __future__ import annotations

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed: the `ingest` extra brings it")
pytest.importorskip("langchain_text_splitters", reason="not installed: the `ingest` extra brings it")

from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.ingestion.documents import Document
from intel_quantized_embeddings.ingestion.places import CHUNK, PLACES, SOURCE, Place, from_metadata, to_metadata
from intel_quantized_embeddings.ingestion.plan import make_plan
from intel_quantized_embeddings.ingestion.splitting import ChunkSize, Record, RecordMaker, Splitter


def words(text: str) -> int:
    return len(text.split())


def records(*documents: Document, tokens: int = 4, overlap: int = 0) -> list[Record]:
    maker = RecordMaker(Splitter(words, ChunkSize(tokens=tokens, overlap=overlap)))
    for document in documents:
        maker.add(document)
    return maker.records()


def document(text: str, source: str = "/a.txt", **metadata: str) -> Document:
    return Document(text=text, source=source, metadata=metadata)


class TestRecords:
    def test_the_same_text_in_two_files_or_twice_in_one_is_one_record_with_every_document_that_has_it(self):
        twice = document("one two three\n\nfour five six\n\none two three", source="/b.txt")
        first, second = records(twice, document("one two three", title="ones"))
        assert (first.text, second.text) == ("one two three", "four five six")
        assert [(place.source, place.chunk, dict(place.metadata)) for place in first.places] == [
            ("/a.txt", 0, {"title": "ones"}),
            ("/b.txt", 0, {}),
        ]

    def test_a_chunk_keeps_its_id_when_what_is_before_it_changes(self):
        before = {record.text: record.id for record in records(document("one two three\n\nfour five six"))}
        after = {
            record.text: record.id for record in records(document("a new start\n\none two three\n\nfour five six"))
        }
        assert before.items() <= after.items()

    def test_lines_of_one_text_are_kept_apart_by_what_else_they_say(self):
        (record,) = records(document("one two", id="1"), document("one two", id="2"), document("one two", id="2"))
        assert [place.metadata["id"] for place in record.places] == ["1", "2"]

    def test_metadata_says_where_a_chunk_is_and_is_no_part_of_the_id(self):
        plain = records(document("one two three\n\nfour five six"))
        titled = records(document("one two three\n\nfour five six", title="numbers"))
        assert [r.id for r in plain] == [r.id for r in titled]
        assert [to_metadata(r.places) for r in titled] == [
            {"title": "numbers", SOURCE: "/a.txt", CHUNK: number} for number in (0, 1)
        ]

    def test_places_come_back_from_metadata_as_they_were(self):
        places = [
            Place(source=f"/{n}.txt", chunk=n, metadata={"n": n, "x": n / 2, "ok": True, "t": "é"}) for n in range(600)
        ]
        kept = to_metadata(places)
        assert all(isinstance(value, (str, int, float, bool)) for value in kept.values())
        assert from_metadata(kept) == places

    @pytest.mark.parametrize(
        "foreign",
        [{}, {"source": "/a"}, {SOURCE: "/a"}, {SOURCE: 5, CHUNK: 0}, {SOURCE: "/a", CHUNK: 0, PLACES: "[{"}],
    )
    def test_what_another_program_wrote_has_no_places(self, foreign):
        assert from_metadata(foreign) == []

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
        made = Splitter(tiny_encoder.tokenizer.counter(), size).split(document(text))
        instruction = tiny_encoder.settings.document_instruction
        assert instruction
        tokenized = tiny_encoder.tokenizer.encode(made, instruction=instruction)
        assert tokenized.truncated == set()
        assert max(map(len, tokenized.token_ids)) > tiny_encoder.max_length - 8  # and no room is wasted

    @pytest.mark.parametrize(
        ("tokens", "overlap", "told"),
        [(65, None, "has at most"), (0, None, "1 or more"), (20, 20, "below the chunk's 20"), (20, -1, "0 or more")],
    )
    def test_a_size_that_can_not_be_is_refused(self, tiny_encoder, tokens, overlap, told):
        with pytest.raises(OptionError, match=told):
            ChunkSize.settle(tiny_encoder, tokens=tokens, overlap=overlap)


def record(id: str, *sources: str, **metadata: object) -> Record:
    places = (Place(source=source, chunk=0, metadata=metadata) for source in sources or ["/a.txt"])
    return Record(id=id, text=id, places=tuple(places))


def held(*records: Record) -> dict[str, dict[str, object]]:
    return {record.id: to_metadata(record.places) for record in records}


def carried_out(plan, stored: dict) -> dict[str, dict[str, object]]:
    """What a collection holds after a plan, as Chroma takes its parts."""
    stored = {id: dict(metadata) for id, metadata in stored.items()} | held(*plan.add)
    for change in plan.change:
        whole = stored[change.id] | dict(change.metadata)
        stored[change.id] = {name: value for name, value in whole.items() if value is not None}
    return {id: metadata for id, metadata in stored.items() if id not in plan.remove}


def answers_for_a(source: str) -> bool:
    return source == "/a.txt"


class TestPlan:
    def test_adds_changes_and_removes_and_leaves_the_rest(self):
        stored = held(record("same"), record("titled", title="old"), record("gone"))
        plan = make_plan([record("same"), record("titled", page=2), record("new")], stored, answers_for=answers_for_a)
        assert [r.id for r in plan.add] == ["new"]
        assert [(change.id, dict(change.metadata)) for change in plan.change] == [
            ("titled", {"title": None, "page": 2})
        ]
        assert plan.remove == ["gone"]
        assert plan.unchanged == 1

    def test_never_removes_what_another_source_or_another_program_wrote(self):
        stored = {**held(record("other", "/b.txt")), "foreign": {}, "langchain's": {"source": "/a.txt"}}
        assert make_plan([], stored, answers_for=answers_for_a).remove == []

    def test_a_text_stays_as_long_as_one_source_has_it_and_names_those_that_do(self):
        stored = held(record("licence", "/a.txt", "/b.txt", "/c.txt"))
        without = make_plan([], stored, answers_for=answers_for_a)
        assert without.remove == []
        stored = carried_out(without, stored)
        assert stored == held(record("licence", "/b.txt", "/c.txt"))
        plan = make_plan([record("licence", "/a.txt")], stored, answers_for=answers_for_a)
        assert plan.add == []
        assert carried_out(plan, stored) == held(record("licence", "/a.txt", "/b.txt", "/c.txt"))
        assert make_plan([], stored, answers_for=lambda source: True).remove == ["licence"]

    def test_a_file_that_was_not_read_whole_keeps_its_places_and_the_lines_read_again_are_told_anew(self):
        lines = [Place(source="/a.jsonl", chunk=0, metadata={"id": id, "title": "old"}) for id in ("1", "2")]
        stored = held(Record(id="text", text="text", places=tuple(lines)))
        again = Place(source="/a.jsonl", chunk=0, metadata={"id": "1", "title": "new"})
        plan = make_plan([Record(id="text", text="text", places=(again,))], stored, answers_for=lambda source: False)
        assert from_metadata(carried_out(plan, stored)["text"]) == [again, lines[1]]

    @pytest.mark.parametrize(("was", "becomes"), [(1, True), (1, 1.0), (True, 1)])
    def test_tells_numbers_of_different_kinds_apart(self, was, becomes):
        plan = make_plan([record("a", n=becomes)], held(record("a", n=was)), answers_for=answers_for_a)
        assert [change.metadata for change in plan.change] == [{"n": becomes}]

    _sources = st.lists(st.sampled_from(["/a.txt", "/b.txt", "/c.txt"]), min_size=1, unique=True).map(sorted)

    @given(
        before=st.dictionaries(st.sampled_from("abcd"), _sources),
        after=st.dictionaries(st.sampled_from("abcd"), _sources),
        order=st.permutations(["/a.txt", "/b.txt", "/c.txt"]),
    )
    def test_runs_over_the_sources_in_any_order_end_alike_and_a_second_run_has_nothing_to_do(
        self, before, after, order
    ):
        stored = held(*(record(id, *sources) for id, sources in before.items()))
        for source in order:
            mine = [record(id, source) for id, sources in after.items() if source in sources]
            plan = make_plan(mine, stored, answers_for=lambda asked: asked == source)  # noqa: B023 - called at once
            assert plan.unchanged + len(plan.add) <= len(mine)
            stored = carried_out(plan, stored)
            again = make_plan(mine, stored, answers_for=lambda asked: asked == source)  # noqa: B023
            assert (again.add, again.change, again.remove, again.unchanged) == ([], [], [], len(mine))
        assert stored == held(*(record(id, *sources) for id, sources in after.items()))
