"""What is said of exports that others quantized: `int8-dynamic` where a text's vector depends on more than the text."""

from __future__ import annotations

import json
import logging

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as ops

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import OptionError, UnsupportedModelError
from intel_quantized_embeddings.options import Precision
from intel_quantized_embeddings.runtimes.openvino_precision import stored_precision
from support import onnx_files
from support.cpu_kinds import fails_where_onednn_is_limited
from support.exported_models import write_openvino_export
from support.onnx_files import ROWS, ZERO, node, tensor
from support.tiny_models import HIDDEN, VOCABULARY

pytestmark = fails_where_onednn_is_limited  # a graph with the softmax of its exporter does not compile then

NUMBERS = np.random.default_rng(0)
TABLE = NUMBERS.normal(size=(len(VOCABULARY), HIDDEN)).astype(np.float32)
WEIGHTS = NUMBERS.integers(-127, 127, (HIDDEN, HIDDEN)).astype(np.int8)
TEXT = "the cat sat on the mat and the dog"
OTHERS = [" ".join(VOCABULARY[4 + (7 * i + j) % 60] for j in range(9)) for i in range(31)]


@pytest.fixture
def bare(tiny, tmp_path):
    """The tiny model without its weights."""
    folder = tmp_path / "exported"
    for file in tiny.rglob("*.json"):
        copy = folder / file.relative_to(tiny)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return folder


def onnx(folder, nodes, tensors):
    content = onnx_files.model([*ROWS, *nodes], [tensor("table", TABLE), ZERO, *tensors], hidden=HIDDEN)
    onnx_files.write_files(folder / "onnx", {"model.onnx": content})
    return folder


def with_ranges_taken_at_run_time(folder):
    """As onnxruntime's `quantize_dynamic` writes it."""
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        node("MatMulInteger", ["xq", "w", "xz", "wz"], ["y"]),
        node("Cast", ["y"], ["yf"], to=1),
        node("Mul", ["yf", "xs"], ["last_hidden_state"]),
    ]
    return onnx(folder, nodes, [tensor("w", WEIGHTS), tensor("wz", np.array(0, np.int8))])


def with_ranges_from_calibration(folder):
    """As onnxruntime's `quantize_static` writes it."""
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        node("DequantizeLinear", ["w", "s", "wz"], ["wd"]),
        node("MatMul", ["xd", "wd"], ["last_hidden_state"]),
    ]
    scale = tensor("s", np.array(0.03, np.float32))
    zeros = [tensor("z", np.array(128, np.uint8)), tensor("wz", np.array(0, np.int8))]
    return onnx(folder, nodes, [tensor("w", WEIGHTS), scale, *zeros])


def with_weights_only(folder):
    """Weights in 8 bits and nothing else: OpenVINO quantizes what they are multiplied with, unasked."""
    nodes = [node("DequantizeLinear", ["w", "s", "wz"], ["wd"]), node("MatMul", ["x", "wd"], ["last_hidden_state"])]
    scale = tensor("s", np.array(0.03, np.float32))
    return onnx(folder, nodes, [tensor("w", WEIGHTS), scale, tensor("wz", np.array(0, np.int8))])


def compressed(mode):
    """OpenVINO's own, as optimum-intel's weight-only exports."""

    def write(folder, tiny):
        nncf = pytest.importorskip("nncf", reason="compressing needs the `quantize` extra")
        file = write_openvino_export(tiny, folder / "plain.xml")
        groups = {} if mode.startswith("INT8") else {"group_size": 16, "all_layers": True}
        graph = nncf.compress_weights(
            ov.Core().read_model(file), mode=getattr(nncf.CompressWeightsMode, mode), **groups
        )
        ov.save_model(graph, folder / "openvino_model.xml", compress_to_fp16=False)
        return folder

    return write


def test_ranges_taken_at_run_time_are_said(bare):
    encoder = Encoder.load(with_ranges_taken_at_run_time(bare))
    assert encoder.fingerprint.startswith("openvino-int8-dynamic-mean-")


def test_ranges_from_calibration_are_not(bare):
    """And a text's vector is then its own, whatever stands beside it."""
    encoder = Encoder.load(with_ranges_from_calibration(bare))
    assert encoder.fingerprint.startswith("openvino-int8-mean-")
    alone, beside = encoder.encode_documents([TEXT])[0], encoder.encode_documents([TEXT, *OTHERS])[0]
    np.testing.assert_allclose(alone, beside, atol=1e-6)


def test_weights_alone_in_8_bits_are_said(bare):
    assert Encoder.load(with_weights_only(bare)).fingerprint.startswith("openvino-int8-dynamic-mean-")


@pytest.mark.parametrize("mode", ["INT8_SYM", "INT8_ASYM", "INT4_SYM", "INT4_ASYM", "NF4"])
def test_compressed_weights_are_said_and_those_in_4_bits_warned_of(bare, tiny, caplog, mode):
    """4 bits compute as int8, and are int8 to whoever asks; that they are fewer is in the log."""
    compressed(mode)(bare, tiny)
    with caplog.at_level(logging.WARNING):
        encoder = Encoder.load(bare)
    assert encoder.fingerprint.startswith("openvino-int8-dynamic-mean-")
    assert encoder.encode_documents([TEXT]).shape == (1, HIDDEN)
    assert ("keeps weights as" in caplog.text) is not mode.startswith("INT8")
    with pytest.raises(OptionError, match="computes as int8"):
        Encoder.load(bare, precision="fp32")


def test_what_nncf_quantized_from_calibration_is_not_dynamic(bare, tiny):
    """All its layers have ranges, though their weights are kept in 8 bits as well."""
    nncf = pytest.importorskip("nncf", reason="quantizing needs the `quantize` extra")
    graph = ov.Core().read_model(write_openvino_export(tiny, bare / "plain.xml"))
    inputs = {port.get_any_name(): np.ones((1, 8), np.int64) for port in graph.inputs}
    made = nncf.quantize(graph, nncf.Dataset([inputs]), model_type=nncf.ModelType.TRANSFORMER, subset_size=1)
    ov.save_model(made, bare / "openvino_model.xml", compress_to_fp16=False)
    assert Encoder.load(bare).fingerprint.startswith("openvino-int8-mean-")


def test_half_precision_weights_are_fp32(bare, tiny):
    """They are widened, and nothing is quantized."""
    graph = ov.Core().read_model(write_openvino_export(tiny, bare / "plain.xml"))
    ov.save_model(graph, bare / "openvino_model.xml", compress_to_fp16=True)
    encoder = Encoder.load(bare, precision="fp32")
    assert encoder.fingerprint.startswith("openvino-fp32-mean-")


def _graph(build):
    x = ops.parameter([-1, HIDDEN], np.float32, name="x")
    return ov.Model([ops.result(build(x))], [x])


def _constant(kind, shape=(HIDDEN, HIDDEN)):
    return ops.constant(np.ones(shape), dtype=kind)


def _widened(kind):
    return ops.multiply(ops.convert(_constant(kind), "f32"), ops.constant(np.float32(0.1)))


def _in_range(value, low, high):
    return ops.fake_quantize(value, low, high, low, high, 256)


LOW, HIGH = (ops.constant(np.float32(limit)) for limit in (-1, 1))


@pytest.mark.parametrize(
    ("build", "precision", "dynamic"),
    [
        (lambda x: ops.matmul(x, _constant(ov.Type.f32), False, False), "fp32", False),
        (lambda x: ops.matmul(x, _widened(ov.Type.u8), False, False), "int8", True),
        (lambda x: ops.matmul(_widened(ov.Type.i8), x, False, True), "int8", True),
        (lambda x: ops.matmul(_in_range(x, LOW, HIGH), _widened(ov.Type.i8), False, False), "int8", False),
        (lambda x: _in_range(x, ops.reduce_min(x, 1, True), HIGH), "int8", True),
        (lambda x: ops.convert(ops.clamp(x, -128, 127), "i8"), "int8", True),
        (lambda x: ops.convert(ops.greater(x, LOW), "f32"), "fp32", False),
        (lambda x: ops.add(x, ops.convert(_constant(ov.Type.u8, (1, HIDDEN)), "f32")), "fp32", False),
        (lambda x: ops.gather(_widened(ov.Type.i8), ops.convert(x, "i64"), 0), "int8", False),
    ],
    ids=[
        "plain",
        "weights in 8 bits",
        "weights first",
        "ranges of both",
        "a range of the numbers themselves",
        "rounded to 8 bits",
        "a comparison",
        "a mask in 8 bits",
        "a table in 8 bits",
    ],
)
def test_what_a_graph_computes_in(build, precision, dynamic):
    found = stored_precision(_graph(build), name="it")
    assert (found.precision, found.dynamic) == (Precision(precision), dynamic)


def test_weights_of_other_types_are_refused_by_name(bare):
    """Nobody here knows what arithmetic they come to."""
    graph = _graph(lambda x: ops.matmul(x, _widened(ov.Type.f8e4m3), False, False))
    with pytest.raises(UnsupportedModelError, match="keeps weights as f8e4m3"):
        stored_precision(graph, name="it")


def test_an_export_in_int8_is_not_quantized_again(bare, tmp_path):
    from intel_quantized_embeddings import quantize

    with pytest.raises(UnsupportedModelError, match="int8"):
        quantize(with_weights_only(bare), tmp_path / "out", runtime="openvino")
    assert json.loads((bare / "config.json").read_text())
