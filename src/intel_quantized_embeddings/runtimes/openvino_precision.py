"""The precision of an exported graph, read from its operators and constants."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from intel_quantized_embeddings.errors import UnsupportedModelError
from intel_quantized_embeddings.options import Precision

_EIGHT_BITS = ("i8", "u8")
_FEWER_BITS = ("i4", "u4", "nf4")
_OTHERS = ("f8e4m3", "f8e5m2", "f8e8m0", "f4e2m1", "u1", "u2", "u3", "u6", "i2")
_SMALL = (*_EIGHT_BITS, *_FEWER_BITS, *_OTHERS)

# Operators between a stored or quantized number and the layer that takes it that do not change the number.
_WIDENING = ("Convert", "Subtract", "Multiply", "Reshape", "Transpose", "Unsqueeze", "Squeeze")

_LAYERS = ("MatMul", "Gather", "Convolution", "GroupConvolution", "EmbeddingBagOffsets", "EmbeddingSegmentsSum")


@dataclass(frozen=True, slots=True)
class StoredPrecision:
    """A graph's precision.

    Attributes:
        precision: INT8 if layers are quantized or weights have 8 bits or fewer, else FP32.
        dynamic: Whether ranges of activations are taken at run time, by operators of the graph, or by OpenVINO, which
            does so if weights have few bits and activations are not quantized.
        few_bits: The type of weights with fewer than 8 bits, None without such weights.
    """

    precision: Precision
    dynamic: bool = False
    few_bits: str | None = None


def stored_precision(graph: ov.Model, *, name: str) -> StoredPrecision:
    """Return the precision of a graph as it was read; weights of unknown types are refused."""
    traits = _Traits(graph)
    stored = traits.weights
    other = next((kind for kind in _OTHERS if kind in stored), None)
    if other is not None:
        raise UnsupportedModelError(
            f"{name} keeps weights as {other}, which is not built in; there are fp32, fp16, bf16, "
            f"{', '.join((*_EIGHT_BITS, *_FEWER_BITS))}. Export it in one of them."
        )
    return StoredPrecision(
        precision=Precision.INT8 if traits.dynamic or traits.ranges or stored else Precision.FP32,
        dynamic=traits.dynamic,
        few_bits=next((kind for kind in _FEWER_BITS if kind in stored), None),
    )


class _Traits:
    """The findings of one walk from a graph's inputs to its outputs.

    Attributes:
        weights: Types of the weights in few bits that layers take, without masks.
        ranges: Whether activations are quantized to ranges.
        dynamic: See `StoredPrecision`.
    """

    def __init__(self, graph: ov.Model) -> None:
        self.weights: set[str] = set()
        self.ranges = self.dynamic = False
        # By the operators' own names.
        self._constant: set[str] = set()  # computed from constants only
        self._quantized: set[str] = set()  # quantized to a range, maybe stored in 8 bits and widened again
        self._small: dict[str, str] = {}  # constants in few bits, maybe widened, and their type
        for node in graph.get_ordered_ops():
            self._note(node)
            self._look_at(node)

    def _note(self, node: ov.Node) -> None:
        name, kind = node.get_name(), node.get_type_name()
        inputs = [value.get_node().get_name() for value in node.input_values()]
        if kind == "Constant" or (inputs and all(one in self._constant for one in inputs)):
            self._constant.add(name)
        if kind == "Constant" and _type(node) in _SMALL and len(node.get_output_shape(0)) > 1:  # else a range's number
            self._small[name] = _type(node)
        if kind == "FakeQuantize":
            self._quantized.add(name)
        if kind in _WIDENING and all(one in self._constant for one in inputs[1:]):
            if inputs[0] in self._small:
                self._small[name] = self._small[inputs[0]]
            if inputs[0] in self._quantized:
                self._quantized.add(name)

    def _look_at(self, node: ov.Node) -> None:
        kind, inputs = node.get_type_name(), node.input_values()
        names = [value.get_node().get_name() for value in inputs]
        small = [name for name in names if name in self._small]
        if kind in _LAYERS:
            self.weights |= {self._small[name] for name in small}
        if kind == "MatMul" and inputs[0].get_element_type().is_real():
            self.dynamic |= bool(small) and not any(name in self._quantized for name in names)
        if kind == "FakeQuantize":  # the value, and the four limits of its ranges
            self.ranges = True
            self.dynamic |= not all(name in self._constant for name in names[1:5])
        if kind == "Convert" and _type(node) in _SMALL and inputs[0].get_element_type().is_real():
            self.dynamic |= names[0] not in self._quantized and names[0] not in self._constant
        self.dynamic |= "Dynamic" in kind and "Quantize" in kind


def _type(node: ov.Node) -> str:
    return str(node.get_output_element_type(0).get_type_name())
