"""Settings from Python and from YAML: what is read, and what every mistake is told."""

from __future__ import annotations

import pytest

from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError
from intel_quantized_embeddings.int8_folder.config import QuantizationConfig, read_config
from intel_quantized_embeddings.quantization.recipe import layers_named


@pytest.fixture
def written(tmp_path):
    def write(content: str):
        (tmp_path / "settings.yaml").write_text(content, "utf-8")
        return tmp_path / "settings.yaml"

    return write


def test_a_file_says_what_python_says(written):
    file = written(
        "smooth_quant: [0.85, 1, off]\nactivation_ranges: widest\nfloating_point_layers: [layer.5, layer.0.key]\n"
    )
    assert read_config(file) == QuantizationConfig(
        smooth_quant=(0.85, 1.0, None),
        activation_ranges="widest",
        floating_point_layers=("layer.5", "layer.0.key"),
    )


def test_an_empty_file_asks_for_the_usual(written):
    assert read_config(written("# nothing yet\n")) == QuantizationConfig()


def test_what_differs_from_the_usual_survives_a_mapping():
    config = QuantizationConfig(smooth_quant=(None, 0.5), floating_point_layers=("layer.1",))
    assert config.to_mapping() == {"smooth_quant": (None, 0.5), "floating_point_layers": ("layer.1",)}
    assert QuantizationConfig.from_mapping(config.to_mapping(), where="here") == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("smoothquant: [0.5]", "there is no setting 'smoothquant'; there are method, smooth_quant, "),
        ("1: 2", "there is no setting 1;"),
        ("smooth_quant: 0.5", r"smooth_quant=0\.5 is not allowed; it is a list of different strengths"),
        ("smooth_quant: []", r"smooth_quant=\[\] is not allowed"),
        ("smooth_quant: [1.5]", r"smooth_quant=\[1\.5\] is not allowed"),
        ("smooth_quant: [on]", r"smooth_quant=\[True\] is not allowed"),
        ("smooth_quant: [0.5, 0.5]", r"smooth_quant=\[0\.5, 0\.5\] is not allowed"),
        ("smooth_quant: [{}]", r"smooth_quant=\[\{\}\] is not allowed"),
        ("activation_ranges: narrow", "activation_ranges='narrow' is not allowed; it is 'mean' or 'widest'"),
        ("floating_point_layers: layer.5", r"floating_point_layers='layer\.5' is not allowed; it is a list of layers"),
        ("floating_point_layers: [5]", r"floating_point_layers=\[5\] is not allowed"),
        ("max_drop: 1", "max_drop=1 is not allowed; it is a share below 1"),
        ("max_drop: 0.5 %", "max_drop='0.5 %' is not allowed"),
        ("max_drop: yes", "max_drop=True is not allowed"),
        ("method: quick", "method='quick' is not allowed; it is 'static' or 'dynamic'"),
        ("method: dynamic\nsmooth_quant: [0.5]", "smooth_quant is of methods 'static' and 'qat'"),
        ("weight_bits: 6", "weight_bits=6 is not allowed; it is 7 or 8"),
        ("weight_bits: true", "weight_bits=True is not allowed"),
        ("method: dynamic\nweight_bits: 7", "weight_bits is of methods 'static' and 'qat'"),
        ("- smooth_quant", "settings such as .* are expected"),
    ],
)
def test_a_mistake_is_told_with_the_file_the_key_and_what_is_allowed(written, content, message):
    file = written(content)
    with pytest.raises(OptionError, match=message) as told:
        read_config(file)
    assert str(told.value).startswith(f"{file}: ")


def test_a_file_that_is_not_there_or_not_yaml_is_no_option(written, tmp_path):
    with pytest.raises(ModelFilesError, match=r"no file of settings .*absent\.yaml"):
        read_config(tmp_path / "absent.yaml")
    with pytest.raises(DamagedFilesError, match="is not a YAML file"):
        read_config(written("smooth_quant: [0.5"))


def test_layers_are_named_one_by_one_or_by_what_holds_them():
    known = ("layer.1.query", "layer.1.output", "layer.10.query")
    assert layers_named(["layer.10.query", "layer.1"], known) == known
    assert layers_named(["layer.1"], known) == known[:2]
    assert layers_named([], known) == ()
    with pytest.raises(OptionError, match=r"no linear layer 'layer\.2'; it has layer\.1\.query, "):
        layers_named(["layer.2"], known)


def test_a_file_with_a_number_that_is_none_is_named(tmp_path):
    """YAML takes 0x_ for a number, and PyYAML then does not."""
    (tmp_path / "q.yaml").write_text("max_drop: 0x_\n")
    with pytest.raises(DamagedFilesError, match=r"q\.yaml is not a YAML file"):
        read_config(tmp_path / "q.yaml")
