"""What every adapter keeps to. One suite for all; what only one has is tested in the module of its name."""

from __future__ import annotations

import asyncio
import copy
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import InvalidTextError, ModelFilesError
from intel_quantized_embeddings.options import LoadOptions
from intel_quantized_embeddings.vectors import to_binary, to_int8
from support.adapters import Adapter, every_adapter, rows_where
from support.each_runtime import each_runtime
from support.spy_encoder import SpyEncoder

TEXTS = ["the cat sat on the mat", "a cold river", "music and light in the old city", "why is the moon blue?"]
QUESTION = "what does the cat do?"

lazy_ones = rows_where(lambda row: row.loader)
async_ones = rows_where(lambda row: row.adocuments)
ones_with_fields = rows_where(lambda row: row.fields)


@pytest.fixture
def adapter(request) -> Adapter:
    row: Adapter = request.param
    pytest.importorskip(row.library, reason=f"{row.library} is not installed")
    return row


@pytest.fixture
def made(adapter, tiny_int8, runtime):
    return adapter.make(model=tiny_int8, runtime=runtime)


@pytest.fixture(scope="module")
def bare(tiny_int8, runtime) -> Encoder:
    """The same model without instructions."""
    return Encoder.load(tiny_int8, runtime=runtime, query_instruction="", document_instruction="")


@pytest.fixture
def loads(adapter, monkeypatch) -> list[LoadOptions]:
    """What is loaded from now on, by its options."""
    module, _, name = adapter.loader.rpartition(".")
    load = getattr(pytest.importorskip(module), name)
    seen = []
    monkeypatch.setattr(adapter.loader, lambda options: (seen.append(options), load(options))[1])
    return seen


@pytest.fixture
def spied(adapter, tiny_encoder, monkeypatch):
    """One that was given an encoder which notes its calls, that encoder, and the options it was loaded with."""
    spy, options = SpyEncoder(tiny_encoder), []
    monkeypatch.setattr(adapter.loader, lambda given: (options.append(given), spy)[1])
    return adapter.make, spy, options


def listed(vectors) -> list[list[float]]:
    return np.asarray(vectors).tolist()


@every_adapter
class TestVectors:
    def test_are_the_encoders_to_the_bit(self, adapter, made, tiny_encoder):
        documents, query = adapter.documents(made, TEXTS), adapter.query(made, QUESTION)
        assert {type(number).__name__ for vector in [*documents, query] for number in vector} == {adapter.number}
        assert listed(documents) == tiny_encoder.encode_documents(TEXTS).tolist()
        assert listed(query) == tiny_encoder.encode_queries([QUESTION])[0].tolist()

    @pytest.mark.parametrize("several", [iter, tuple, np.array], ids=lambda kind: kind.__name__)
    def test_are_those_of_texts_from_any_iterable(self, adapter, made, tiny_encoder, several):
        """A generator was read by the checks, and then had no texts."""
        if adapter.takes == "documents":
            pytest.skip("the framework takes its own documents, and checks that they are a list")
        assert listed(adapter.documents(made, several(TEXTS))) == tiny_encoder.encode_documents(TEXTS).tolist()

    def test_have_the_instruction_of_their_kind(self, adapter, made, bare):
        query, document = bare.encode_documents(["query: a cat", "document: a cat"]).tolist()
        assert listed(adapter.query(made, "a cat")) == query
        assert listed(adapter.documents(made, ["a cat"])) == [document]
        assert query != document

    def test_have_a_given_instruction_in_place_of_the_models(self, adapter, tiny_int8, runtime, bare):
        given = {"query_instruction": "find ", "document_instruction": ""}
        made = adapter.make(model=tiny_int8, runtime=runtime, **given)
        assert listed(adapter.query(made, "a cat")) == bare.encode_queries(["find a cat"])[0].tolist()
        assert listed(adapter.documents(made, ["a cat"])) == bare.encode_documents(["a cat"]).tolist()

    def test_of_an_empty_text_are_finite_and_of_length_one(self, adapter, made):
        for vector in (adapter.query(made, ""), *adapter.documents(made, [""])):
            assert np.isfinite(vector).all()
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)

    def test_of_no_texts_are_none(self, adapter, made):
        if not adapter.takes_none:
            pytest.skip("the framework itself refuses them")
        assert len(adapter.documents(made, [])) == 0

    def test_are_not_made_of_what_is_not_text_which_is_named_by_its_position(self, adapter, made):
        if adapter.takes != "documents":
            with pytest.raises(InvalidTextError, match="text 1 is 5 of type int"):
                adapter.documents(made, ["one", 5])
        with pytest.raises(InvalidTextError, match="is 5"):
            adapter.query(made, 5)

    def test_of_cut_texts_are_logged_once_a_call_with_their_number(self, adapter, made, tiny_encoder, caplog):
        adapter.query(made, "short")
        caplog.clear()  # loading may say what this CPU makes of int8
        with caplog.at_level(logging.WARNING, logger="intel_quantized_embeddings"):
            adapter.documents(made, ["stone " * 200, "short", "river " * 200])
        assert [record.getMessage() for record in caplog.records] == [
            f"2 of 3 texts are longer than {tiny_encoder.max_length} tokens; what is beyond was cut"
        ]


@rows_where(lambda row: row.takes == "strings")
def test_one_string_for_a_list_is_refused_not_embedded_letter_by_letter(adapter, made):
    with pytest.raises(InvalidTextError, match="list of strings"):
        adapter.documents(made, "cat")


@rows_where(lambda row: row.shown)
def test_a_progress_bar_is_drawn_where_asked_for(adapter, made, capsys):
    quiet = adapter.documents(made, TEXTS)
    assert "4/4" not in capsys.readouterr().err
    assert listed(adapter.shown(made, TEXTS)) == listed(quiet)
    assert "4/4" in capsys.readouterr().err


@rows_where(lambda row: row.smaller)
@pytest.mark.parametrize(("kind", "smaller"), [("int8", to_int8), ("binary", to_binary)])
async def test_vectors_come_smaller_where_asked_for(adapter, tiny_int8, runtime, tiny_encoder, kind, smaller):
    made = adapter.make(model=tiny_int8, runtime=runtime, vector_type=kind)
    documents = smaller(tiny_encoder.encode_documents(TEXTS)).tolist()
    assert adapter.documents(made, TEXTS) == documents == await adapter.adocuments(made, TEXTS)
    query = smaller(tiny_encoder.encode_queries([QUESTION]))[0].tolist()
    assert adapter.query(made, QUESTION) == query == await adapter.aquery(made, QUESTION)
    assert {type(number) for number in query} == {int}


@lazy_ones
class TestConstructing:
    def test_touches_nothing_until_the_first_text(self, adapter, loads):
        made = adapter.make(model="no/such-model", local_files_only=True)
        assert loads == []
        with pytest.raises(ModelFilesError, match="no/such-model"):
            adapter.query(made, "text")

    def test_warming_up_loads_and_so_finds_what_is_missing(self, adapter, made, loads, tmp_path):
        made.warm_up()
        assert loads != []
        with pytest.raises(ModelFilesError, match="nowhere"):
            adapter.make(model=tmp_path / "nowhere").warm_up()

    def test_without_arguments_means_bge_small_in_int8_on_its_own_runtime(self, adapter, spied):
        make, _, options = spied
        adapter.query(make(), "text")
        assert (options[0].model, options[0].precision, options[0].runtime) == (
            "BAAI/bge-small-en-v1.5",
            "int8",
            None,
        )

    def test_hands_every_option_on(self, adapter, spied, tmp_path):
        make, _, options = spied
        given = {
            "runtime": "openvino",
            "precision": "fp32",
            "revision": "v1",
            "cache_folder": str(tmp_path),
            "local_files_only": True,
            "num_threads": 1,
            "instruction_set": "scalar",
            "pooling": "cls",
            "normalize": False,
            "max_length": 32,
            "truncate_dim": 16,
            "query_instruction": "find ",
            "document_instruction": "",
            "allow_torchscript": True,
            "warm_shapes": False,
        }
        assert {"model", *given} == set(asdict(LoadOptions(model="me/model")))
        adapter.query(make(model="me/model", **given), "text")
        assert asdict(options[0]) == asdict(LoadOptions(model="me/model", **given))

    def test_refuses_an_unknown_option(self, adapter):
        with pytest.raises(ValueError, match="precison"):
            adapter.make(precison="int8")

    @pytest.mark.parametrize(
        ("option", "value", "allowed"),
        [
            ("precision", "int9", "'int8', 'bf16', 'fp32'"),
            ("pooling", "average", "'cls'"),
            ("runtime", "onnx", "'openvino'"),
            ("vector_type", "int4", "'float32', 'int8', 'binary'"),
        ],
    )
    def test_refuses_a_misspelt_value_naming_what_is_allowed(self, adapter, option, value, allowed):
        if option == "vector_type" and not adapter.smaller:
            pytest.skip("the framework takes vectors of float32 only")
        with pytest.raises(ValueError, match=f"{option}='{value}'.*{allowed}"):
            adapter.make(**{option: value})

    def test_passes_texts_on_unaltered(self, adapter, spied):
        make, spy, _ = spied
        texts = ["two\nlines", "  spaces around ", "\ttab\r\n", "UPPER \u00e9e\u0301", ""]
        adapter.documents(make(), texts)
        adapter.query(make(), texts[0])
        assert spy.calls == [("documents", texts), ("queries", texts[:1])]


@ones_with_fields
class TestChangingAnOption:
    def test_is_checked_like_one_given_at_first(self, adapter, made):
        with pytest.raises(ValueError, match="int9"):
            made.precision = "int9"
        with pytest.raises(ValueError, match="precison"):
            made.precison = "int8"

    def test_is_followed_by_the_next_text(self, adapter, made, bare):
        made.warm_up()
        made.query_instruction = ""
        assert adapter.query(made, QUESTION) == bare.encode_queries([QUESTION])[0].tolist()

    def test_is_followed_by_a_copy_with_changes(self, adapter, made, bare):
        with_instruction = adapter.query(made, QUESTION)
        changed = made.model_copy(update={"query_instruction": ""})
        assert adapter.query(changed, QUESTION) == bare.encode_queries([QUESTION])[0].tolist()
        assert adapter.query(made, QUESTION) == with_instruction


class TestCopies:
    @every_adapter
    @pytest.mark.parametrize("loaded", [False, True], ids=["before-loading", "after-loading"])
    def test_sent_elsewhere_give_the_same_vectors(self, adapter, made, tiny_encoder, loaded):
        if loaded:
            adapter.query(made, QUESTION)
        for send in adapter.copies.values():
            assert listed(adapter.documents(send(made), TEXTS)) == tiny_encoder.encode_documents(TEXTS).tolist()

    @lazy_ones
    def test_sent_elsewhere_load_nothing_until_used_and_then_the_same(self, adapter, tiny_int8, runtime, loads):
        made = adapter.make(model=str(tiny_int8), runtime=runtime, max_length=32, query_instruction="find ")
        made.warm_up()
        asked = loads[0]
        loads.clear()
        sent = [send(made) for send in adapter.copies.values()]
        assert loads == []
        for one in sent:
            assert listed(adapter.query(one, QUESTION)) == listed(adapter.query(made, QUESTION))
        assert len(loads) >= len(sent)
        assert set(loads) == {asked}

    @each_runtime
    @rows_where(lambda row: row.name == "langchain")
    def test_give_the_same_vectors_on_each_runtime(self, adapter, made, tiny_encoder):
        for send in adapter.copies.values():
            assert adapter.documents(send(made), TEXTS) == tiny_encoder.encode_documents(TEXTS).tolist()

    @ones_with_fields
    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
    def test_share_the_encoder_and_load_nothing_themselves(self, adapter, made, loads, copied):
        before = copied(made)
        assert loads == []
        assert adapter.query(before, QUESTION) == adapter.query(made, QUESTION)
        assert copied(made).encoder is made.encoder


@async_ones
class TestAsync:
    async def test_vectors_are_those_of_the_sync_methods(self, adapter, made):
        assert await adapter.adocuments(made, TEXTS) == adapter.documents(made, TEXTS)
        assert await adapter.aquery(made, QUESTION) == adapter.query(made, QUESTION)

    @pytest.mark.parametrize("kind", ["documents", "query"])
    async def test_the_event_loop_goes_on_meanwhile(self, adapter, spied, kind):
        """The encoder waits for a task of the loop, which it would never see if it held the loop."""
        make, spy, _ = spied
        ticked = threading.Event()
        seen = []
        spy.before_encoding = lambda: seen.append(ticked.wait(timeout=30))

        async def tick():
            while not spy.calls:
                await asyncio.sleep(0.001)
            ticked.set()

        asked = adapter.adocuments(make(), TEXTS) if kind == "documents" else adapter.aquery(make(), QUESTION)
        await asyncio.gather(asked, tick())
        assert seen == [True]


def _one_encoder_for_many_threads(adapter, made, encoder):
    texts = [[f"the {color} {thing} {n}" for color in ("red", "blue") for thing in ("cat", "dog")] for n in range(8)]
    barrier = threading.Barrier(8)

    def embed(own):
        barrier.wait()
        return made.encoder, [listed(adapter.documents(made, own)) for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(embed, texts))
    assert len({id(loaded) for loaded, _ in results}) == 1
    for own, (_, repeated) in zip(texts, results, strict=True):
        assert repeated == [encoder.encode_documents(own).tolist()] * 5


@lazy_ones
def test_many_threads_at_once_load_once_and_get_the_right_vectors(adapter, made, tiny_encoder):
    _one_encoder_for_many_threads(adapter, made, tiny_encoder)


@each_runtime
@rows_where(lambda row: row.name == "langchain")
def test_many_threads_get_the_right_vectors_on_each_runtime(adapter, made, tiny_encoder):
    _one_encoder_for_many_threads(adapter, made, tiny_encoder)
