"""What a model's folder says of itself, in every form sentence-transformers has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import (
    DamagedFilesError,
    ModelFilesError,
    OptionError,
    UnsupportedModelError,
)
from intel_quantized_embeddings.models.known import look_up
from intel_quantized_embeddings.models.settings import ModelSettings, read_settings
from intel_quantized_embeddings.options import Pooling
from intel_quantized_embeddings.similarity import Similarity
from support.tiny_models import write_tiny_model

BGE = "Represent this sentence for searching relevant passages: "
WEB_SEARCH = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery"
TRANSFORMER = {"type": "sentence_transformers.models.Transformer", "path": ""}
POOLING = {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}
NORMALIZE = {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}
DENSE = {"type": "sentence_transformers.models.Dense", "path": "pool"}


class Folder:
    """A model folder's metadata, written file by file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("config.json", {"model_type": "bert", "max_position_embeddings": 512})

    def write(self, name: str, content: Any) -> Folder:
        file = self.path / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return self

    def read(self, name: str = "someone/unknown", **overrides: Any) -> ModelSettings:
        return read_settings(self.path, name=name, **overrides)


@pytest.fixture
def bare(tmp_path):
    """Only config.json."""
    return Folder(tmp_path / "folder")


@pytest.fixture
def folder(bare):
    """A folder that says everything, with mean pooling."""
    bare.write("modules.json", [TRANSFORMER, POOLING, NORMALIZE])
    return bare.write("1_Pooling/config.json", {"pooling_mode": "mean"})


# --- pooling -----------------------------------------------------------------------------------


def _flags(**on: bool) -> dict[str, Any]:
    names = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    return {"word_embedding_dimension": 32, **{f"pooling_mode_{n}": on.get(n, False) for n in names}}


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        (_flags(cls_token=True), Pooling.CLS),
        (_flags(mean_tokens=True), Pooling.MEAN),
        (_flags(lasttoken=True), Pooling.LAST),
        ({**_flags(cls_token=True), "include_prompt": True}, Pooling.CLS),
        ({"pooling_mode_cls_token": True}, Pooling.CLS),
        ({"pooling_mode": "cls"}, Pooling.CLS),
        ({"pooling_mode": "mean", "embedding_dimension": 32, "include_prompt": True}, Pooling.MEAN),
        ({"pooling_mode": "lasttoken"}, Pooling.LAST),
        ({"pooling_mode": ["mean"]}, Pooling.MEAN),
        ({"pooling_mode": ["lasttoken"]}, Pooling.LAST),
        ({"pooling_mode": "max"}, Pooling.MAX),
        (_flags(mean_sqrt_len_tokens=True), Pooling.MEAN_SQRT_LENGTH),
        (_flags(weightedmean_tokens=True), Pooling.WEIGHTED_MEAN),
    ],
    ids=lambda value: None if isinstance(value, Pooling) else json.dumps(value)[:60],
)
def test_pooling_is_read_in_the_old_form_and_the_new(folder, config, pooling):
    """One flag a mode (versions before 6) and `pooling_mode` mean the same."""
    assert folder.write("1_Pooling/config.json", config).read().pooling is pooling


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"pooling_mode": ["mean", "cls"]}, "mean+cls"),
        (_flags(mean_tokens=True, max_tokens=True, cls_token=True), "cls+max+mean"),  # versions before 6 had one order
    ],
)
def test_several_poolings_are_put_one_behind_another(folder, config, name):
    settings = folder.write("1_Pooling/config.json", config).read()
    assert settings.pooling_name == name
    assert folder.read(pooling=name).poolings == settings.poolings


@pytest.mark.parametrize(
    "config",
    [
        {"pooling_mode": "median"},
        {"pooling_mode": ["cls", "median"]},
        {"pooling_mode": []},
        {"pooling_mode": 3},
    ],
    ids=lambda value: json.dumps(value)[-50:],
)
def test_a_pooling_that_is_not_built_in_is_refused(folder, config):
    """A mode that would give other vectors is an error naming the file."""
    with pytest.raises(UnsupportedModelError, match=r"1_Pooling/config\.json asks for the pooling"):
        folder.write("1_Pooling/config.json", config).read()


def test_pooling_without_the_instruction_is_refused(folder):
    """include_prompt=false is a different pooling."""
    with pytest.raises(UnsupportedModelError, match="include_prompt=false"):
        folder.write("1_Pooling/config.json", {"pooling_mode": "mean", "include_prompt": False}).read()


@pytest.mark.parametrize("other", [{"include_prompt": False}, {"what_is_this": 1}])
def test_a_pooling_that_is_given_leaves_the_files_other_keys_in_force(folder, other):
    with pytest.raises(UnsupportedModelError, match=next(iter(other))):
        folder.write("1_Pooling/config.json", {"pooling_mode": "mean", **other}).read(pooling="cls")


def test_the_caller_overrides_pooling(folder):
    """pooling= wins over the folder."""
    assert folder.read(pooling="cls").pooling is Pooling.CLS


def test_an_unknown_word_for_pooling_is_refused(folder):
    """The error has the words that are known."""
    with pytest.raises(OptionError, match="pooling='first' is not known; it is one of 'cls', 'mean', 'last', 'max'"):
        folder.read(pooling="first")


def test_unknown_pooling_is_asked_for(bare):
    """Where neither the folder nor the name says how to pool, the error names the argument and the danger."""
    with pytest.raises(OptionError, match=r"Pass pooling='cls' or pooling='mean'.*search badly without any error"):
        bare.read()
    assert bare.read(pooling="mean").pooling is Pooling.MEAN


def test_the_folder_wins_over_what_is_known_by_name(folder):
    """A BGE folder that says mean is mean."""
    assert folder.read("BAAI/bge-small-en-v1.5").pooling is Pooling.MEAN


def test_a_pooling_module_without_its_config_is_an_error(bare):
    """modules.json lists Pooling and the file is not there: nothing is guessed, not even by name."""
    with pytest.raises(ModelFilesError, match=r"has a Pooling module, and .*1_Pooling/config\.json is not there"):
        bare.write("modules.json", [TRANSFORMER, POOLING]).read("BAAI/bge-small-en-v1.5")


# --- modules.json ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "python_module",
    ["sentence_transformers.models", "sentence_transformers.sentence_transformer.modules", "sentence_transformers"],
)
def test_modules_are_known_by_their_class(folder, python_module):
    """Version 6 moved the classes; the type's last part decides."""
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    folder.write("modules.json", [{"type": f"{python_module}.{kind}", "path": path} for kind, path in kinds])
    settings = folder.read()
    assert (settings.pooling, settings.normalize) == (Pooling.MEAN, True)


@pytest.mark.parametrize("kind", ["LSTM", "WeightedLayerPooling", "WordWeights", "CLIPModel"])
def test_a_module_that_is_not_built_in_is_refused(folder, kind):
    """Leaving a module out would give other vectors, so the model is refused and the module named."""
    module = {"type": f"sentence_transformers.models.{kind}", "path": f"2_{kind}"}
    with pytest.raises(UnsupportedModelError, match=f"has a {kind} module; built in are Transformer, Pooling"):
        folder.write("modules.json", [TRANSFORMER, POOLING, module]).read()


def _dense(folder, **other: Any):
    """Put a Dense between pooling and Normalize; `None` takes a key out."""
    config = {"in_features": 32, "out_features": 48, "bias": True, "activation_function": "torch.nn.Tanh", **other}
    folder.write("pool/config.json", {k: v for k, v in config.items() if v is not None})
    return folder.write("modules.json", [TRANSFORMER, POOLING, DENSE, NORMALIZE])


def test_a_chain_of_modules_is_read_in_order(folder):
    chain = [NORMALIZE, DENSE, {"type": "sentence_transformers.models.Dropout", "path": "3_Dropout"}, NORMALIZE]
    _dense(folder).write("modules.json", [TRANSFORMER, POOLING, *chain])
    settings = folder.read()
    assert (settings.modules, settings.normalize) == (("Normalize", "Dense 32 to 48, Tanh"), True)
    assert folder.read(normalize=False).modules == settings.modules
    folder.write("modules.json", [TRANSFORMER, POOLING, NORMALIZE, DENSE])
    assert not folder.read().normalize


def test_a_dense_that_says_no_activation_has_its_classs_own(folder):
    assert _dense(folder, activation_function=None).read().modules == ("Dense 32 to 48, Tanh",)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (
            {"activation_function": "torch.nn.modules.activation.Mish"},
            "activation_function='torch.*Mish'; built in are",
        ),
        ({"activation_function": "own_code.Tanh"}, "activation_function='own_code.Tanh'"),
        ({"module_input_name": "token_embeddings"}, "module_input_name='token_embeddings'"),
        ({"module_output_name": "scores"}, "module_output_name='scores'"),
        ({"use_residual": True}, "use_residual=true"),
        ({"unheard_of": 1}, "unheard_of=1"),
        ({"out_features": "many"}, "out_features='many'"),
        ({"in_features": None}, "in_features=None"),
        ({"bias": 1}, "bias=1"),
    ],
)
def test_a_dense_that_is_not_built_in_is_refused_by_name(folder, wrong, error):
    with pytest.raises((UnsupportedModelError, DamagedFilesError), match=error):
        _dense(folder, **wrong).read()


def test_modules_before_the_pooling_are_refused(folder):
    with pytest.raises(UnsupportedModelError, match=r"runs Transformer, Dense, Pooling, in this order"):
        _dense(folder).write("modules.json", [TRANSFORMER, DENSE, POOLING]).read()


def test_pooling_is_read_where_modules_json_says(folder):
    """The Pooling module's folder may have any name."""
    folder.write("modules.json", [TRANSFORMER, {**POOLING, "path": "pool"}])
    assert folder.write("pool/config.json", {"pooling_mode": "cls"}).read().pooling is Pooling.CLS


@pytest.mark.parametrize("path", ["../elsewhere", "/etc", "1_Pooling/../../x", ".."])
def test_a_module_outside_the_folder_is_refused(folder, path):
    """modules.json can't point at files that are not the model's."""
    with pytest.raises(DamagedFilesError, match="which is outside the folder"):
        folder.write("modules.json", [TRANSFORMER, {**POOLING, "path": path}]).read()


@pytest.mark.parametrize("content", [{}, {"type": "Pooling"}, [1], [None], [{"path": ""}], 3, None])
def test_modules_that_are_no_list_of_modules_are_damaged(folder, content):
    """Valid JSON of another shape is an error naming the file."""
    with pytest.raises(DamagedFilesError, match=r"modules\.json is not a list of modules"):
        folder.write("modules.json", content).read()


# --- normalization -----------------------------------------------------------------------------


def test_normalization_is_what_the_pipeline_says(folder):
    """With a Normalize module vectors have length 1, without one they are left alone."""
    assert folder.read().normalize
    assert not folder.write("modules.json", [TRANSFORMER, POOLING]).read().normalize


def test_a_folder_without_a_pipeline_gets_unit_vectors(bare):
    """Where there is no modules.json, vectors have length 1."""
    assert bare.read(pooling="cls").normalize


def test_the_caller_overrides_normalization(folder):
    """normalize= wins over the folder, both ways."""
    assert not folder.read(normalize=False).normalize
    assert folder.write("modules.json", [TRANSFORMER, POOLING]).read(normalize=True).normalize


# --- length ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sentence_bert_config.json", "sentence_xlm-roberta_config.json"])
def test_max_length_comes_first_from_sentence_transformers(folder, name):
    """max_seq_length is the model's own limit, under each name the file has had."""
    folder.write("tokenizer_config.json", {"model_max_length": 300})
    assert folder.write(name, {"max_seq_length": 128, "do_lower_case": False}).read().max_length == 128


@pytest.mark.parametrize("length", ["128", True, 2, 0, -1, [128], float("nan")])
@pytest.mark.parametrize(
    ("file", "key"), [("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")]
)
def test_a_length_that_is_no_number_of_tokens_is_damaged(folder, file, key, length):
    with pytest.raises(DamagedFilesError, match=f"{key} is .*3 or more"):
        folder.write(file, {key: length}).read()


@pytest.mark.parametrize("absent", [None, {}, {"max_seq_length": None}])
def test_max_length_comes_next_from_the_tokenizer(folder, absent):
    """Without max_seq_length it is the tokenizer's model_max_length."""
    if absent is not None:
        folder.write("sentence_bert_config.json", absent)
    assert folder.write("tokenizer_config.json", {"model_max_length": 300}).read().max_length == 300


def test_max_length_comes_last_from_the_position_table(folder):
    """A tokenizer without a limit (transformers writes 1e30) leaves it to the positions."""
    folder.write("tokenizer_config.json", {"model_max_length": 1000000000000000019884624838656})
    assert folder.read().max_length == 512


def test_no_length_at_all_is_asked_for(folder):
    """Where nothing says it, the error names the three places and the argument."""
    with pytest.raises(OptionError, match=r"max_seq_length, model_max_length or max_position_embeddings.*max_length="):
        folder.write("config.json", {"model_type": "bert"}).read()


def test_a_length_beyond_the_positions_is_cut_to_them(folder):
    """What the folder says may be too much for the weights; then the weights decide."""
    folder.write("sentence_bert_config.json", {"max_seq_length": 1024})
    assert folder.read().override(max_positions=512).max_length == 512


@pytest.mark.parametrize("max_length", [0, 2, -1, 513])
def test_an_impossible_max_length_is_refused(folder, max_length):
    """The caller's max_length counts at least 3 tokens and at most the model's positions."""
    with pytest.raises(OptionError, match=f"max_length={max_length!r}"):
        folder.read().override(max_length=max_length, max_positions=512)


def test_overrides_replace_what_they_name(folder):
    """override() leaves what is None, and takes an empty instruction for one."""
    folder.write("config_sentence_transformers.json", {"prompts": {"query": "q: ", "document": "d: "}})
    settings = folder.read().override(max_length=64, query_instruction="")
    assert (settings.max_length, settings.query_instruction, settings.document_instruction) == (64, "", "d: ")


# --- instructions ------------------------------------------------------------------------------


def _instructions(folder: Folder, name: str = "someone/unknown", **config: Any) -> tuple[str, str]:
    settings = folder.write("config_sentence_transformers.json", config).read(name)
    return settings.query_instruction, settings.document_instruction


@pytest.mark.parametrize("name", ["document", "passage", "corpus"])
def test_each_name_of_a_document_prompt_is_read(folder, name):
    """sentence-transformers knows three names for what is put before a document."""
    assert _instructions(folder, prompts={"query": "Q ", name: "D "}) == ("Q ", "D ")


def test_document_comes_before_passage_and_corpus(folder):
    """Where several are there, sentence-transformers' order decides."""
    assert _instructions(folder, prompts={"corpus": "c", "passage": "p", "document": "d"})[1] == "d"
    assert _instructions(folder, prompts={"corpus": "c", "passage": "p"})[1] == "p"


def test_the_default_prompt_fills_what_has_no_own(folder):
    """default_prompt_name applies to a kind of text that has no prompt of its own."""
    assert _instructions(folder, prompts={"s": "S ", "query": "Q "}, default_prompt_name="s") == ("Q ", "S ")


def test_other_prompts_are_not_used(folder):
    """A prompt for some other task is not put before queries or documents."""
    assert _instructions(folder, prompts={"clustering": "C "}, default_prompt_name=None) == ("", "")


@pytest.mark.parametrize("config", [{}, {"prompts": {}}, {"prompts": None}, {"prompts": {"query": "", "document": ""}}])
def test_empty_placeholders_do_not_hide_what_is_known(folder, config):
    """sentence-transformers writes empty prompts by itself; a known model keeps its instruction."""
    assert _instructions(folder, "BAAI/bge-small-en-v1.5", **config) == (BGE, "")
    assert _instructions(folder, "intfloat/e5-small-v2", **config) == ("query: ", "passage: ")
    assert _instructions(folder, **config) == ("", "")


def test_a_folders_prompts_win_over_what_is_known(folder):
    """Once one prompt is filled in, an empty one beside it is meant."""
    assert _instructions(folder, "intfloat/e5-small-v2", prompts={"query": "Q ", "document": ""}) == ("Q ", "")


@pytest.mark.parametrize("prompts", [["query"], {"query": 1}, {"query": None}, "query"])
def test_prompts_of_another_shape_are_damaged(folder, prompts):
    """Prompts are a table of texts; anything else is an error naming the file."""
    with pytest.raises(DamagedFilesError, match=r"config_sentence_transformers\.json: prompts is"):
        _instructions(folder, prompts=prompts)


@pytest.mark.parametrize("default", ["x", ["query"], 1])
def test_a_default_that_is_no_prompt_is_damaged(folder, default):
    """default_prompt_name has to name one of the prompts."""
    with pytest.raises(DamagedFilesError, match=r"default_prompt_name is .* not among the prompts"):
        _instructions(folder, prompts={"query": "Q"}, default_prompt_name=default)


# --- damaged files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "modules.json",
        "1_Pooling/config.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
        "tokenizer_config.json",
    ],
)
@pytest.mark.parametrize("content", ["", "{", "\x00", "[" * 100_000, "version https://git-lfs.github.com/spec/v1"])
def test_damaged_json_is_named(folder, name, content):
    """A file that is cut short, nested absurdly or an LFS pointer is an error naming it."""
    with pytest.raises(DamagedFilesError, match=f"{name} is not readable JSON"):
        folder.write(name, content).read()


@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json", "config_sentence_transformers.json"])
def test_json_of_another_kind_is_named(folder, name):
    """A list where a table belongs is an error naming the file."""
    with pytest.raises(DamagedFilesError, match=f"{name} holds a JSON list; an object is expected"):
        folder.write(name, [1, 2]).read()


def test_bytes_that_are_no_utf8_are_damaged(folder):
    """A binary file under a JSON name is damaged, not a decoding error."""
    (folder.path / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DamagedFilesError, match=r"config\.json is not readable JSON"):
        folder.read()


def test_a_damaged_file_is_a_value_error(folder):
    """Callers can catch the builtin they would reach for."""
    with pytest.raises(ValueError):
        Encoder.load(folder.write("modules.json", "{").path, precision="fp32")


# --- what is known by name ---------------------------------------------------------------------

_ARCTIC = [f"Snowflake/snowflake-arctic-embed-{size}" for size in ("xs", "s", "m", "l", "m-long", "m-v1.5")]
_CLS_WITH_BGE_INSTRUCTION = [
    "BAAI/bge-small-en-v1.5",
    "BAAI/bge-base-en",
    "BAAI/bge-large-en-v1.5",
    "Intel/bge-small-en-v1.5-rag-int8-static",
    "Intel/bge-base-en-v1.5-rag-int8-static",
    "./models/BGE-Small-EN-v1.5/",
    "BAAI_bge-small-en-v1.5",
    "models--BAAI--bge-base-en-v1.5",
    "mixedbread-ai/mxbai-embed-large-v1",
    "mixedbread-ai/mxbai-embed-2d-large-v1",
    "WhereIsAI/UAE-Large-V1",
    *_ARCTIC,
]


@pytest.mark.parametrize("name", _CLS_WITH_BGE_INSTRUCTION)
def test_models_with_the_search_instruction_are_known(bare, name):
    """BGE, arctic, mxbai and UAE pool by CLS and take the same instruction before a query."""
    settings = bare.read(name)
    assert (settings.pooling, settings.query_instruction, settings.document_instruction) == (Pooling.CLS, BGE, "")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BAAI/bge-small-zh-v1.5", (Pooling.CLS, "为这个句子生成表示以用于检索相关文章：", "")),
        ("BAAI/bge-large-zh-noinstruct", (Pooling.CLS, "", "")),
        ("BAAI/bge-m3", (Pooling.CLS, "", "")),
        ("Xenova/bge-m3-onnx", (Pooling.CLS, "", "")),
        ("intfloat/e5-base-unsupervised", (Pooling.MEAN, "query: ", "passage: ")),
        ("e5-large-v2-fp16-openvino", (Pooling.MEAN, "query: ", "passage: ")),
        ("Snowflake/snowflake-arctic-embed-m-v2.0", (Pooling.CLS, "query: ", "")),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", (Pooling.CLS, "query: ", "")),
        ("intfloat/e5-small-v2", (Pooling.MEAN, "query: ", "passage: ")),
        ("intfloat/e5-large", (Pooling.MEAN, "query: ", "passage: ")),
        ("intfloat/multilingual-e5-base", (Pooling.MEAN, "query: ", "passage: ")),
        ("thenlper/gte-small", (Pooling.MEAN, "", "")),
        ("sentence-transformers/all-MiniLM-L6-v2", (Pooling.MEAN, "", "")),
        ("sentence-transformers/all-mpnet-base-v2", (Pooling.MEAN, "", "")),
        ("onnx-community/gte-multilingual-base", (Pooling.CLS, "", "")),
        ("models--nomic-ai--nomic-embed-text-v1.5", (Pooling.MEAN, "search_query: ", "search_document: ")),
        ("Qwen3-Embedding-0.6B-int8", (Pooling.LAST, f"{WEB_SEARCH}:", "")),
        ("microsoft/harrier-oss-v1-0.6b", (Pooling.LAST, f"{WEB_SEARCH}: ", "")),
        ("intfloat/multilingual-e5-large-instruct", (Pooling.MEAN, f"{WEB_SEARCH}: ", "")),
        ("jinaai/jina-embeddings-v5-text-small-retrieval", (Pooling.LAST, "Query: ", "Document: ")),
    ],
)
def test_other_models_are_known(bare, name, expected):
    """Each family has its own pooling and instructions."""
    settings = bare.read(name)
    assert (settings.pooling, settings.query_instruction, settings.document_instruction) == expected


@pytest.mark.parametrize(
    "name",
    [
        "BAAI/bge-reranker-base",
        "BAAI/bge-multilingual-gemma2",
        "BAAI/bge-small-english",
        "BAAI/bge-m30",
        "someone/my-bge-small-en-v1.5",
        "legal_bge-small-en-v1.5",
        "bge-small-en-v1.5-legal",
        "bge-small-en-v1.5-finetuned-int8",
        "someone/bge-base-en-v1.5-matryoshka",
        "BAAI/bge-m3-retromae",
        "BAAI/bge-m3-unsupervised",
        "BAAI/bge-small-en-icl",
        "intfloat/multilingual-e5-large-pooled-instruct",
        "intfloat/e5-base-4k",
        "dwzhu/e5rope-base",
        "Snowflake/snowflake-arctic-embed-m-v2.0-legal",
        "thenlper/gte-large-zh",
        "thenlper/gte-small-en-onnx",
        "sentence-transformers/all-mpnet-base-v2-negation",
        "bge-small-en-v1.5/other",
        "intfloat/e5-mistral-7b-instruct",
        "Alibaba-NLP/gte-Qwen2-1.5B-instruct",
        "Alibaba-NLP/gte-multilingual-reranker-base",
        "nomic-ai/nomic-embed-text-v1-unsupervised",
        "nomic-ai/nomic-embed-text-v2-moe",
        "lightonai/DenseOn-unsupervised",
        "lightonai/GTE-ModernColBERT-v1",
        "cl-nagoya/ruri-v3-reranker-310m",
        "Qwen/Qwen3-Reranker-0.6B",
        "Qwen/Qwen3-0.6B",
        "jinaai/jina-embeddings-v5-text-nano",
        "jinaai/jina-embeddings-v5-text-small-clustering",
        "Snowflake/snowflake-arctic-embed-xl",
        "WhereIsAI/UAE-Large-V10",
        "sentence-transformers/all-MiniLM-L6-v20",
        "sentence-transformers/multi-qa-MiniLM-L6-cos-v1",
        "",
    ],
)
def test_near_misses_are_not_known(bare, name):
    """A name that is only like a known one gets no guess."""
    assert look_up([name]) is None
    with pytest.raises(OptionError, match="not known by name"):
        bare.read(name)


def test_a_folder_is_known_by_its_own_name(tmp_path):
    """A copy of a known model in a folder of that name is known."""
    assert Folder(tmp_path / "bge-small-en-v1.5").read("anything").pooling is Pooling.CLS


@pytest.mark.parametrize("origin", ["BAAI/bge-small-en-v1.5", "intfloat/e5-base-v2", "/models/bge-small-en-v1.5"])
@pytest.mark.parametrize("prompts", [None, {}, {"query": "", "document": ""}])
def test_an_ancestor_gives_no_instruction(folder, origin, prompts):
    """`_name_or_path` of config.json names what a fine-tuned model was made from, not the model."""
    folder.write("config.json", {"_name_or_path": origin, "max_position_embeddings": 512})
    if prompts is not None:
        folder.write("config_sentence_transformers.json", {"prompts": prompts})
    settings = folder.read("my-model")
    assert (settings.query_instruction, settings.document_instruction) == ("", "")


def test_an_ancestor_gives_no_pooling_but_the_error_tells_of_it(bare):
    """Training may have changed the pooling; the error says which one the ancestor has."""
    bare.write("config.json", {"_name_or_path": "thenlper/gte-small", "max_position_embeddings": 512})
    with pytest.raises(OptionError, match=r"made from thenlper/gte-small, which is made for pooling='mean'"):
        bare.read()


def test_the_first_known_name_decides():
    """Names are tried in the order given."""
    assert look_up(["unknown", "BAAI/bge-m3", "intfloat/e5-small"]).pooling is Pooling.CLS


def test_prompts_of_other_names_leave_the_known_instruction(bare):
    """harrier stores its prompts by task, and none as `query`; encode_query of sentence-transformers adds nothing."""
    stored = {
        "web_search_query": f"{WEB_SEARCH}: ",
        "sts_query": "Instruct: Retrieve semantically similar text\nQuery: ",
    }
    bare.write("config_sentence_transformers.json", {"prompts": stored})
    settings = bare.read("microsoft/harrier-oss-v1-270m")
    assert (settings.query_instruction, settings.document_instruction) == (f"{WEB_SEARCH}: ", "")
    assert dict(settings.other_prompts) == stored


def test_lowercasing_and_length_come_from_sentence_bert_config_unless_overridden(tmp_path):
    write_tiny_model(tmp_path / "m")
    (tmp_path / "m" / "sentence_bert_config.json").write_text('{"max_seq_length": 33, "do_lower_case": true}')
    settings = read_settings(tmp_path / "m", name="m")
    assert (settings.max_length, settings.lowercase) == (33, True)
    assert read_settings(tmp_path / "m", name="m", default_max_length=20).max_length == 33


def test_a_model_is_known_by_the_hubs_cache_folder(tmp_path):
    """The path of a snapshot in the hub's cache ends in a commit, but its parents name the model."""
    snapshot = tmp_path / "models--BAAI--bge-small-en-v1.5" / "snapshots" / ("0" * 40)
    write_tiny_model(snapshot, pooling=None)
    settings = read_settings(snapshot, name=snapshot.name)
    assert (settings.pooling, settings.query_instruction) == (Pooling.CLS, BGE)


@pytest.mark.parametrize("asked", [None, "cosine", "dot", "euclidean", "manhattan"])
def test_similarity_is_what_the_folder_says_and_the_cosine_if_nothing(folder, asked):
    assert folder.read().similarity is Similarity.COSINE
    folder.write("config_sentence_transformers.json", {"similarity_fn_name": asked})
    assert folder.read().similarity.value == (asked or "cosine")


@pytest.mark.parametrize("asked", ["maxsim", "dot_product", "", 5, ["dot"], {"name": "dot"}, True])
def test_a_similarity_that_is_not_built_in_is_refused(folder, asked):
    folder.write("config_sentence_transformers.json", {"similarity_fn_name": asked})
    with pytest.raises(UnsupportedModelError, match=r"config_sentence_transformers\.json has similarity_fn_name="):
        folder.read()


def test_the_default_prompt_is_for_texts_of_no_kind(folder):
    assert folder.read().default_instruction == ""
    prompts = {"s": "S ", "query": "Q "}
    content = {"prompts": prompts, "default_prompt_name": "s"}
    folder.write("config_sentence_transformers.json", content)
    settings = folder.read()
    assert (settings.query_instruction, settings.default_instruction) == ("Q ", "S ")
