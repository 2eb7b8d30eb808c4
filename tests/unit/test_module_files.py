"""modules.json and the files of its modules: obeyed, or refused by the key's name."""

from __future__ import annotations

import contextlib
import json

import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder
from intel_quantized_embeddings.errors import DamagedFilesError, QuantizedEmbeddingsError, UnsupportedModelError
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.models.scoring import Activation, read_cross_encoder_settings
from intel_quantized_embeddings.models.settings import read_settings
from intel_quantized_embeddings.options import Pooling
from support.tiny_models import write_tiny_cross_encoder, write_tiny_model


@pytest.fixture
def folder(tmp_path):
    return write_tiny_model(tmp_path / "model")


def _pipeline(folder, *kinds, paths=()):
    where = dict(zip(kinds, paths, strict=False)) or {
        "Transformer": "",
        "Pooling": "1_Pooling",
        "Normalize": "2_Normalize",
    }
    modules = [
        {"idx": i, "name": str(i), "path": where.get(kind.rsplit(".", 1)[-1], f"{i}_X"), "type": kind}
        for i, kind in enumerate(kind if "." in kind else f"sentence_transformers.models.{kind}" for kind in kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def _read(folder, **options):
    return read_settings(folder, name="model", **options)


@pytest.mark.parametrize(
    "type_",
    [
        "custom_st.Transformer",
        "my.sentence_transformers.models.Transformer",
        "sentence_transformersx.Transformer",
    ],
)
def test_a_class_of_the_repositorys_own_is_refused(folder, type_):
    """Whatever its last name, and also where that name is a built-in one's."""
    with pytest.raises(UnsupportedModelError, match=rf"of the type '{type_}', a class outside sentence-transformers"):
        _read(_pipeline(folder, type_, "Pooling"))


def test_modules_run_in_the_order_of_the_list(folder):
    """Normalize before Pooling finds no sentence's vector; `idx` is not looked at."""
    assert not _read(_pipeline(folder, "Transformer", "Normalize", "Pooling")).normalize
    assert _read(_pipeline(folder, "Transformer", "Normalize", "Pooling", "Normalize")).normalize
    modules = json.loads(_pipeline(folder, "Transformer", "Pooling", "Normalize").joinpath("modules.json").read_text())
    for module in modules:
        module["idx"] = 2 - module["idx"]
    (folder / "modules.json").write_text(json.dumps(modules))
    assert _read(folder).normalize


@pytest.mark.parametrize(
    "kinds",
    [
        ("Pooling", "Transformer"),
        ("Transformer", "Transformer", "Pooling"),
        ("Transformer", "Pooling", "Pooling"),
        ("Normalize", "Transformer", "Pooling"),
    ],
)
def test_another_order_is_refused(folder, kinds):
    with pytest.raises(UnsupportedModelError, match=r"modules\.json runs .*in this order"):
        _read(_pipeline(folder, *kinds))


def test_a_transformer_in_a_folder_of_its_own_is_refused(folder):
    """The weights in the root would be another model's."""
    (folder / "0_Transformer").mkdir()
    with pytest.raises(UnsupportedModelError, match=r"keeps the Transformer module in .*0_Transformer"):
        _read(_pipeline(folder, "Transformer", "Pooling", paths=("0_Transformer", "1_Pooling")))


def test_two_modules_of_one_name_are_refused(folder):
    """sentence-transformers would let the second take the first one's place."""
    modules = json.loads((folder / "modules.json").read_text())
    modules[2]["name"] = "1"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(DamagedFilesError, match="gives two modules the name '1'"):
        _read(folder)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"word_embedding_dimension": 32}, Pooling.MEAN),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": False}, Pooling.MEAN),
        ({"pooling_mode_cls_token": 1}, Pooling.CLS),
        ({"pooling_mode": "cls", "pooling_mode_mean_tokens": True}, Pooling.CLS),
        ({"pooling_mode": ["lasttoken"], "pooling_mode_max_tokens": True}, Pooling.LAST),
    ],
)
def test_pooling_flags_mean_what_sentence_transformers_takes_them_for(folder, config, expected):
    """No flag is the mean, any true value is a flag, and pooling_mode wins over all of them."""
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    assert _read(folder).pooling is expected


def test_the_first_file_of_the_transformer_module_that_says_anything_counts(folder):
    """In sentence-transformers' order, not the alphabet's."""
    (folder / "sentence_albert_config.json").write_text('{"max_seq_length": 20}')
    (folder / "sentence_roberta_config.json").write_text('{"max_seq_length": 30, "do_lower_case": true}')
    (folder / "sentence_bert_config.json").write_text("{}")
    settings = _read(folder)
    assert (settings.max_length, settings.lowercase) == (30, True)


def test_the_older_name_of_the_tokenizers_length_is_read(folder):
    (folder / "tokenizer_config.json").write_text('{"max_len": 40}')
    assert _read(folder).max_length == 40


@pytest.mark.parametrize("truncate_dim", [None, 32, 768])
def test_vectors_that_are_not_cut_load(folder, truncate_dim):
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"truncate_dim": truncate_dim}))
    assert _read(folder).pooling is Pooling.MEAN


@pytest.mark.parametrize("kwargs", ["task", {"task": 1}, [1]])
def test_kwargs_of_another_shape_are_damaged(folder, kwargs):
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["kwargs"] = kwargs
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(DamagedFilesError, match="kwargs of the Transformer module"):
        _read(folder)


@pytest.mark.parametrize(
    "file", ["sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json"]
)
@pytest.mark.parametrize("value", [[], {}, 1, "x", True, None])
@pytest.mark.parametrize(
    "key", ["model_kwargs", "processor_kwargs", "prompts", "modality_config", "truncate_dim", "pooling_mode"]
)
def test_values_of_any_shape_are_read_or_refused(folder, file, key, value):
    (folder / file).write_text(json.dumps({key: value}))
    with contextlib.suppress(QuantizedEmbeddingsError):
        assert _read(folder).max_length == 64


# --- adapters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [(), ("config.json", "model.safetensors")], ids=["beside weights", "alone"])
@pytest.mark.parametrize("load", [Encoder.load, CrossEncoder.load, find_model])
def test_an_adapter_is_refused_by_name(folder, load, left):
    """Without it the vectors would be the base model's; the error shows how to merge it."""
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "BAAI/bge-small-en-v1.5", "r": 4}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    for name in left:
        (folder / name).unlink()
    with pytest.raises(UnsupportedModelError, match=r"LORA adapter \(adapter_config\.json\).*merge_and_unload"):
        load(folder)


# --- cross-encoders ----------------------------------------------------------------------------


@pytest.fixture
def pairs(tmp_path):
    return write_tiny_cross_encoder(tmp_path / "pairs")


@pytest.mark.parametrize(
    "asked", ["custom.Identity", "Identity", "torchx.nn.Identity", "intel.torch.nn.Identity", 3, ["x"]]
)
def test_an_activation_outside_torch_is_refused(pairs, asked):
    """sentence-transformers would take its default in its place, whatever it is called."""
    (pairs / "config_sentence_transformers.json").write_text(json.dumps({"activation_fn": asked}))
    with pytest.raises(UnsupportedModelError, match=r"built in are Identity and Sigmoid of torch\.nn"):
        read_cross_encoder_settings(pairs, name="pairs")


@pytest.mark.parametrize("asked", ["torch.nn.modules.linear.Identity", "torch.nn.Identity"])
def test_torchs_activation_is_read(pairs, asked):
    (pairs / "config_sentence_transformers.json").write_text(json.dumps({"activation_fn": asked}))
    assert read_cross_encoder_settings(pairs, name="pairs").activation is Activation.IDENTITY


@pytest.mark.parametrize("default", [["query"], "other", 3])
def test_a_cross_encoders_default_prompt_has_to_be_one_of_its_prompts(pairs, default):
    described = {"prompts": {"query": ""}, "default_prompt_name": default}
    (pairs / "config_sentence_transformers.json").write_text(json.dumps(described))
    with pytest.raises(DamagedFilesError, match="not among the prompts"):
        read_cross_encoder_settings(pairs, name="pairs")


def test_an_encoder_of_a_cross_encoders_body_loads(pairs):
    """With a pooling given, whatever task its files name."""
    (pairs / "sentence_bert_config.json").write_text('{"transformer_task": "sequence-classification"}')
    assert Encoder.load(pairs, precision="fp32", pooling="cls", warm_shapes=False).dimension == 32
