"""Options are checked before anything is looked up or downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder, quantize, quantize_cross_encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.int8_folder.manifest import Manifest
from intel_quantized_embeddings.int8_folder.push import push_to_hub
from intel_quantized_embeddings.integrations.setfit import quantize_setfit
from intel_quantized_embeddings.models.export import export
from intel_quantized_embeddings.options import LoadOptions
from support.few_texts import TEN_TEXTS


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("runtime", "onnx"),
        ("precision", "int4"),
        ("pooling", "first"),
        ("num_threads", 0),
        ("num_threads", True),
        ("num_threads", "2"),
        ("num_threads", 1025),
        ("num_threads", 10**30),
        ("max_length", 2),
        ("max_length", True),
        ("max_length", 16.5),
        ("max_length", "64"),
        ("truncate_dim", 0),
        ("truncate_dim", "64"),
        ("query_instruction", 5),
        ("document_instruction", b"x"),
        ("revision", 1),
        ("instruction_set", 2),
        ("normalize", "false"),
        ("local_files_only", 1),
        ("allow_torchscript", "yes"),
        ("warm_shapes", 1),
        ("local_files_only", None),
        ("allow_torchscript", None),
        ("warm_shapes", None),
        ("cache_folder", 5),
        ("cache_folder", b"cache"),
        ("cache_folder", ""),
        ("cache_folder", "~nobody-of-this-name"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_before_the_model_is_looked_up(option, value):
    with pytest.raises(OptionError, match=f"{option}={value!r}"):
        Encoder.load("./there-is-no-such-folder", **{option: value})


def test_keywords_of_another_class_are_options_or_refused_by_name():
    taken = LoadOptions.from_keywords(Path("models/mine"), {"precision": "fp32"})
    assert taken == LoadOptions(model="models/mine", precision="fp32")
    with pytest.raises(OptionError, match=r"precison, batch: no such option\. There are model, runtime, precision"):
        LoadOptions.from_keywords("me/model", {"precison": "fp32", "batch": 3})
    with pytest.raises(OptionError, match="precision='int9'"):
        LoadOptions.from_keywords("me/model", {"precision": "int9"})
    with pytest.raises(OptionError, match="model=None"):
        LoadOptions.from_keywords(None, {})


def test_numpys_integers_are_integers():
    options = LoadOptions(max_length=np.int64(32), num_threads=np.int32(2))
    assert (options.max_length, options.num_threads) == (32, 2)
    assert type(options.max_length) is int


_OF_EVERY_JOB = [("overwrite", "no"), ("overwrite", None)]
_OF_THE_HUB = [("cache_folder", 5), ("local_files_only", None), ("revision", 1)]


@pytest.mark.parametrize(
    ("job", "option", "value"),
    [
        *(
            (quantize, *each)
            for each in [
                *_OF_EVERY_JOB,
                *_OF_THE_HUB,
                ("normalize", 1),
                ("max_length", "64"),
                ("max_length", 2),
                ("max_length", True),
                ("pooling", "first"),
                ("query_instruction", 5),
                ("document_instruction", b"x"),
                ("search", "no"),
                ("config", 5),
            ]
        ),
        *(
            (quantize_cross_encoder, *each)
            for each in [*_OF_EVERY_JOB, *_OF_THE_HUB, ("max_length", 16.5), ("search", None)]
        ),
        *((export, *each) for each in [*_OF_EVERY_JOB, *_OF_THE_HUB]),
        *((quantize_setfit, *each) for each in [*_OF_EVERY_JOB, ("allow_pickle", "no"), ("search", 0)]),
        (push_to_hub, "private", "yes"),
    ],
)
def test_every_job_refuses_an_option_before_it_looks_for_the_model(job, option, value, tmp_path):
    target = "me/model" if job is push_to_hub else tmp_path / "out"
    with pytest.raises(OptionError, match=f"{option}={value!r}"):
        job("./there-is-no-such-folder", target, **{option: value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("job", [quantize, quantize_cross_encoder, export, quantize_setfit])
def test_where_a_folder_goes_is_a_path(job):
    for value in (None, ""):  # an empty one would be the current folder
        with pytest.raises(OptionError, match=f"output_dir={value!r} is not allowed; it is"):
            job("./there-is-no-such-folder", value)


@pytest.mark.parametrize("texts", [5, "one text"])
def test_calibration_texts_are_a_list(texts, tmp_path):
    with pytest.raises(OptionError, match=f"calibration_texts is {texts!r}; a list of texts is expected"):
        quantize("./there-is-no-such-folder", tmp_path / "out", calibration_texts=texts)


def test_quantizing_takes_numpys_integers_and_writes_plain_ones(tiny, tmp_path):
    quantize(
        tiny,
        tmp_path / "int8",
        calibration_texts=TEN_TEXTS,
        calibration_queries=TEN_TEXTS,
        search=False,
        max_length=np.int64(24),
    )
    assert Manifest.read(tmp_path / "int8").settings.max_length == 24
