"""The table of retired arguments: what each becomes, and what is said about it."""

from __future__ import annotations

import dataclasses
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.integrations.retired import options_of, translate
from intel_quantized_embeddings.integrations.retired_classes import (
    INTEL_EMBEDDING,
    OPENVINO_BGE_EMBEDDINGS,
    OPENVINO_EMBEDDING,
    OPENVINO_EMBEDDINGS,
    QUANTIZED_BI_ENCODER_EMBEDDINGS,
    RETIRED_CLASSES,
)
from intel_quantized_embeddings.options import LoadOptions

pytestmark = pytest.mark.ipex

OPTIONS = {field.name for field in dataclasses.fields(LoadOptions)}
SUCCESSORS = {
    "IntelQuantizedEmbeddings": OPTIONS | {"show_progress"},
    "IntelQuantizedEmbedding": OPTIONS - {"model"} | {"model_name", "embed_batch_size", "callback_manager"},
}

# Every argument of every class: a value, and what it must become; None where it must not matter.
OF_THE_MODEL = {
    "model_kwargs.revision": ("abc", {"revision": "abc"}),
    "model_kwargs.cache_dir": ("there", {"cache_folder": "there"}),
    "model_kwargs.local_files_only": (True, {"local_files_only": True}),
    "model_kwargs.trust_remote_code": (False, {}),
    "model_kwargs.device": ("CPU", {}),
}
OPENVINO = {
    **OF_THE_MODEL,
    "model_name_or_path": ("a/b", {"model": "a/b"}),
    "encode_kwargs.mean_pooling": (True, {"pooling": "mean"}),
    "encode_kwargs.normalize_embeddings": (False, {"normalize": False}),
    "encode_kwargs.show_progress_bar": (True, {"show_progress": True}),
    "encode_kwargs.batch_size": (8, {}),
    "encode_kwargs.convert_to_numpy": (True, {}),
    "encode_kwargs.convert_to_tensor": (True, {}),
    "show_progress": (True, {"show_progress": True}),
}
LLAMA_INDEX = {
    "pooling": ("mean", {"pooling": "mean"}),
    "max_length": (128, {"max_length": 128}),
    "normalize": (False, {"normalize": False}),
    "query_instruction": ("query:", {"query_instruction": "query: "}),
    "text_instruction": ("passage: ", {"document_instruction": "passage: "}),
    "embed_batch_size": (64, {"embed_batch_size": 64}),
    "callback_manager": ("a callback manager", {"callback_manager": "a callback manager"}),
    "device": ("auto", {}),
}
BECOMES = {
    QUANTIZED_BI_ENCODER_EMBEDDINGS.name: {
        **OF_THE_MODEL,
        "model_name": ("a/b", {"model": "a/b"}),
        "max_seq_len": (128, {"max_length": 128}),
        "pooling_strategy": ("cls", {"pooling": "cls"}),
        "query_instruction": ("query: ", {"query_instruction": "query: "}),
        "document_instruction": ("passage: ", {"document_instruction": "passage: "}),
        "padding": ("max_length", {}),
        "encode_kwargs.normalize_embeddings": (True, {"normalize": True}),
        "encode_kwargs.batch_size": (8, {}),
    },
    OPENVINO_EMBEDDINGS.name: OPENVINO,
    OPENVINO_BGE_EMBEDDINGS.name: {
        **OPENVINO,
        "query_instruction": ("query:", {"query_instruction": "query:"}),
        "embed_instruction": ("passage:", {"document_instruction": "passage:"}),
    },
    INTEL_EMBEDDING.name: {
        **LLAMA_INDEX,
        "folder_name": ("a/b", {"model_name": "a/b"}),
        "cache_folder": ("there", {"cache_folder": "there"}),
    },
    OPENVINO_EMBEDDING.name: {**LLAMA_INDEX, **OF_THE_MODEL, "model_id_or_path": ("a/b", {"model_name": "a/b"})},
}

# What must be refused, and what the error must say to do.
REFUSED = {
    "ov_model": (object(), "pass the folder or hub id"),
    "model": (object(), "pass the folder or hub id"),
    "tokenizer": (object(), "pass the folder or hub id"),
    "device": ("GPU", "CPUs only"),
    "model_kwargs.device": ("NPU", "CPUs only"),
    "model_kwargs.token": ("hf_secret", "HF_TOKEN"),
    "model_kwargs.use_auth_token": (True, "HF_TOKEN"),
    "model_kwargs.trust_remote_code": (True, "No code"),
    "model_kwargs.ov_config": ({"NUM_STREAMS": 1}, "num_threads="),
}

each_class = pytest.mark.parametrize("retired", RETIRED_CLASSES, ids=lambda retired: retired.name)
each_argument = pytest.mark.parametrize(
    ("retired", "name"),
    [(retired, name) for retired in RETIRED_CLASSES for name in BECOMES[retired.name]],
    ids=lambda value: getattr(value, "name", value),
)


def as_written(arguments: dict[str, object]) -> dict[str, object]:
    """Arguments as a user writes them, {"a.b": 1} as a={"b": 1}."""
    written: dict[str, object] = {}
    for name, value in arguments.items():
        first, _, key = name.partition(".")
        if key:
            written.setdefault(first, {})[key] = value
        else:
            written[name] = value
    return written


def with_model(retired, arguments):
    name = next(iter(retired.arguments))
    return {name: BECOMES[retired.name][name][0], **arguments}


@each_class
def test_every_argument_of_the_table_is_told_here_once(retired):
    honoured = BECOMES[retired.name]
    assert {name for name in retired.arguments if name not in REFUSED} <= set(honoured) <= set(retired.arguments)


@each_argument
def test_an_argument_means_what_it_meant(retired, name):
    value, becomes = BECOMES[retired.name][name]
    before = translate(retired, [], with_model(retired, {})).options
    after = translate(retired, [], as_written(with_model(retired, {name: value}))).options
    assert after == {**before, **becomes}


@each_argument
def test_the_warning_names_the_new_class_and_the_new_argument(retired, name):
    value, becomes = BECOMES[retired.name][name]
    text = translate(retired, [], as_written(with_model(retired, {name: value}))).deprecation
    assert text.startswith(f"{retired.name} is retired. Use {retired.successor}(")
    assert becomes or f"{name} has no effect" in text
    for option in becomes:
        assert option == name or f"{name} is now {option}" in text
    assert not any(object_shown in text for object_shown in ("<", "0x"))


@each_class
@given(data=st.data())
def test_any_arguments_together_give_options_that_the_successor_has(retired, data):
    """And the call in the warning is the one that is made."""
    names = data.draw(st.sets(st.sampled_from(sorted(BECOMES[retired.name]))))
    wanted = {name: BECOMES[retired.name][name] for name in names}
    if {"show_progress", "encode_kwargs.show_progress_bar"} <= names:
        with pytest.raises(OptionError, match="a second time"):
            translate(retired, [], as_written({name: value for name, (value, _) in wanted.items()}))
        return
    translation = translate(
        retired, [], as_written(with_model(retired, {name: value for name, (value, _) in wanted.items()}))
    )
    assert set(translation.options) <= SUCCESSORS[retired.successor]
    for _, becomes in wanted.values():
        assert becomes.items() <= translation.options.items()
    call = re.search(r"Use \w+(\(.*?\))(;|$)", translation.deprecation).group(1)
    assert eval(f"dict{call}") == translation.options


@each_class
def test_order_stands_for_names(retired):
    names = list(dict.fromkeys(name.partition(".")[0] for name in retired.arguments))
    by_name = as_written({name: value for name, (value, _) in BECOMES[retired.name].items()})
    by_name.pop("show_progress", None)
    in_order = [by_name.get(name) for name in names][: retired.in_order]
    rest = {name: value for name, value in by_name.items() if name not in names[: retired.in_order]}
    assert translate(retired, in_order, rest).options == translate(retired, [], by_name).options
    with pytest.raises(OptionError, match="without a name"):
        translate(retired, [*in_order, *[None] * (retired.in_order + 1 - len(in_order))], rest)


@each_class
def test_none_is_not_given(retired):
    nothing = as_written(dict.fromkeys(list(retired.arguments)[1:]))
    assert translate(retired, [], with_model(retired, nothing)) == translate(retired, [], with_model(retired, {}))


@pytest.mark.parametrize(
    ("retired", "name"),
    [(retired, name) for retired in RETIRED_CLASSES for name in retired.arguments if name in REFUSED],
    ids=lambda value: getattr(value, "name", value),
)
def test_what_cannot_be_honoured_is_an_error_that_says_what_to_do(retired, name):
    value, advice = REFUSED[name]
    with pytest.raises(OptionError, match=re.escape(f"{retired.name}: {name}")) as caught:
        translate(retired, [], as_written(with_model(retired, {name: value})))
    assert advice in str(caught.value)
    assert "hf_secret" not in str(caught.value)


@each_class
def test_options_of_the_successor_are_taken_and_win_over_old_defaults(retired):
    options = translate(retired, [], with_model(retired, {"runtime": "openvino", "precision": "int8"})).options
    assert (options["runtime"], options["precision"]) == ("openvino", "int8")


@pytest.mark.parametrize(
    ("retired", "arguments", "message"),
    [
        (QUANTIZED_BI_ENCODER_EMBEDDINGS, {}, "needs model_name="),
        (QUANTIZED_BI_ENCODER_EMBEDDINGS, {"model_name": 5}, "the model is 5"),
        (QUANTIZED_BI_ENCODER_EMBEDDINGS, {"model_name": "a/b", "max_seq_len": 8, "max_length": 9}, "a second time"),
        (QUANTIZED_BI_ENCODER_EMBEDDINGS, {"model_name": "a/b", "encode_kwargs": 5}, "it is a dictionary"),
        (OPENVINO_EMBEDDINGS, {"model_name_or_path": "a/b", "encode_kwargs": {"batchsize": 5}}, "'batch_size'"),
    ],
)
def test_a_mistake_is_an_option_error(retired, arguments, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        translate(retired, [], arguments)


def test_an_argument_with_and_without_its_name_is_refused():
    with pytest.raises(OptionError, match="model_name twice"):
        translate(QUANTIZED_BI_ENCODER_EMBEDDINGS, ["a/b"], {"model_name": "c/d"})


@pytest.mark.parametrize(
    ("retired", "expected"),
    [
        (QUANTIZED_BI_ENCODER_EMBEDDINGS, ("ipex", None, "mean", False, 512, "", "")),
        (OPENVINO_EMBEDDINGS, (None, "fp32", "cls", True, None, "", "")),
        (
            OPENVINO_BGE_EMBEDDINGS,
            (None, "fp32", "cls", True, None, "Represent this question for searching relevant passages: ", ""),
        ),
        (INTEL_EMBEDDING, ("ipex", None, "cls", True, None, "", "")),
        (OPENVINO_EMBEDDING, (None, "fp32", "cls", True, None, "", "")),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_was_not_said_is_as_it_was(retired, expected):
    options = translate(retired, [], with_model(retired, {})).options
    names = ("runtime", "precision", "pooling", "normalize", "max_length", "query_instruction", "document_instruction")
    assert tuple(options.get(name) for name in names) == expected


def test_a_chinese_bge_gets_its_own_sentence_whatever_is_asked_for():
    options = translate(
        OPENVINO_BGE_EMBEDDINGS, [], {"model_name_or_path": "BAAI/bge-small-zh-v1.5", "query_instruction": "query: "}
    ).options
    assert options["query_instruction"] == "为这个句子生成表示以用于检索相关文章："


@pytest.mark.parametrize(
    ("retired", "model", "told"),
    [
        (QUANTIZED_BI_ENCODER_EMBEDDINGS, "BAAI/bge-small-en-v1.5", "pooling='cls'"),
        (QUANTIZED_BI_ENCODER_EMBEDDINGS, "Intel/bge-small-en-v1.5-rag-int8-static", "pooling='cls'"),
        (OPENVINO_EMBEDDINGS, "sentence-transformers/all-mpnet-base-v2", "pooling='mean'"),
        (QUANTIZED_BI_ENCODER_EMBEDDINGS, "sentence-transformers/all-MiniLM-L6-v2", ""),
        (INTEL_EMBEDDING, "BAAI/bge-small-en-v1.5", ""),
        (INTEL_EMBEDDING, "some/unknown-model", ""),
    ],
)
def test_a_pooling_that_is_not_the_models_is_said_loudly(caplog, retired, model, told):
    """In the log, which is shown without being asked for; a DeprecationWarning often is not."""
    with pytest.deprecated_call(), caplog.at_level(logging.WARNING, logger="intel_quantized_embeddings"):
        options_of(retired, [model], {}) if retired.in_order else options_of(
            retired, [], {next(iter(retired.arguments)): model}
        )
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == (1 if told else 0)
    assert all(told in message and "embed your documents again" in message for message in logged)
