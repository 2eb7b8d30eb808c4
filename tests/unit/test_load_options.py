"""Options are checked before anything is looked up or downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.load_options import LoadOptions


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("runtime", "onnx"),
        ("precision", "int4"),
        ("pooling", "max"),
        ("num_threads", 0),
        ("num_threads", True),
        ("num_threads", "2"),
        ("max_length", 2),
        ("max_length", True),
        ("max_length", 16.5),
        ("max_length", "64"),
        ("truncate_dim", 0),
        ("truncate_dim", "64"),
        ("query_instruction", 5),
        ("document_instruction", b"x"),
        ("revision", 1),
        ("normalize", "false"),
        ("local_files_only", 1),
        ("allow_torchscript", "yes"),
        ("warm_shapes", 1),
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
