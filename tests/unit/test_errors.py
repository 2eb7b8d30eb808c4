"""Every error is ours and also the builtin a caller would catch."""

from __future__ import annotations

import pickle

import pytest

from intel_quantized_embeddings import errors

BUILTINS = {
    "MissingExtraError": ImportError,
    "ModelFilesError": FileNotFoundError,
    "DamagedFilesError": ValueError,
    "HubUploadError": OSError,
    "EndpointError": OSError,
    "OtherEncoderError": ValueError,
    "VectorStoreError": OSError,
    "UnsupportedModelError": ValueError,
    "OptionError": ValueError,
    "InvalidTextError": TypeError,
    "QuantizationError": RuntimeError,
    "ForkedProcessError": RuntimeError,
}


def test_the_table_has_every_error():
    ours = {name for name, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, Exception)}
    assert ours == {*BUILTINS, "QuantizedEmbeddingsError"}


@pytest.mark.parametrize("name", BUILTINS)
def test_each_error_is_ours_and_its_builtin_and_in_the_drawn_tree(name):
    error = getattr(errors, name)
    assert issubclass(error, errors.QuantizedEmbeddingsError)
    assert issubclass(error, BUILTINS[name])
    assert name in errors.__doc__


def test_a_missing_extra_says_what_to_install_and_survives_pickling():
    error = errors.MissingExtraError(package="nncf", extra="openvino", needed_for="Quantizing")
    again = pickle.loads(pickle.dumps(error))
    assert "pip install 'intel-quantized-embeddings[openvino]'" in str(error)
    assert (str(again), again.package, again.extra) == (str(error), "nncf", "openvino")
